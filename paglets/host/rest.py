"""How a paglet is laid down on its host's disk, to take no memory until something brings it back.

The directory's write is the commit: whatever fails before it leaves the paglet active, and takes back what the journal
has of the rest. Cut by the host's end after the journal has it, a rest is finished by the next start.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import Any

from paglets.core.events import DeactivationEvent, DeactivationRequest
from paglets.core.lifecycle import LifecycleEvent, next_state
from paglets.core.turn import OwnRequest, Turn
from paglets.directory.contract import Guard, PagletRow
from paglets.errors import ConflictError, PagletError, UnavailableError
from paglets.faults import point
from paglets.host.activities import hook_failed, hook_limits
from paglets.host.dormant import Dormant
from paglets.host.gate import moved
from paglets.host.given_up import forgo, refuse, resume
from paglets.host.parts import HostParts
from paglets.host.replies import ReplyBook
from paglets.host.resident import Resident
from paglets.host.residents import Residents
from paglets.host.settle import settle_write
from paglets.host.tasks import Tasks
from paglets.values import DeactivationPolicy
from paglets.wire.status import from_status_bytes

__all__ = ["REST_POINTS", "RestRequest", "Rests"]

_log = logging.getLogger(__name__)

REST_POINTS = (
    "deactivate.quiesce.before",
    "deactivate.journal.before",
    "deactivate.directory.before",
    "deactivate.directory.after",
)
"""The named points of a deactivation, in the order of its steps."""


@dataclass(frozen=True, slots=True)
class RestRequest:
    """Who asks for a rest: principal, request id (empty for none) and its fingerprint; or the paglet by its `own`."""

    policy: DeactivationPolicy | None = None
    principal: str = ""
    request_id: str = ""
    fingerprint: bytes = b""
    own: OwnRequest | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What the outcome is kept under."""
        return self.principal, self.request_id


