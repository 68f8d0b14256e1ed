"""A paglet on this host, from its start here until it leaves: what it is, and how it is opened, quieted and let go."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from paglets.core.events import ActivationEvent, DeactivationEvent
from paglets.core.paglet import Paglet
from paglets.core.turn import OwnRequest, Turn
from paglets.directory.contract import PagletRow
from paglets.errors import DeadlineError, PagletError, PreconditionError, Resource
from paglets.host.activities import Activities
from paglets.host.calls import Calls
from paglets.host.deliveries import Deliveries
from paglets.host.files import RegisteredFile
from paglets.host.gate import moved, shutting_down
from paglets.host.leases import Leases
from paglets.host.outbox import Outbox
from paglets.host.records import StoredPaglet
from paglets.host.replies import ReplyBook
from paglets.host.runner import Runner, attempt
from paglets.host.sections import Sections
from paglets.host.streams import Streams
from paglets.host.threads import leaving_threads
from paglets.values import DeactivationPolicy, PagletState

__all__ = ["Resident"]

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Resident:
    """One paglet in memory: joins its calls and its activities, which know nothing of each other.

    `row` is its directory row as this host last wrote or read it; who holds `life` is alone in changing where the
    paglet is, or whether. `own_request` is what the paglet asked of its host and was not done yet; `fulfil` begins it.
    """

    def __init__(
        self,
        row: PagletRow,
        paglet: Paglet[Any],
        *,
        runner: Runner,
        sections: Sections,
        activities: Activities,
        book: ReplyBook,
        deliveries: Deliveries,
        outbox: Outbox,
        files: dict[str, RegisteredFile],
        fulfil: Callable[[Resident, OwnRequest], None],
    ) -> None:
        self.row = row
        self.paglet = paglet
        self.runner = runner
        self.sections = sections
        self.gate = runner.gate
        self.calls = Calls(row.paglet_id, paglet, runner, book, self.require_sound)
        self.usage = self.calls.usage
        self._leases: Leases | None = None
        self.activities = activities
        self.streams = Streams(paglet, self.calls, runner.gate, activities, self.require_sound)
        self.book = book
        self.deliveries = deliveries
        self.box = deliveries.box
        self.outbox = outbox
        self.files = files
        self.life = asyncio.Lock()
        self.own_request: OwnRequest | None = None
        self._haste: asyncio.Timeout | None = None
        self._fulfil = partial(fulfil, self)
        runner.on_posts = outbox.add
        runner.on_request = activities.on_request = self._requested
        activities.on_cut = self._tell_cut

    @property
    def paglet_id(self) -> str:
        """The paglet's id."""
        return self.row.paglet_id

    @property
    def leases(self) -> Leases:
        """What keeps it from resting for being idle."""
        if self._leases is None:
            self._leases = Leases(self.paglet_id, time.monotonic)
        return self._leases

    def stored(self) -> StoredPaglet:
        """The paglet as its last turn left it, for the journal."""
        cell = self.runner.cell
        return StoredPaglet(
            paglet_id=self.paglet_id,
            type=self.row.type,
            epoch=self.row.epoch,
            state=cell.latest,
            state_version=cell.codec.version,
        )

    async def activate(self, timeout_s: float) -> None:
        """Tells the paglet that its host was restarted, in the first turn of its new life; nothing keeps it from it."""
        try:
            with leaving_threads():
                async with asyncio.timeout(timeout_s):
                    await self.activities.hook(self.paglet.on_activation, ActivationEvent(self.row.owner, "restart"))
        except (PagletError, TimeoutError) as error:
            _log.error("on_activation of paglet %s failed: %r", self.paglet_id, error)

    async def in_haste(self, work: Callable[[], Awaitable[T]], what: str) -> T:
        """Does what an arrival may take any time for, until somebody calls `hasten`. Raises QUIESCE_TIMEOUT."""
        try:
            with leaving_threads():
                async with asyncio.timeout(None) as self._haste:
                    return await work()
        except TimeoutError as error:
            raise DeadlineError(
                "QUIESCE_TIMEOUT",
                f"{what} of paglet {self.paglet_id} did not end in time for its disposal",
                resource=Resource("paglet", self.paglet_id),
            ) from error
        finally:
            self._haste = None

    def hasten(self, timeout_s: float) -> None:
        """Gives an arrival that is under way so many seconds from now. Safe to repeat."""
        if self._haste is not None and self._haste.when() is None:
            self._haste.reschedule(asyncio.get_running_loop().time() + timeout_s)

    def open(self, first: Turn[Any] | None = None) -> None:
        """Lets the waiting and posts in, begins `run()`, and what was asked for, in the first turn or earlier."""
        self.sections.resume()
        self.activities.resume()
        self.gate.reopen()
        self._start_run()
        if self.row.state is not PagletState.FAILED:
            self.deliveries.begin(self.calls.deliver)
        self.outbox.add(() if first is None else first.posts)
        self.outbox.begin()
        self.runner.events.show(() if first is None else first.events)
        if first is not None:
            self.own_request = first.request or self.own_request
            for output in first.outputs:
                output()
        self.take_up()

    def _start_run(self) -> None:
        """Begins the paglet's `run()`, if it has one of its own; never that of a FAILED paglet."""
        if type(self.paglet).run is not Paglet[Any].run and self.row.state is not PagletState.FAILED:
            self.activities.start_run(self.paglet.run)

    def take_up(self) -> None:
        """Begins what the paglet asked for and was not done yet, now that nothing stands in the way."""
        if self.own_request is not None:
            self._fulfil(self.own_request)

    def _requested(self, wanted: OwnRequest) -> None:
        self.own_request = wanted
        self._fulfil(wanted)

    async def quiet(self, timeout_s: float) -> None:
        """Ends all activity but the waiting: closes the gate, interrupts reads, cancels bodies and awaits them, saves.

        Raises QUIESCE_TIMEOUT when a turn or a body does not end within `timeout_s` seconds; everything then goes on:
        reads and `run()` begin anew, threads at work go on, and the paglet is told of bodies that end only later.
        Nobody waits for a turn that is stuck.
        """
        await self.gate.close(0.0 if self.runner.is_stuck else timeout_s)
        await self.runner.settle()  # what the last turn began has begun by then, and is ended with the rest
        self.calls.interrupt_reads()
        self.sections.interrupt()
        if not await self.activities.cancel(timeout_s):
            self.open()
            raise self._unquiet(f"did not end within {timeout_s:g} s")
        try:
            await self.runner.save()
        except BaseException:
            self.open()
            raise

    def _unquiet(self, what: str) -> DeadlineError:
        return DeadlineError(
            "QUIESCE_TIMEOUT",
            f"the background work of paglet {self.paglet_id} {what}",
            resource=Resource("paglet", self.paglet_id),
        )

    async def _tell_cut(self) -> None:
        """Tells the paglet that stayed of a body that was cancelled all the same, after it was told that it stays."""
        try:
            error = self._unquiet("was cancelled for a move that was given up, and has ended only now")
            await self.activities.queued_hook(self.paglet.on_dispatch_aborted, error)
        except PagletError as failed:
            _log.error("on_dispatch_aborted of paglet %s failed: %s", self.paglet_id, failed)

    async def clean_up(self) -> None:
        """Closes the paglet's resources, as part of the turn that this is called in; the caller bounds the time.

        Raises HOOK_FAILED, naming those that could not be closed; the others are closed.
        """

        async def call(close: Callable[[], object]) -> object:
            return await attempt(self.runner.invoke(close), f"closing a resource of paglet {self.paglet_id}")

        await self.paglet.resources.clean_up(call)

    async def let_go(self, timeout_s: float) -> None:
        """Closes the resources of a paglet that ends here whether it can or not; what fails is in the log."""
        try:
            with leaving_threads():
                async with asyncio.timeout(timeout_s):
                    await self.clean_up()
        except (PagletError, TimeoutError) as error:
            _log.error("paglet %s leaves something open: %r", self.paglet_id, error)

    def leave(self, error: PagletError | None = None) -> None:
        """Sends away whoever waits, also for what does not end: the paglet is no longer here."""
        self.gate.shut(error or moved(self.paglet_id))
        self.deliveries.abandon()
        self.runner.cut()
        self.calls.interrupt_reads()
        self.sections.interrupt()
        self.activities.abandon()  # of a paglet that was ended though it could not be quieted

    async def stop(self, timeout_s: float) -> None:
        """Ends everything at the host's own end: whoever waits is sent away, what runs may finish in time.

        Then the paglet has its last turn before the host ends; it is durable, or as if it had not been.
        """
        if self.runner.is_stuck:
            timeout_s = 0.0
        self.gate.shut(shutting_down())
        self.sections.interrupt()
        await self.deliveries.stop()
        await self.save_last()  # what does not end in time may cost the host the rest of its time
        await self.calls.stop(timeout_s)
        ended = await self.activities.cancel(timeout_s) and await self.gate.drained(timeout_s)
        await self.runner.settle()
        if ended and type(self.paglet).on_deactivating is not Paglet[Any].on_deactivating:
            await self._last_turn(timeout_s)
        await self.save_last()
        await self.let_go(timeout_s)

    async def save_last(self) -> None:
        """Saves it as its host ends; what fails is in the log."""
        try:
            await self.runner.save()
        except PagletError as error:
            _log.error("paglet %s is not as it was when its host ended: %s", self.paglet_id, error)

    async def _last_turn(self, timeout_s: float) -> None:
        if self.row.state is not PagletState.ACTIVE:
            return
        event = DeactivationEvent(self.row.owner, "shutdown", DeactivationPolicy(activate_on_startup=True))
        try:
            with leaving_threads():
                async with asyncio.timeout(timeout_s):
                    await self.activities.hook(self.paglet.on_deactivating, event)
        except (PagletError, TimeoutError) as error:
            _log.error("on_deactivating of paglet %s failed as its host ends: %r", self.paglet_id, error)

    def require_sound(self) -> None:
        """Raises ARRIVAL_FAILED when the paglet answers nothing but reads."""
        if self.row.state is PagletState.FAILED:
            raise PreconditionError(
                "ARRIVAL_FAILED",
                f"paglet {self.paglet_id} failed to arrive here and answers only operations without side effects:"
                f" {self.row.error}",
                resource=Resource("paglet", self.paglet_id),
                metadata={"host": self.row.owner},
            )
