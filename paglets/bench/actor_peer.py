"""Counters of another actor system, made, called and moved by hand: `python actor_peer.py ray|dask`.

It runs by itself in whatever environment that system is installed in, so it knows nothing of this package but how the
bench's programs talk: a line of JSON that says it is ready, then an answer a command. What these counters hold is on
no disk, and is gone with their process.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeAlias

import psutil

__all__ = ["Actors", "DaskActors", "Handle", "RayActors", "main", "measure"]

_NODES = 2

Handle: TypeAlias = Any
"""Whatever a system gives, which only itself knows what to do with."""


class Actors(Protocol):
    """What is measured of a system."""

    async def create(self, value: int) -> Handle:
        """Makes a counter, in another process than the one before, and waits until it has answered."""
        ...

    async def add(self, counter: Handle) -> int:
        """Adds one and waits for the new value."""
        ...

    async def pid(self, counter: Handle) -> int:
        """The process that a counter is in."""
        ...

    async def end(self, counter: Handle) -> None:
        """Ends a counter."""
        ...


class Counter:
    """A number in memory."""

    def __init__(self, value: int) -> None:
        self.value = value

    def add(self) -> int:
        """Adds one."""
        self.value += 1
        return self.value

    def pid(self) -> int:
        """The process that it is in."""
        return os.getpid()


async def measure(actors: Actors, command: dict[str, Any]) -> dict[str, float]:
    """Does one thing over and over by so many callers, for so many seconds; says how often and in what time."""
    work = {"create": _create, "add": _add, "move": _move, "weigh": _weigh}[command["what"]]
    return await work(actors, command)


async def _create(actors: Actors, command: dict[str, Any]) -> dict[str, float]:
    async def once() -> None:
        made.append(await actors.create(0))

    made: list[Handle] = []
    try:
        return await _timed(once, command)
    finally:
        for counter in made:
            await actors.end(counter)


async def _add(actors: Actors, command: dict[str, Any]) -> dict[str, float]:
    counter = await actors.create(0)
    try:
        return await _timed(lambda: actors.add(counter), command)
    finally:
        await actors.end(counter)


async def _move(actors: Actors, command: dict[str, Any]) -> dict[str, float]:
    """By hand: read the value, make a counter of it in another process, end the first."""
    places = [await actors.create(0)]

    async def once() -> None:
        value = await actors.add(places[-1])
        places.append(await actors.create(value))
        await actors.end(places[-2])

    try:
        return await _timed(once, command)
    finally:
        await actors.end(places[-1])


async def _weigh(actors: Actors, command: dict[str, Any]) -> dict[str, float]:
    """What another counter adds to the memory of its system, in KiB."""
    counters = [await actors.create(0) for _ in range(_NODES)]
    before = await _held(actors, counters)
    counters += [await actors.create(0) for _ in range(command["callers"])]
    grown = await _held(actors, counters) - before
    for counter in counters:
        await actors.end(counter)
    return {"count": grown / 1024 / command["callers"], "seconds": 1.0}


async def _held(actors: Actors, counters: list[Handle]) -> int:
    pids = {await actors.pid(counter) for counter in counters}
    return sum(psutil.Process(pid).memory_info().rss for pid in pids)


async def _timed(once: Callable[[], Awaitable[object]], command: dict[str, Any]) -> dict[str, float]:
    await once()
    began = time.perf_counter()
    end = began + command["seconds"]

    async def caller() -> int:
        count = 0
        while time.perf_counter() < end:
            await once()
            count += 1
        return count

    counts = await asyncio.gather(*(caller() for _ in range(command["callers"])))
    return {"count": sum(counts), "seconds": time.perf_counter() - began}


class RayActors:
    """Ray's: each a process of its own."""

    def __init__(self, ray: Handle, counter: Handle) -> None:
        self._ray = ray
        self._counter = counter

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncGenerator[Actors]:
        """Starts Ray on this machine, with as many cores as there are, and none kept for a counter."""
        ray: Handle = importlib.import_module("ray")
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
        try:
            yield cls(ray, ray.remote(num_cpus=0)(Counter))
        finally:
            ray.shutdown()

    async def create(self, value: int) -> Handle:
        """Ray puts it in a new process, always."""
        counter = self._counter.remote(value)
        await counter.pid.remote()
        return counter

    async def add(self, counter: Handle) -> int:
        """A call."""
        return await counter.add.remote()

    async def pid(self, counter: Handle) -> int:
        """A call."""
        return await counter.pid.remote()

    async def end(self, counter: Handle) -> None:
        """Kills its process."""
        self._ray.kill(counter)


class DaskActors:
    """Those of Dask's distributed: objects in one of its two workers."""

    def __init__(self, client: Handle, workers: list[str]) -> None:
        self._client = client
        self._workers = workers
        self._made = 0

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncGenerator[Actors]:
        """Starts a scheduler here, and two workers as processes."""
        dask: Handle = importlib.import_module("distributed")
        async with (
            dask.LocalCluster(
                n_workers=_NODES, threads_per_worker=1, asynchronous=True, dashboard_address=None
            ) as cluster,
            dask.Client(cluster, asynchronous=True) as client,
        ):
            await client.wait_for_workers(_NODES)
            yield cls(client, [worker.worker_address for worker in cluster.workers.values()])

    async def create(self, value: int) -> Handle:
        """In the one worker and the other, in turn."""
        self._made += 1
        worker = self._workers[self._made % _NODES]
        counter = await self._client.submit(Counter, value, actor=True, workers=[worker], pure=False)
        await counter.pid()
        return counter

    async def add(self, counter: Handle) -> int:
        """A call."""
        return await counter.add()

    async def pid(self, counter: Handle) -> int:
        """A call."""
        return await counter.pid()

    async def end(self, counter: Handle) -> None:
        """It goes when nobody holds it."""


async def _main(system: str, say: Callable[[object], None]) -> None:
    async with {"ray": RayActors, "dask": DaskActors}[system].open() as actors:
        say({"address": "", "pid": os.getpid()})
        while line := await asyncio.to_thread(sys.stdin.readline):
            say(await measure(actors, json.loads(line)))


def main() -> None:
    """Obeys until standard input ends. Standard output is for answers: what the systems print goes to the log."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(answer: object) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    asyncio.run(_main(sys.argv[1], say))


if __name__ == "__main__":
    main()
