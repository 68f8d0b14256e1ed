"""Paglets that rest on this host's disk, and what brings them back: a call, a start, a time, or being asked to.

The directory says who is INACTIVE, the journal what is to bring it back. The first turn is run before the directory is
told, which is the commit: whatever fails or is cut before that leaves the paglet as it was.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from weakref import WeakValueDictionary

from paglets.core.events import ActivationEvent
from paglets.core.lifecycle import LifecycleEvent, next_state
from paglets.directory.contract import Guard, PagletRow
from paglets.errors import PagletError, PreconditionError, Resource
from paglets.faults import point
from paglets.host.activities import hook_limits
from paglets.host.gate import moved, not_found
from paglets.host.parts import HostParts
from paglets.host.remains import drop_ended
from paglets.host.resident import Resident
from paglets.host.residents import Residents
from paglets.host.runner import attempt
from paglets.host.settle import settle_write
from paglets.host.tasks import Tasks
from paglets.values import PagletState

__all__ = ["WAKING_POINTS", "Dormant"]

_log = logging.getLogger(__name__)
_LONGEST_WAIT_S = 60.0
_TRY_AGAIN_S = 60.0
_AT_ONCE = 20
_PLACE_S = 1.0
_OF_ANOTHER = frozenset({PagletState.DISPOSED, PagletState.CLONING, PagletState.ARRIVING})
"""What a paglet that rests is not: it has ended, or a later life of its id comes."""

WAKING_POINTS = ("activate.directory.before", "activate.directory.after", "activate.journal.after")
"""The named points of an activation, in the order of its steps."""


class Dormant:
    """The inactive paglets of one host. `tasks` owns what outlives its caller."""

    def __init__(self, parts: HostParts, residents: Residents, tasks: Tasks) -> None:
        self._parts = parts
        self._residents = residents
        self._tasks = tasks
        self._inactive: set[str] = set()
        self._doubtful: set[str] = set()
        self._coming: dict[str, asyncio.Task[Resident]] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._wanted: dict[str, str] = {}
        self._later: dict[str, float] = {}  # times of the loop's clock, which nobody sets
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._timed = asyncio.Event()

    def __contains__(self, paglet_id: str) -> bool:
        return paglet_id in self._inactive

    async def holds(self, paglet_id: str) -> bool:
        """Whether the paglet rests here. One in doubt, as each is that a start has found, is looked up first.

        Its end may have been cut, and the id be another's by now: what is kept of it is dropped then. Raises
        DIRECTORY_UNAVAILABLE.
        """
        if paglet_id in self._doubtful:
            async with self.lock(paglet_id):
                await self._prove(paglet_id)
        return paglet_id in self._inactive

    async def _prove(self, paglet_id: str) -> None:
        """Whoever takes it holds the paglet's lock."""
        if paglet_id not in self._doubtful:
            return
        row = await self._parts.directory.get(paglet_id)
        if row is None:  # a directory that has lost its rows says nothing
            return
        if row.owner != self._parts.name or row.state in _OF_ANOTHER:
            await drop_ended(self._parts, row)
            self.remove(paglet_id)
        self._doubtful.discard(paglet_id)  # one that is said to be awake is laid down anew when it is woken

    def doubt(self, paglet_id: str) -> None:
        """The paglet may have ended."""
        if paglet_id in self._inactive:
            self._doubtful.add(paglet_id)

    def add(self, paglet_id: str) -> None:
        """The paglet rests here, as the directory says."""
        self._inactive.add(paglet_id)
        self._doubtful.discard(paglet_id)
        self.rearranged(paglet_id)

    def find(self, paglet_id: str) -> None:
        """As `add`, for one of which a start learns only now; what a start brings back comes back."""
        self.add(paglet_id)
        self._tasks.start(self._start(paglet_id))

    async def _start(self, paglet_id: str) -> None:
        reason = "startup" if await self._is_wanted(paglet_id, "startup") else "message"
        await self._wake_if_wanted(paglet_id, reason)

    def remove(self, paglet_id: str) -> None:
        """The paglet has ended, or is awake."""
        self._inactive.discard(paglet_id)
        self._doubtful.discard(paglet_id)
        self._give_up(paglet_id)

    def _give_up(self, paglet_id: str, reason: str = "") -> None:
        """What was the `reason`, or anything, does not bring the paglet back any more."""
        if reason in {"", self._wanted.get(paglet_id)}:
            self._wanted.pop(paglet_id, None)
        self._later.pop(paglet_id, None)

    def rearranged(self, paglet_id: str) -> None:
        """The time at which the paglet is to come back may have changed, or what has kept it from that."""
        self._later.pop(paglet_id, None)
        self._timed.set()

    def lock(self, paglet_id: str) -> asyncio.Lock:
        """Who holds it is alone in waking an inactive paglet, and in doing anything else with it."""
        return self._locks.setdefault(paglet_id, asyncio.Lock())

    async def wake_for_message(self, paglet_id: str, *, awake_only: bool) -> Resident:
        """Brings a paglet back for a call. Raises PAGLET_INACTIVE if its policy or the caller wants none of that."""
        if awake_only or not (await self._parts.journal.dormant.policy(paglet_id)).activate_on_message:
            raise PreconditionError(
                "PAGLET_INACTIVE",
                f"paglet {paglet_id} is inactive, and calls do not bring it back; activate it",
                resource=Resource("paglet", paglet_id),
                metadata={"host": self._parts.name},
            )
        return await self.wake(paglet_id, "message")

    def wake_for_posts(self, paglet_id: str) -> None:
        """Brings a paglet back for posts that wait, if there are some and its policy says so; nobody waits for it."""
        if paglet_id in self._inactive:
            self._tasks.start(self._wake_if_wanted(paglet_id, "message"))

    def wake_for_posts_later(self, paglet_id: str) -> None:
        """As `wake_for_posts`, in a while: for posts that could not bring it back just now."""
        if paglet_id in self._inactive:
            self._wanted.setdefault(paglet_id, "message")
            self._later.setdefault(paglet_id, self._now() + _TRY_AGAIN_S)
            self._timed.set()

    async def _wake_if_wanted(self, paglet_id: str, reason: str) -> None:
        """Brings a paglet back if a start, posts or its time are to; one that fails is tried again in a while."""
        async with self._places:  # for a while: who takes long keeps no place from others
            if paglet_id not in self._inactive or not await self._is_wanted(paglet_id, reason):
                self._give_up(paglet_id, reason)
                return
            if reason != "time":  # which the journal knows
                self._wanted[paglet_id] = reason
            self._later[paglet_id] = self._now() + _TRY_AGAIN_S  # a change that comes meanwhile takes it away again
            coming = self._tasks.begin(attempt(self.wake(paglet_id, reason), f"the activation of paglet {paglet_id}"))
            await asyncio.wait([coming], timeout=_PLACE_S)
        try:
            await coming
        except PagletError as error:
            if paglet_id in self._inactive:
                _log.error("paglet %s stays inactive: %s", paglet_id, error)
            else:
                self._give_up(paglet_id, reason)

    async def _is_wanted(self, paglet_id: str, reason: str) -> bool:
        policy = await self._parts.journal.dormant.policy(paglet_id)
        if reason == "startup":
            return policy.activate_on_startup
        if reason == "time":
            return policy.activate_at is not None and policy.activate_at <= time.time()
        return policy.activate_on_message and await self._parts.journal.posts.wait_for(paglet_id)

    async def wake(self, paglet_id: str, reason: str) -> Resident:
        """Brings an inactive paglet back, to the end whatever becomes of the caller; who comes meanwhile joins.

        Raises PAGLET_NOT_FOUND, PAGLET_MOVED when it is not inactive here, HOOK_FAILED, TYPE_NOT_ALLOWED,
        STATE_VERSION_UNSUPPORTED, STATE_INVALID, STATE_UNREADABLE: it then stays inactive.
        """
        coming = self._coming.get(paglet_id)
        if coming is None:
            coming = self._coming[paglet_id] = self._tasks.begin(self._wake(paglet_id, reason))
            coming.add_done_callback(lambda _: self._coming.pop(paglet_id, None))
        return await self._tasks.outcome(coming)

    async def _wake(self, paglet_id: str, reason: str) -> Resident:
        async with self.lock(paglet_id):
            await self._prove(paglet_id)
            if paglet_id not in self._inactive:  # it was woken or ended just now, or a restart has not decided yet
                raise moved(paglet_id)
            row = await self._parts.directory.get(paglet_id)
            if row is None:
                raise not_found(paglet_id)
            if row.owner != self._parts.name or row.state is not PagletState.INACTIVE:
                row = await self._laid_down_anew(row)
            resident = await self._residents.load(row)
            async with resident.life:
                try:
                    await self._rise(resident, reason)
                except BaseException:
                    await resident.let_go(self._parts.settings.quiesce_s)
                    raise
            return resident

    async def _laid_down_anew(self, row: PagletRow) -> PagletRow:
        """The row of a paglet that rests here, and of which a write of the life before said only now that it is awake.

        The epoch is raised, so that no other comes late. Raises PAGLET_MOVED for one that does not rest here.
        """
        kept = await self._parts.journal.paglet(row.paglet_id)
        here = kept is not None and kept.epoch and self._residents.get(row.paglet_id) is None  # 0: it is being created
        if not here or (row.owner, row.state, row.intent) != (self._parts.name, PagletState.ACTIVE, None):
            self.remove(row.paglet_id)
            await self._parts.journal.dormant.drop([row.paglet_id])
            raise moved(row.paglet_id)
        state = next_state(row.paglet_id, row.state, LifecycleEvent.DEACTIVATE)
        wanted = replace(row, state=state, epoch=row.epoch + 1)
        return await settle_write(self._parts.directory, Guard.on(row), wanted, cause=LifecycleEvent.DEACTIVATE)

    async def retry(self, resident: Resident) -> PagletRow:
        """Tries a paglet again whose arrival had failed; of one that is active it changes nothing.

        Raises ILLEGAL_TRANSITION, QUIESCE_TIMEOUT, HOOK_FAILED: it then stays FAILED.
        """
        return await self._tasks.shielded(self._retry(resident))

    async def _retry(self, resident: Resident) -> PagletRow:
        async with resident.life:
            if self._residents.get(resident.paglet_id) is not resident:
                raise moved(resident.paglet_id)
            if resident.row.state is PagletState.ACTIVE:
                return resident.row
            next_state(resident.paglet_id, resident.row.state, LifecycleEvent.ACTIVATE)
            await resident.quiet(self._parts.settings.quiesce_s)
            try:
                await self._rise(resident, "retry")
            except BaseException:
                resident.open()
                raise
            return resident.row

    async def _rise(self, resident: Resident, reason: str) -> None:
        """The first turn, then the directory's word, which is the commit; a turn that fails changes nothing."""
        row, paglet = resident.row, resident.paglet
        event = ActivationEvent(self._parts.name, reason)

        async with hook_limits("on_activation", self._parts.settings.quiesce_s):
            first = await resident.activities.first_hook(paglet.on_activation, event)
        state = next_state(row.paglet_id, row.state, LifecycleEvent.ACTIVATE)
        wanted = replace(row, state=state, epoch=row.epoch + 1, error="")
        point("activate.directory.before")
        resident.row = await settle_write(self._parts.directory, Guard.on(row), wanted, cause=LifecycleEvent.ACTIVATE)
        point("activate.directory.after")
        await self._parts.journal.dormant.wake(resident.stored(), first.request, tuple(first.posts), first.events)
        point("activate.journal.after")
        self._residents.add(resident)
        self.remove(row.paglet_id)  # together: a call in between would find it nowhere
        resident.open(first)

    # By itself.

    async def recover(self, *, awake: Collection[str]) -> None:
        """Reads who rests here: those of which a policy is kept, but for those that the directory says are `awake`.

        The policies of these stay until their epochs are raised, or the rests that were cut are finished.
        """
        kept = await self._parts.journal.dormant.ids()
        self._inactive.update(paglet_id for paglet_id in kept if paglet_id not in awake)
        self._doubtful.update(self._inactive)

    async def keep_time(self) -> None:
        """Brings back those that a start or posts do, and everyone when its time comes; none waits for another."""
        self._wanted.update((found, "startup") for found in await self._parts.journal.dormant.on_startup())
        for paglet_id in await self._parts.journal.posts.at_rest():
            self._wanted.setdefault(paglet_id, "message")
        while True:
            self._timed.clear()
            began = self._now()
            for paglet_id, reason in list(self._wanted.items()):
                if self._may_try(paglet_id):
                    self._tasks.start(self._wake_if_wanted(paglet_id, reason))
            due, coming = await self._parts.journal.dormant.times(time.time())
            for paglet_id in due:  # of one that rests only in the journal yet it is for others to decide
                if paglet_id in self._inactive and self._may_try(paglet_id):
                    self._tasks.start(self._wake_if_wanted(paglet_id, "time"))
            again = [at - self._now() for at in self._later.values() if at > began]
            pause_s = min([_LONGEST_WAIT_S, *again, *(at - time.time() for at in coming)])
            with suppress(TimeoutError):  # never long: somebody may set the clock
                async with asyncio.timeout(max(0.0, pause_s)):
                    await self._timed.wait()

    def _may_try(self, paglet_id: str) -> bool:
        """Whether a paglet may be tried now, and not in a while, since it was; it counts as tried then."""
        if self._later.get(paglet_id, 0.0) > self._now():
            return False
        self._later[paglet_id] = self._now() + _TRY_AGAIN_S
        return True

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