class Rests:
    """Lays the paglets of one host down. `tasks` owns what outlives its caller."""

    def __init__(self, parts: HostParts, residents: Residents, dormant: Dormant, tasks: Tasks) -> None:
        self._parts = parts
        self._residents = residents
        self._dormant = dormant
        self._tasks = tasks

    async def rest(self, resident: Resident, request: RestRequest) -> PagletRow:
        """Lays a paglet down, to the end whatever becomes of the caller; returns its row.

        Raises PAGLET_MOVED when it has just left, ILLEGAL_TRANSITION, QUIESCE_TIMEOUT, HOOK_FAILED: it then goes on.
        """
        return await self._tasks.shielded(self._rest(resident, request))

    async def _rest(self, resident: Resident, request: RestRequest) -> PagletRow:
        async with resident.life:
            if self._residents.get(resident.paglet_id) is not resident:
                raise moved(resident.paglet_id)
            if request.request_id and _was_run(resident.book, request):
                return resident.row
            next_state(resident.paglet_id, resident.row.state, LifecycleEvent.DEACTIVATE)
            point("deactivate.quiesce.before")
            try:
                await resident.quiet(self._parts.settings.quiesce_s)
            except PagletError as error:
                forgo(resident, request.own, error)
                if request.own is None:  # else the paglet is told by whoever does what it asked for
                    self._tasks.start(refuse(self._parts, resident, None, error))
                raise
            try:
                last, policy = await self._last_turn(resident, request)
                async with self._dormant.lock(resident.paglet_id):  # its time may come before the directory knows
                    await self._lay_down(resident, request, policy, last)
            except BaseException as error:
                if self._residents.get(resident.paglet_id) is resident:
                    await self._go_on(resident, request, error)
                raise
            return resident.row  # what its last turn began beside the turns has ended with it

    async def _go_on(self, resident: Resident, request: RestRequest, error: BaseException) -> None:
        """A paglet that was quieted and stays goes on: its bodies are gone, and it is told why."""
        forgo(resident, request.own, error)
        if isinstance(error, PagletError) and request.own is None:
            await resume(self._parts, resident, error)
        else:
            resident.open()

    async def _last_turn(self, resident: Resident, request: RestRequest) -> tuple[Turn[Any], DeactivationPolicy]:
        """Asks the paglet what is to bring it back, and lets it end its work."""
        reason, paglet, runner = "own" if request.own else "deactivate", resident.paglet, resident.runner
        policy = DeactivationPolicy()

        async def on_deactivating() -> None:
            nonlocal policy
            chosen = await runner.invoke(paglet.deactivation_policy, DeactivationRequest(reason, request.policy))
            if not isinstance(chosen, DeactivationPolicy):
                raise TypeError(f"deactivation_policy answered with {type(chosen).__name__}, not DeactivationPolicy")
            policy = chosen
            await runner.invoke(paglet.on_deactivating, DeactivationEvent(self._parts.name, reason, policy))
            await resident.clean_up()

        try:
            async with hook_limits("on_deactivating", self._parts.settings.quiesce_s):
                return await resident.activities.first_hook(on_deactivating), policy
        except UnavailableError as error:
            if request.own is None:
                raise
            raise hook_failed("on_deactivating", error) from error  # nobody is there to ask again later

    async def _lay_down(
        self, resident: Resident, request: RestRequest, policy: DeactivationPolicy, last: Turn[Any]
    ) -> None:
        """What is durable of a rest: the paglet with its policy, then the directory's word, which is the commit."""
        try:
            await self._write(resident, request, policy, last)
        except asyncio.CancelledError:  # the host ends, and whether the directory knows is for the next start to find
            self._let_go(resident)
            raise
        except ConflictError as fenced:
            _log.error("paglet %s was taken from this host while it lay down: %s", resident.paglet_id, fenced)
            self._let_go(resident)
            raise
        except BaseException:
            await self._take_back(resident, request, last)
            raise
        point("deactivate.directory.after")
        self._dormant.add(resident.paglet_id)
        self._let_go(resident)
        if next(resident.box.waiting(), None) is not None:
            self._dormant.wake_for_posts(resident.paglet_id)

    async def _write(
        self, resident: Resident, request: RestRequest, policy: DeactivationPolicy, last: Turn[Any]
    ) -> None:
        row = resident.row
        reply, evicted = resident.book.keep(request.key, request.fingerprint)
        point("deactivate.journal.before")
        await self._parts.journal.dormant.rest(
            resident.stored(),
            policy,
            reply=reply,
            evicted=evicted,
            done=request.own,
            wanted=last.request,
            sent=tuple(last.posts),
            events=last.events,
        )
        resident.outbox.add(last.posts)
        resident.runner.events.show(last.events)
        point("deactivate.directory.before")
        state = next_state(row.paglet_id, row.state, LifecycleEvent.DEACTIVATE)
        # The epoch is raised: what told of its arrival may have been sent twice, and the second must not wake it.
        wanted = replace(row, state=state, epoch=row.epoch + 1)
        resident.row = await settle_write(self._parts.directory, Guard.on(row), wanted, cause=LifecycleEvent.DEACTIVATE)

    async def _take_back(self, resident: Resident, request: RestRequest, last: Turn[Any]) -> None:
        """The directory has refused the rest: nothing may say that it was made, and what was asked for is so still."""
        resident.book.drop(request.key)
        resident.own_request = last.request or resident.own_request
        await self._parts.journal.dormant.take_back(resident.paglet_id, request.key, request.own, last.request)

    def _let_go(self, resident: Resident) -> None:
        self._residents.remove(resident)
        resident.leave()

    async def rearrange(self, row: PagletRow, request: RestRequest) -> PagletRow:
        """Replaces what brings an inactive paglet back; a request that was run already changes nothing.

        Raises PAGLET_MOVED when it was woken just now, REQUEST_ID_REUSED, or what the request had failed with.
        """
        async with self._dormant.lock(row.paglet_id):
            if row.paglet_id not in self._dormant:
                raise moved(row.paglet_id)
            book = self._residents.book(row.paglet_id, await self._parts.journal.replies(row.paglet_id))
            if request.request_id and _was_run(book, request):
                return row
            policy = request.policy or await self._parts.journal.dormant.policy(row.paglet_id)
            reply, evicted = book.keep(request.key, request.fingerprint)
            await self._parts.journal.dormant.replace(row.paglet_id, policy, reply, evicted)
            self._dormant.rearranged(row.paglet_id)
            self._dormant.wake_for_posts(row.paglet_id)
            return row


def _was_run(book: ReplyBook, request: RestRequest) -> bool:
    """Whether the very request was run. Raises REQUEST_ID_REUSED, or what it had failed with."""
    found = book.find(request.key, request.fingerprint)
    if found is not None and found.status:
        raise from_status_bytes(found.status)
    return found is not None
