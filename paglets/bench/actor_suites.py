"""Paglets beside the actors of Ray and of Dask, where those are installed: made, called, moved, weighed.

A paglet's creation, call and move are durable before they are answered. An actor is gone with its process, and moves
only by hand: its value is read, another is made of it, and the first is ended, which nobody may call meanwhile.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from paglets.bench.call_client import By, CallCommand, Calls
from paglets.bench.calling import Ask, counting
from paglets.bench.journey_suites import Shuttle
from paglets.bench.processes import Child, host_command, program
from paglets.bench.rounds import Measure, Say, in_turn, with_cpu
from paglets.bench.samples import Reference, Row, Sample
from paglets.bench.stage import Stage
from paglets.client.client import Client
from paglets.examples.counter import Counter

__all__ = ["actor_rows"]

_What: TypeAlias = Literal["create", "add", "move", "weigh"]
_MODULES = {"ray": "ray", "dask": "distributed"}
_MAKERS, _CALLERS, _WEIGHED = 16, 64, 8
_KIB = 1024
_SCRIPT = Path(__file__).with_name("actor_peer.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Command:
    """Does `what` by so many callers for so many seconds; weighs as many as there are callers."""

    what: _What
    callers: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """How often that was done, and in what time; or KiB, a second."""

    count: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Contest:
    """One thing that is measured, and of which peers: an actor of Dask is an object, and weighs next to nothing.

    `ways` says how paglets do it, if there is more than one.
    """

    what: _What
    name: str
    unit: str
    callers: int
    peers: Sequence[str] = ("ray", "dask")
    ways: Sequence[str] = ("",)


_CALLS = ("", " multiplexed")
_CONTESTS = (
    _Contest(what="create", name=f"create, {_MAKERS} callers", unit="a second", callers=_MAKERS, ways=_CALLS),
    _Contest(what="add", name=f"Add, {_CALLERS} callers", unit="calls/s", callers=_CALLERS, ways=_CALLS),
    _Contest(what="move", name="move, empty state", unit="moves/s", callers=1),
    _Contest(what="weigh", name="memory of one more", unit="KiB", callers=_WEIGHED, peers=("ray",)),
)


async def actor_rows(stage: Stage, say: Say) -> list[Row]:
    """Creations and additions by many callers, moves one after the other, and memory; no rows without a peer."""
    python, seconds = stage.settings.actors_python, stage.settings.seconds
    here = [peer for peer, module in _MODULES.items() if await asyncio.to_thread(_has, python, module)]
    for peer in _MODULES.keys() - set(here):
        say(f"{peer} is not installed for {python}: paglets are not held against it")
    if not here:
        return []
    command = host_command("actors", stage.folder, "--allow", "paglets.examples.counter")
    async with AsyncExitStack() as stack:
        peers = {
            peer: await stack.enter_async_context(program(peer, [python, str(_SCRIPT), peer], stage.folder))
            for peer in here
        }
        host = await stack.enter_async_context(program("actors", command, stage.folder, one_arena=False))
        alpha = await stack.enter_async_context(Client(stage.alpha.address))
        beta = await stack.enter_async_context(Client(stage.beta.address))
        counter = await stack.enter_async_context(counting(stage))
        shuttle = Shuttle(stage, alpha, beta)
        await shuttle.start()
        ours: dict[str, Measure] = {
            "create": lambda: _create(stage, host, "stub"),
            "create multiplexed": lambda: _create(stage, host, "multiplexed"),
            "add": counter.measure(Ask(server=stage.alpha, method="add"), _CALLERS),
            "add multiplexed": counter.measure(Ask(server=stage.alpha, method="add", by="multiplexed"), _CALLERS),
            "move": lambda: shuttle.moves_per_second(seconds),
            "weigh": lambda: _weigh(host),
        }
        measures: dict[str, Measure] = {}
        for contest in _CONTESTS:
            measures |= {contest.what + way: ours[contest.what + way] for way in contest.ways}
            for peer in contest.peers:
                if peer in peers:
                    measures[f"{contest.what} by {peer}"] = _asked(peers[peer], contest, seconds)
        found = await in_turn("actors", stage.settings.rounds, measures, say)
    shown = [contest for contest in _CONTESTS if set(contest.peers) & peers.keys()]
    return [_row(contest, way, found) for contest in shown for way in contest.ways]


def _row(contest: _Contest, way: str, found: dict[str, list[Sample]]) -> Row:
    theirs = ((peer, found.get(f"{contest.what} by {peer}")) for peer in contest.peers)
    return Row(
        suite="actors",
        name=contest.name + way,
        unit=contest.unit,
        samples=found[contest.what + way],
        references=[Reference(f"{peer.capitalize()}, not durable", samples) for peer, samples in theirs if samples],
        less_is_better=contest.what == "weigh",
    )


def _has(python: str, module: str) -> bool:
    """Whether a Python can import a module and what the peers' program needs beside it."""
    code = f"import psutil, {module}"
    if shutil.which(python) is None:
        return False
    done = subprocess.run([python, "-c", code], capture_output=True, check=False)  # noqa: S603 - of the operator's own
    return done.returncode == 0


def _asked(peer: Child, contest: _Contest, seconds: float) -> Measure:
    async def sample() -> Sample:
        done = await peer.ask(_Command(what=contest.what, callers=contest.callers, seconds=seconds), _Answer)
        return Sample(done.count / done.seconds)

    return sample


async def _create(stage: Stage, host: Child, by: By) -> Sample:
    client = stage.call_clients[0]
    command = CallCommand(
        address=host.address, paglet_id="", method="create", callers=_MAKERS, seconds=stage.settings.seconds, by=by
    )
    done, cpu_s = await with_cpu((host,), client.ask(command, Calls))
    return Sample(done.calls / done.seconds, cpu_s / done.calls)


async def _weigh(host: Child) -> Sample:
    """What one more paglet adds to the memory of its host, of a hundred."""
    before = host.rss_bytes
    async with Client(host.address) as client:
        for _ in range(100):
            await client.create(Counter)
    return Sample(max(1, host.rss_bytes - before) / _KIB / 100)
