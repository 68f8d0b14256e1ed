"""Two hosts in this process with one paglet: what is asked of them, what is done to them, and what they look like."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc

from paglets import faults
from paglets.config import HostSettings
from paglets.directory.contract import JourneyRecord, PagletRow, RowWrite
from paglets.directory.sqlite import SqliteDirectory
from paglets.errors import ConflictError, UnavailableError
from paglets.host.tasks import Tasks
from paglets.values import PagletState, new_id
from tests.host.conftest import Site, site
from tests.host.probe import Probe
from tests.host.support import PROBE_TYPE, ask
from tests.model.conform import Seen
from tests.model.world import UNBORN

__all__ = ["NAMES", "Cut", "Real"]

NAMES = ("alpha", "beta")
_PATIENCE_S = 20.0
_APPLY = SqliteDirectory.apply
_BEGIN = Tasks.begin


class Cut:
    """The `nth` write to the directory from now on has no answer: it is `made`, `never` made, or kept to be `late`.

    Its writer waits for the answer until `release`, which says that there is none, or until his host is ended.
    """

    def __init__(self, nth: int, fate: str) -> None:
        self.reached = asyncio.Event()
        self.late: tuple[Sequence[RowWrite], Sequence[JourneyRecord], Sequence[str]] | None = None
        self._left = nth
        self._fate = fate
        self._released = asyncio.Event()

    def release(self) -> None:
        """Tells the writer that there is no answer."""
        self._released.set()

    async def apply(
        self,
        directory: SqliteDirectory,
        writes: Sequence[RowWrite],
        journeys: Sequence[JourneyRecord],
        forget: Sequence[str],
    ) -> Sequence[PagletRow]:
        """What the directory does in place of the real write."""
        self._left -= 1
        if self._left:
            return await _APPLY(directory, writes, journeys=journeys, forget=forget)
        if self._fate == "made":
            await _APPLY(directory, writes, journeys=journeys, forget=forget)
        if self._fate == "late":
            self.late = (writes, journeys, forget)
        self.reached.set()
        await self._released.wait()
        raise UnavailableError("DIRECTORY_UNAVAILABLE", "no answer comes")


class Real:
    """The hosts by their numbers; the first has the directory. `points` are those passed since it was cleared."""

    def __init__(self, folder: Path, requests: int) -> None:
        self.points: list[str] = []
        self.cut: Cut | None = None
        self.paglet_id = ""
        self._folder = folder
        self._sites: list[Site] = []
        self._stacks: list[AsyncExitStack] = []
        self._create_id = ""
        self._requests: list[str] = []
        self._number = requests
        self._works = set[asyncio.Task[Any]]()

    async def open(self) -> None:
        """Starts both."""
        faults.arm(self.points.append)
        for number in range(len(NAMES)):
            await self._start(number)

    async def close(self) -> None:
        """Ends both, and what was done to them."""
        for stack in reversed(self._stacks):
            await stack.aclose()
        faults.arm(None)

    async def _start(self, number: int) -> None:
        name, join = NAMES[number], self._sites[0].running.address if number else ""
        settings = HostSettings(name=name, data=self._folder / name, drain_s=0.1, quiesce_s=2.0)
        stack = AsyncExitStack()
        started = await site(stack, self._folder, name, join=join, settings=settings)
        self._sites[number : number + 1], self._stacks[number : number + 1] = [started], [stack]

    async def restart(self, number: int) -> None:
        """Ends a host as it is, whatever it is at, and starts it again with the same folder."""
        await self._stacks[number].aclose()
        await self._start(number)

    async def apply(
        self,
        directory: SqliteDirectory,
        writes: Sequence[RowWrite],
        *,
        journeys: Sequence[JourneyRecord] = (),
        forget: Sequence[str] = (),
        above: int = 0,
    ) -> Sequence[PagletRow]:
        """Stands where the directory's own is."""
        if self.cut is not None:
            return await self.cut.apply(directory, writes, journeys, forget)
        return await _APPLY(directory, writes, journeys=journeys, forget=forget, above=above)

    def begin_work(self, tasks: Tasks, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Stands where the hosts' own is: whose outcome a caller wants is under way until it is there."""
        task = _BEGIN(tasks, work)
        self._works.add(task)
        task.add_done_callback(self._works.discard)
        return task

    async def land(self, cut: Cut) -> None:
        """The write that was kept comes now."""
        assert cut.late is not None
        writes, journeys, forget = cut.late
        try:
            await self._sites[0].host.parts.directory.apply(writes, journeys=journeys, forget=forget)
        except ConflictError:
            return

    # What is asked of them, by way of the host `at`.

    def begin(self) -> None:
        """Another paglet from here on, of which nobody has heard."""
        self.paglet_id, self._create_id = new_id(), new_id()
        self._requests = [new_id() for _ in range(self._number)]
        self.points.clear()

    async def create(self, at: int) -> None:
        """Asks with the same request id, however often."""
        await self._sites[at].client.create(PROBE_TYPE, paglet_id=self.paglet_id, request_id=self._create_id)

    async def call(self, at: int, request: int) -> None:
        """Asks with the request's id; the answer tells that it ran, once."""
        name = f"request{request}"

        async def once() -> str:
            channel = self._sites[at].channel
            return (await ask(channel, self.paglet_id, "Append", name, request_id=self._requests[request])).text

        text = await _answered(once)
        assert text.split().count(name) == 1, f"request {request} was answered with {text!r}"

    async def dispatch(self, at: int, target: int) -> None:
        """Moves it."""
        await self._sites[at].client.dispatch(self.paglet_id, NAMES[target], request_id=new_id())

    async def deactivate(self, at: int) -> None:
        """Lays it down."""
        await self._sites[at].client.deactivate(self.paglet_id, request_id=new_id())

    async def activate(self, at: int) -> None:
        """Brings it back."""
        await self._sites[at].client.activate(self.paglet_id)

    async def dispose(self, at: int) -> None:
        """Ends it."""
        await self._sites[at].client.dispose(self.paglet_id, request_id=new_id())

    # What they look like.

    async def look(self) -> tuple[Seen | None, int]:
        """What can be seen, and the row's epoch; None while something is under way.

        Nothing is awaited after `points` are found to be still as they were: those that are there came before.
        """
        passed = len(self.points)
        seen, epoch = await self._look()
        return (seen, epoch) if len(self.points) == passed and not self._works else (None, 0)

    async def _look(self) -> tuple[Seen | None, int]:
        row = await self._sites[0].host.parts.directory.get(self.paglet_id)
        kept, live = list[tuple[tuple[int, ...], int] | None](), list[bool]()
        for found in self._sites:
            journal = found.host.parts.journal
            is_coming = found.host.comeback.knows(self.paglet_id)
            if is_coming or await journal.departures() or await journal.arrivals():
                return None, 0
            kept.append(await self._kept(found))
            resident = found.host.residents.get(self.paglet_id)
            live.append(resident is not None and not resident.life.locked())
        if row is None:
            return Seen(None, tuple(kept), tuple(live)), 0
        state = UNBORN if row.is_unborn else row.state.value
        owner = 0 if row.state is PagletState.DISPOSED else NAMES.index(row.owner)
        return Seen((owner, state), tuple(kept), tuple(live)), row.epoch

    async def _kept(self, found: Site) -> tuple[tuple[int, ...], int] | None:
        stored = await found.host.parts.journal.paglet(self.paglet_id)
        if stored is None:
            return None
        lines = Probe.codec.load(stored.state, stored.state_version).lines
        runs = tuple(lines.count(f"request{request}") for request in range(self._number))
        told = {reply.request_id for reply in await found.host.parts.journal.replies(self.paglet_id)}
        return runs, sum(1 << request for request, key in enumerate(self._requests) if key in told)


async def _answered(call: Callable[[], Awaitable[str]]) -> str:
    """Asks again while it is said to be worth it."""
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            try:
                return await call()
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
            await asyncio.sleep(0.02)
