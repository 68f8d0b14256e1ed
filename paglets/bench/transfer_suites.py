"""Uploads to a host and downloads from it, beside plain sockets that do the same work, and that do none."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from paglets.artifacts.blobs import measure
from paglets.bench.peers import open_peers
from paglets.bench.processes import Child, ProgramFailedError
from paglets.bench.rounds import Measure, Say, in_turn, with_cpu
from paglets.bench.samples import Reference, Row, Sample
from paglets.bench.stage import Stage
from paglets.bench.transfers import Transfer, TransferCommand

__all__ = ["Way", "download_rows", "landed", "move", "upload_rows", "ways"]

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to move an artifact: which client moves it to which server, and how."""

    name: str
    client: Child
    server: Child
    raw: bool = False
    overlap: bool = False
    direct: bool = False


def ways(stage: Stage) -> list[Way]:
    """Ours first, then the references."""
    return [
        Way(name="paglets", client=stage.artifact_client, server=stage.alpha),
        Way(name="plain socket", client=stage.plain_client, server=stage.plain),
        Way(name="plain socket, two threads", client=stage.plain_client, server=stage.plain, overlap=True),
        Way(name="plain socket, O_DIRECT", client=stage.plain_client, server=stage.plain, direct=True),
        Way(name="raw TCP", client=stage.plain_client, server=stage.plain, raw=True),
    ]


async def upload_rows(stage: Stage, say: Say) -> list[Row]:
    """MiB/s from a client's file to a durable, proven artifact."""
    digest = await _digest(stage.artifact)

    def measured(way: Way) -> Measure:
        async def sample() -> Sample:
            taken = await _timed(stage, way, "put", digest)
            if not way.raw:
                await move(stage, way, "delete")
            return taken

        return sample

    measures = {way.name: measured(way) for way in ways(stage)}
    async with open_peers(stage.folder / "peers-up", say) as peers:
        measures |= {peer.name: peer.uploads(stage.artifact) for peer in peers}
        return [_row("upload", await in_turn("upload", stage.settings.rounds, measures, say))]


async def download_rows(stage: Stage, say: Say) -> list[Row]:
    """MiB/s from an artifact to a durable, proven file of a client."""
    digest = await _digest(stage.artifact)
    for way in ways(stage)[:2]:
        await move(stage, way, "put")

    def measured(way: Way) -> Measure:
        async def sample() -> Sample:
            taken = await _timed(stage, way, "get", digest)
            landed(stage).unlink(missing_ok=True)
            return taken

        return sample

    measures = {way.name: measured(way) for way in ways(stage)}
    async with open_peers(stage.folder / "peers-down", say) as peers:
        measures |= {peer.name: peer.downloads(stage.artifact, landed(stage)) for peer in peers}
        found = await in_turn("download", stage.settings.rounds, measures, say)
    for way in ways(stage)[:2]:
        await move(stage, way, "delete")
    return [_row("download", found)]


async def move(stage: Stage, way: Way, action: Literal["put", "get", "delete"]) -> Transfer:
    """One transfer, of the stage's artifact. A get lands in the client's folder."""
    command = TransferCommand(
        action=action,
        address=way.server.address,
        name="bench-artifact",
        path=str(landed(stage) if action == "get" else stage.artifact),
        size_bytes=stage.settings.size_bytes,
        raw=way.raw,
        overlap=way.overlap,
        direct=way.direct,
    )
    return await way.client.ask(command, Transfer)


def landed(stage: Stage) -> Path:
    """Where downloads go."""
    return stage.folder / "landed" / "artifact"


async def _timed(stage: Stage, way: Way, action: Literal["put", "get"], digest: str) -> Sample:
    (stage.folder / "landed").mkdir(exist_ok=True)
    done, cpu_s = await with_cpu((way.client, way.server), move(stage, way, action))
    if done.size_bytes != stage.settings.size_bytes or (not way.raw and done.digest != digest):
        raise ProgramFailedError(
            f"{action} by {way.name} moved {done.size_bytes} bytes with digest {done.digest or 'none'},"
            f" not {stage.settings.size_bytes} with {digest}"
        )
    mib = done.size_bytes / _MIB
    return Sample(mib / done.seconds, cpu_s / mib)


def _row(suite: str, found: dict[str, list[Sample]]) -> Row:
    ours, *references = found.items()
    return Row(suite=suite, name=suite, unit="MiB/s", samples=ours[1], references=_references(references))


def _references(found: Sequence[tuple[str, list[Sample]]]) -> list[Reference]:
    return [Reference(name, samples) for name, samples in found]


async def _digest(path: Path) -> str:
    found = await asyncio.to_thread(measure, path)
    if found is None:
        raise ProgramFailedError(f"{path} is gone")
    return found.hex
