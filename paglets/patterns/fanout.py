"""Work that is spread over hosts: clones of a paglet do it there, and tell their parent what they find.

The parent alone keeps the time, and ends its children. It knows a child's id before the child is there, durably: what
was asked for is ended also when nobody heard whether it came to be.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar

import typing_extensions
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from paglet.v1 import fanout_pb2
from paglets.core.events import ActivationEvent, CloneEvent, MobilityEvent
from paglets.core.paglet import Paglet, PatternService
from paglets.errors import InvalidArgumentError, PagletError, PreconditionError, Resource
from paglets.patterns.declared import declare_message
from paglets.patterns.fanout_results import WaitingResults
from paglets.patterns.fanout_state import FanoutRole, MeshFanoutState
from paglets.patterns.task_messages import unpack_request
from paglets.patterns.task_state import error_text
from paglets.values import PagletProxyRef, TransferTicket, clone_id, new_id
from paglets.wire.times import duration_from_message, duration_to_message

__all__ = ["FanoutOperations", "MeshFanoutMixin"]

FanoutStateT = typing_extensions.TypeVar("FanoutStateT", bound=MeshFanoutState, default=MeshFanoutState)
ChildRequestT = typing_extensions.TypeVar("ChildRequestT", bound=Message, default=AnyMessage)
ChildResultT = typing_extensions.TypeVar("ChildResultT", bound=Message, default=AnyMessage)
MessageT = TypeVar("MessageT", bound=Message)

_SERVICE = fanout_pb2.DESCRIPTOR.services_by_name["FanoutService"]
_REPORT = f"{_SERVICE.full_name}/Report"
_NOT_VISIBLE = "target host is not online or not visible in the mesh"
_NOT_TAKEN = "found more than was taken"
_NOT_ENDED = "did not end in time; it ends by itself"
_END_S = 5.0
"""How long the end of a child is waited for: its host may hang."""

_LINGER_S = 60.0
"""How long a child that nobody ended outlives the time that its parent had for it."""


class FanoutOperations(PatternService["MeshFanoutMixin[MeshFanoutState]"]):
    """`paglet.v1.FanoutService`, answered for a parent."""

    Service = _SERVICE

    async def report(self, request: fanout_pb2.FanoutServiceReportRequest) -> fanout_pb2.FanoutServiceReportResponse:
        """Takes what a child has found."""
        await self.paglet.take_report(request)
        return fanout_pb2.FanoutServiceReportResponse()


class MeshFanoutMixin(Paglet[FanoutStateT], Generic[FanoutStateT, ChildRequestT, ChildResultT]):
    """A paglet that does work on many hosts at once; name it before other bases, so that its hooks see all.

    `class Search(MeshFanoutMixin[SearchState, SearchRequest, SearchResponse], OperationPaglet[SearchState])` says what
    its children are asked and what they find; a message of another type is an error of its host. Without the two both
    are of any type, and come as an `Any`.

    `await self.fan_out(request, timeout_s=...)` in the background does the whole of it, and
    `async for host, result in self.fan_out_results(...)` gives what is found as it comes. `run_child` is the work, done
    at each host by a clone. What became of each host is in the state, of which derive `MeshFanoutState`. The methods
    `fanout_...` are the single steps. A paglet does one fan-out at a time.

    A child is a clone, so it begins with what its parent had; it neither moves nor goes on after a restart of its host,
    which is an error that it tells its parent. A parent that was restarted, or moved, has its children still, but not
    its body: it calls `fanout_cleanup_children` where its work is taken up or given up.
    """

    Patterns = (FanoutOperations,)
    ChildRequest: ClassVar[type[Any]] = AnyMessage
    ChildResult: ClassVar[type[Any]] = AnyMessage
    _spreading = False
    _heard: WaitingResults | None = None

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        declare_message(cls, MeshFanoutMixin, 1, "ChildRequest")
        declare_message(cls, MeshFanoutMixin, 2, "ChildResult")

    # What an author writes.

    async def run_child(self, request: ChildRequestT) -> Message | None:
        """The work of a child, in its background: `request` is what the parent gave to `fan_out`.

        What it returns is the last result; `report_to_parent` sends others before. An exception is the host's error.
        """
        raise NotImplementedError(f"{type(self).__qualname__} does not define run_child")

    async def on_child_result(self, host: str, result: ChildResultT) -> None:
        """Called in a turn of the parent for each result: in the order of a child's reports, while it is waited for.

        For what is to be kept in the state; else `fan_out_results` is simpler.
        """

    # The whole of it.

    async def fan_out(
        self, request: Message, *, hosts: Sequence[str] = (), timeout_s: float, include_self: bool = True
    ) -> None:
        """Has the work done on these hosts, by default on all that are online; returns when all are done or failed.

        It takes `timeout_s` seconds at most, and a moment to end the children. Errors of hosts are in `state.errors`.
        For the background. Raises WAIT_IN_TURN in a turn, FANOUT_RUNNING, and MALFORMED_REQUEST for a time without an
        end.
        """
        async with self._one_at_a_time():
            await self._fan_out(request, hosts, timeout_s, include_self=include_self)

    async def fan_out_results(
        self, request: Message, *, hosts: Sequence[str] = (), timeout_s: float, include_self: bool = True
    ) -> AsyncGenerator[tuple[str, ChildResultT]]:
        """As `fan_out`, but gives what the children find as it comes, with the host that it is from.

        Results that nobody takes wait in memory, 16 MiB of them; a host that finds more is heard no longer, which is
        its error. Closed before the end it gives the work up, and ends the children.
        """
        async with self._one_at_a_time():
            heard = self._heard = WaitingResults()
            work = asyncio.create_task(self._fan_out(request, hosts, timeout_s, include_self=include_self))
            work.add_done_callback(lambda _: heard.end())
            try:
                while (found := await heard.take()) is not None:
                    yield found[0], self._result(found[1])
                await work
            finally:
                self._heard = None
                work.cancel()
                await asyncio.wait([work])

    @asynccontextmanager
    async def _one_at_a_time(self) -> AsyncGenerator[None]:
        if self._spreading:
            raise PreconditionError(
                "FANOUT_RUNNING",
                f"paglet {self.paglet_id} is spreading work over hosts already; ask another one",
                resource=Resource("paglet", self.paglet_id),
            )
        self._spreading = True
        try:
            yield
        finally:
            self._spreading = False

    async def _fan_out(self, request: Message, hosts: Sequence[str], timeout_s: float, *, include_self: bool) -> None:
        if self.state.cleanup_errors or self.state.pending:
            await self.fanout_cleanup_children()  # of the one before: a last try, since they are forgotten now
        await self.fanout_reset(timeout_s)
        chosen = await self.fanout_select_hosts(hosts, include_self=include_self)
        try:
            await asyncio.gather(*(self.fanout_clone(host, request) for host in chosen))
            await self.fanout_wait_for(lambda state: not state.pending)
            await self.fanout_expire_pending()
        finally:
            await self.fanout_cleanup_children()

    # Its steps.

    async def fanout_reset(self, timeout_s: float) -> None:
        """Begins a fan-out that has `timeout_s` seconds from now. Raises MALFORMED_REQUEST for a time without an end.

        Children end themselves when it is over: nobody else knows of them when their parent is gone.
        """
        if not timeout_s < math.inf:
            raise InvalidArgumentError("MALFORMED_REQUEST", f"a fan-out has so many seconds, got {timeout_s}")
        async with self.turn() as state:
            state.reset(new_id(), timeout_s, time.time())

    async def fanout_available_hosts(self, *, include_self: bool = True) -> list[str]:
        """The names of the hosts that are online."""
        return [host.name for host in await self.context.available_hosts(include_self=include_self)]

    async def fanout_select_hosts(self, hosts: Sequence[str] = (), *, include_self: bool = True) -> list[str]:
        """Those of `hosts` that are online, by default all, in their order and each once; the others have an error."""
        online = await self.fanout_available_hosts(include_self=include_self)
        if not hosts:
            return online
        missing = [host for host in hosts if host not in online]
        if missing:
            async with self.turn() as state:
                for host in missing:
                    state.record_error(host, _NOT_VISIBLE)
        return list(dict.fromkeys(host for host in hosts if host in online))

    async def fanout_clone(self, host: str, request: Message) -> PagletProxyRef | None:
        """Makes the child of a host, in the time that is left; None when that fails, which is the host's error."""
        asked = new_id()
        async with self.turn() as state:
            state.expect(host, clone_id(self.paglet_id, asked))
            left_s, fanout_id = state.time_left_s(time.time()), state.fanout_id
        child = fanout_pb2.FanoutChild(
            parent=self.paglet_id, fanout_id=fanout_id, host=host, timeout=duration_to_message(left_s)
        )
        child.request.Pack(request)
        try:
            async with asyncio.timeout(left_s):
                return await self.make_clone(
                    host, parameters=child, ticket=TransferTicket(deadline_s=left_s), request_id=asked
                )
        except (PagletError, TimeoutError) as error:
            if isinstance(error, PagletError):  # else it is overdue
                await self.fanout_record_error(host, error)
            return None

    async def fanout_record_done(self, host: str) -> None:
        """The child of a host has done all; safe to repeat."""
        async with self.turn() as state:
            state.record_done(host)

    async def fanout_record_error(self, host: str, error: str | BaseException) -> None:
        """The child of a host has failed; the last word counts."""
        async with self.turn() as state:
            state.record_error(host, error_text(error))

    async def fanout_expire_pending(self) -> bool:
        """Once the time is over gives up all hosts that are pending; whether it is over."""
        async with self.turn() as state:
            return state.expire(time.time())

    async def fanout_wait_for(self, predicate: Callable[[FanoutStateT], bool], timeout_s: float = float("inf")) -> bool:
        """Waits until the durable state satisfies `predicate`, for what is left of the time at most."""
        return await self.wait_state(predicate, min(max(0.0, timeout_s), self.state.time_left_s(time.time())))

    async def fanout_cleanup_children(self) -> None:
        """Ends all children; those that could not be ended are in `state.cleanup_errors`. Safe to repeat, for them too.

        `fan_out` tries them once more when it begins, and knows nothing of them from then on.
        It takes a few seconds at most. A child of a host that hangs, or is away, ends itself a minute after its time,
        but for one whose first turn failed.
        """
        children = self.state.children
        failed = dict(await asyncio.gather(*(self._end_child(host, child) for host, child in children.items())))
        async with self.turn() as state:
            state.cleanup_errors = {host: error for host, error in failed.items() if error}

    async def _end_child(self, host: str, child: str) -> tuple[str, str]:
        try:
            async with asyncio.timeout(_END_S):
                await self.dispose_of(child)
        except TimeoutError:
            return host, _NOT_ENDED
        except PagletError as error:
            return host, error_text(error)
        return host, ""

    # The parent's ear.

    async def take_report(self, report: fanout_pb2.FanoutServiceReportRequest) -> None:
        """Takes what a child has found, in a turn; what is not, or no longer, waited for is dropped."""
        state = self.state
        if report.fanout_id != state.fanout_id or report.host not in state.pending:
            return
        for packed in report.results:
            try:
                result = self._result(packed)
            except InvalidArgumentError as error:
                state.record_error(report.host, error_text(error))
                return
            await self.on_child_result(report.host, result)
            if self._heard is not None and not self._heard.put(report.host, packed):
                state.record_error(report.host, _NOT_TAKEN)
                return
        if report.error:
            state.record_error(report.host, report.error)
        elif report.done:
            state.record_done(report.host)

    def _result(self, packed: AnyMessage) -> ChildResultT:
        return _unpacked(packed, self.ChildResult, f"the parent, a {type(self).__qualname__},")

    # The child.

    async def report_to_parent(self, *results: Message) -> None:
        """Tells the parent what this child has found so far; durable on return. TypeError for one that is no child."""
        await self._report(results)

    async def _report(self, results: Sequence[Message], *, done: bool = False, error: str = "") -> None:
        async with self.turn() as state:
            if state.role is not FanoutRole.CHILD:
                raise TypeError(f"paglet {self.paglet_id} is no child that could report to a parent")
            report = fanout_pb2.FanoutServiceReportRequest(
                fanout_id=state.fanout_id, host=state.target_host, done=done, error=error
            )
            for result in results:
                report.results.add().Pack(result)
            self.post(state.parent, _REPORT, report)

    async def _work(self, request: AnyMessage) -> None:
        try:
            wanted = _unpacked(request, self.ChildRequest, f"a child of {type(self).__qualname__}")
            result = await self.run_child(wanted)
            await self._report(() if result is None else (result,), done=True)  # fails for one that cannot be sent
        except Exception as error:
            await self._report((), error=error_text(error))
            raise

    def _linger(self, time_s: float) -> None:
        """Ends a child that its parent has not ended: the parent may be gone, and nobody else knows of it."""

        async def end() -> None:
            self.dispose()

        self.call_later(time_s + _LINGER_S, end)

    # Hooks.

    async def on_clone(self, event: CloneEvent) -> None:
        """A clone that is made to be a child becomes one; any other is a parent without children."""
        await super().on_clone(event)
        child = fanout_pb2.FanoutChild()
        if event.parameters is None or not event.parameters.Unpack(child):
            self.state.reset("", 0.0, time.time())
            return
        self.state.become_child(child.parent, child.fanout_id, child.host)
        self.start_background(partial(self._work, child.request))
        self._linger(duration_from_message(child.timeout))

    async def on_activation(self, event: ActivationEvent) -> None:
        """A child whose host was restarted has lost its work, and says so."""
        await super().on_activation(event)
        if self.state.role is FanoutRole.CHILD:
            await self._report((), error=f"host {event.host} was restarted")
            self._linger(0.0)

    async def on_dispatching(self, event: MobilityEvent) -> None:
        """The time that is left travels as such: clocks of hosts differ."""
        await super().on_dispatching(event)
        self.state.recount(time.time())

    async def on_arrival(self, event: MobilityEvent) -> None:
        """And is counted by the clock here."""
        await super().on_arrival(event)
        self.state.counted_at = time.time()


def _unpacked(packed: AnyMessage, wanted: type[MessageT], taker: str) -> MessageT:
    """The message inside, or the `Any` itself where that is wanted. Raises MALFORMED_REQUEST for another type."""
    if wanted.DESCRIPTOR is AnyMessage.DESCRIPTOR:
        return wanted.FromString(packed.SerializeToString())
    return unpack_request(packed, wanted, taker)
