"""All processes of a run: two hosts, the references, and the clients of both, in one folder."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from paglets.bench.counting import Trace
from paglets.bench.processes import Child, host_command, program, program_command
from paglets.bench.settings import BenchSettings

__all__ = ["Stage", "call_clients", "open_stage"]

_OPTIONS = ("--allow", "paglets.examples.counter", "--allow", "paglets.bench.carrier", "--file-root")
_PIECE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What suites measure on. `traces` is there when this run counts instead of timing, by the name of the child.

    `artifact` and `freight` are files of random bytes: what is uploaded, and what travels with a paglet.
    """

    folder: Path
    settings: BenchSettings
    alpha: Child
    beta: Child
    echo: Child
    plain: Child
    artifact_client: Child
    plain_client: Child
    call_clients: Sequence[Child]
    artifact: Path
    freight: Path
    traces: dict[str, Trace] = field(default_factory=dict[str, Trace])


@asynccontextmanager
async def open_stage(settings: BenchSettings, folder: Path, *, counted: bool) -> AsyncGenerator[Stage, None]:
    """Starts everything, in `folder`; it has ended when the block has. A `counted` stage is slow."""
    artifact, freight = folder / "artifact.source", folder / "freight.source"
    await asyncio.to_thread(_write_random, artifact, settings.size_bytes)
    await asyncio.to_thread(_write_random, freight, settings.file_bytes)
    (folder / "plain").mkdir()
    traces: dict[str, Trace] = {}
    async with AsyncExitStack() as stack:

        async def start(name: str, command: list[str], *, one_arena: bool = True) -> Child:
            if counted:
                traces[name] = Trace(folder / f"{name}.strace")
                command = [*traces[name].prefix(), *command]
            return await stack.enter_async_context(program(name, command, folder, one_arena=one_arena))

        async def start_host(name: str, *options: str) -> Child:
            return await start(name, host_command(name, folder, *_OPTIONS, str(folder), *options), one_arena=False)

        async with asyncio.TaskGroup() as starting:
            echo = starting.create_task(start("echo", program_command("echo")))
            plain = starting.create_task(start("plain", program_command("plain_server", str(folder / "plain"))))
            artifact_client = starting.create_task(
                start("artifact-client", program_command("artifact_client"), one_arena=False)
            )
            plain_client = starting.create_task(start("plain-client", program_command("plain_client")))
            callers = [
                starting.create_task(start(f"call-client-{number}", program_command("call_client")))
                for number in range(call_clients())
            ]
            alpha = await start_host("alpha")
            beta = await start_host("beta", "--join", alpha.address)
        yield Stage(
            folder=folder,
            settings=settings,
            alpha=alpha,
            beta=beta,
            echo=echo.result(),
            plain=plain.result(),
            artifact_client=artifact_client.result(),
            plain_client=plain_client.result(),
            call_clients=[caller.result() for caller in callers],
            artifact=artifact,
            freight=freight,
            traces=traces,
        )


def call_clients() -> int:
    """How many processes make the calls of 64 callers: one core is the host's, the others are theirs, up to four."""
    return max(1, min(4, len(os.sched_getaffinity(0)) - 1))


def _write_random(path: Path, size_bytes: int) -> None:
    """Fills a file with bytes that no file system can make less of; they stay in the page cache."""
    with path.open("wb") as file:
        for start in range(0, size_bytes, _PIECE_BYTES):
            file.write(os.urandom(min(_PIECE_BYTES, size_bytes - start)))
