"""Artifacts of 4 KiB, many at once and one by one, beside files and rows that are as durable.

The hosts are this suite's own: one that has next to nothing, and one that has a hundred thousand artifacts already.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from paglets.bench.counting import Trace
from paglets.bench.processes import Child, host_command, program, program_command
from paglets.bench.rounds import Measure, Say, in_turn, with_cpu
from paglets.bench.samples import Reference, Row, Sample
from paglets.bench.small_client import SmallCommand, SmallDone
from paglets.bench.stage import Stage

__all__ = ["BATCH", "SmallStage", "batches", "open_small_stage", "singles", "small_rows"]

_SIZE_BYTES = 4096
BATCH = 500
_MANY = 100_000


@dataclass(frozen=True, slots=True)
class SmallStage:
    """The processes, and a folder for what is held against them."""

    client: Child
    empty: Child
    full: Child
    folder: Path

    async def sample(self, command: SmallCommand) -> Sample:
        """Things stored a second, and the CPU time that each took all processes together."""
        done, cpu_s = await with_cpu((self.client, self.empty, self.full), self.client.ask(command, SmallDone))
        return Sample(command.items / done.seconds, cpu_s / command.items)


@asynccontextmanager
async def open_small_stage(stage: Stage, *, counted: bool = False) -> AsyncGenerator[SmallStage, None]:
    """Starts the processes; they have ended when the block has. A `counted` stage has a trace of each by its name."""
    folder = stage.folder / "small"
    folder.mkdir()
    async with AsyncExitStack() as stack:

        async def start(name: str, command: list[str]) -> Child:
            if counted:
                stage.traces[name] = Trace(folder / f"{name}.strace")
                command = [*stage.traces[name].prefix(), *command]
            return await stack.enter_async_context(program(name, command, folder, one_arena=False))

        yield SmallStage(
            client=await start("small-client", program_command("small_client")),
            empty=await start("empty", host_command("empty", folder)),
            full=await start("full", host_command("full", folder)),
            folder=folder,
        )


async def small_rows(stage: Stage, say: Say) -> list[Row]:
    """Durable artifacts a second: in batches, one by one, and in a store that has many."""
    count = min(_MANY, max(BATCH, stage.settings.size_bytes // _SIZE_BYTES))
    async with open_small_stage(stage) as small:
        say(f"small: storing {count} artifacts of 4 KiB")
        await small.client.ask(replace(batches(small.full, 4), items=count), SmallDone)
        return [
            await _batched(stage, small, say),
            await _single(stage, small, 1, say),
            await _single(stage, small, 16, say),
            await _flat(stage, small, count, say),
        ]


def batches(host: Child, clients: int, items: int = 4 * BATCH) -> SmallCommand:
    """Batches to a host."""
    return SmallCommand(
        action="artifacts",
        address=host.address,
        items=items,
        size_bytes=_SIZE_BYTES,
        clients=clients,
        batch=BATCH,
    )


def singles(stage: Stage, host: Child, clients: int) -> SmallCommand:
    """Uploads to a host, a stream each; fewer where `--size` is less than 100 MiB."""
    some = max(clients, stage.settings.size_bytes // _SIZE_BYTES // 32)
    return replace(batches(host, clients, min(100 * min(clients, 8), some)), batch=1)


async def _batched(stage: Stage, small: SmallStage, say: Say) -> Row:
    ours = batches(small.empty, 4)
    found = {
        "paglets": ours,
        "SQLite alone": replace(ours, action="rows", folder=str(small.folder)),
        "a synced file each": replace(ours, action="files", folder=str(small.folder), items=400, clients=16),
    }
    return await _row(stage, small, f"4 KiB in batches of {BATCH}, 4 clients", found, say)


async def _single(stage: Stage, small: SmallStage, clients: int, say: Say) -> Row:
    ours = singles(stage, small.empty, clients)
    found = {"paglets": ours, "a synced file each": replace(ours, action="files", folder=str(small.folder))}
    return await _row(stage, small, f"4 KiB one by one, {clients} client{'s' * (clients > 1)}", found, say)


async def _flat(stage: Stage, small: SmallStage, count: int, say: Say) -> Row:
    found = {"paglets": batches(small.full, 4), "almost empty store": batches(small.empty, 4)}
    return await _row(stage, small, f"4 KiB in batches, {count} stored", found, say)


async def _row(stage: Stage, small: SmallStage, name: str, found: dict[str, SmallCommand], say: Say) -> Row:
    def measured(command: SmallCommand) -> Measure:
        return lambda: small.sample(command)

    measures = {way: measured(command) for way, command in found.items()}
    ours, *others = (await in_turn(name, stage.settings.rounds, measures, say)).items()
    references = [Reference(way, samples) for way, samples in others]
    return Row(suite="small", name=name, unit="artifacts/s", samples=ours[1], references=references)
