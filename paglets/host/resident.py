"""A paglet on this host: its turns, reads, background work and files, from its start here until it leaves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NoReturn

from blake3 import blake3
from google.protobuf.message import DecodeError, Message

from paglets.core.events import ActivationEvent
from paglets.core.handlers import Handler
from paglets.core.mailbox import Ticket
from paglets.core.paglet import Paglet
from paglets.core.turn import OwnRequest, Turn, current_turn
from paglets.directory.contract import PagletRow
from paglets.errors import (
    DeadlineError,
    InternalError,
    InvalidArgumentError,
    OperationNotFoundError,
    PagletError,
    PreconditionError,
    Resource,
    UnavailableError,
)
from paglets.host.files import RegisteredFile
from paglets.host.gate import Gate, moved, shutting_down
from paglets.host.records import StoredReply
from paglets.host.replies import ReplyBook, require_same
from paglets.host.runner import Runner, attempt, is_cancelled
from paglets.values import PagletState
from paglets.wire.channel_options import MAX_MESSAGE_BYTES
from paglets.wire.status import from_status_bytes, to_status

__all__ = ["Call", "Reply", "Resident"]

_log = logging.getLogger(__name__)
_body_outputs: ContextVar[list[Callable[[], None]] | None] = ContextVar("paglets_body", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One unary call: rpc path, encoded request, who asks, request id if any, deadline on the loop's clock."""

    path: str
    request: bytes
    principal: str = ""
    request_id: str = ""
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """The encoded reply; `replayed` says that it was stored from an earlier run of the same request."""

    data: bytes
    replayed: bool = False


@dataclass(slots=True)
class _Running:
    """A request that is being run, for its duplicates to join."""

    fingerprint: bytes
    task: asyncio.Task[Reply]


class Resident:
    """One paglet in memory.

    `row` is its directory row as this host last wrote or read it; who holds `life` is alone in changing where the
    paglet is, or whether. `own_request` is what the paglet asked of its host and was not done yet; `fulfil` begins it.
    """

    def __init__(
        self, row: PagletRow, runner: Runner, gate: Gate, book: ReplyBook, files: dict[str, RegisteredFile]
    ) -> None:
        self.row = row
        self.runner = runner
        self.gate = gate
        self.book = book
        self.files = files
        self.paglet: Paglet[Any]
        self.life = asyncio.Lock()
        self._running: dict[tuple[str, str], _Running] = {}
        self._reads: dict[asyncio.Task[Any], asyncio.Event] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._run: asyncio.Task[None] | None = None
        self.own_request: OwnRequest | None = None
        self.fulfil: Callable[[], None]
        runner.on_request = self._requested

    @property
    def paglet_id(self) -> str:
        """The paglet's id."""
        return self.row.paglet_id

    # Calls.

    async def call(self, call: Call) -> Reply:
        """Answers one unary call: a read beside the turns, anything else as a turn."""
        handler = self.paglet.handlers.get(call.path)
        if handler is None:
            raise self._no_operation(call.path)
        request = _parse(handler, call.request)
        if handler.operation.is_read_only:
            return Reply(await self._read(handler, request, call.deadline))
        if call.request_id:
            return await self._run_once(handler, request, call)
        return Reply(await self._turn(handler, request, len(call.request), call.deadline))

    async def _read(self, handler: Handler, request: Message, deadline: float | None) -> bytes:
        """Runs a read-only handler; one that a journey interrupts begins anew where the paglet is then."""
        while True:
            await self.gate.passage(deadline)
            interrupted = asyncio.Event()
            task = asyncio.create_task(self._answer(handler, request))
            self._reads[task] = interrupted
            try:
                return await task
            except asyncio.CancelledError:
                if not (interrupted.is_set() and task.cancelled()) or is_cancelled():
                    task.cancel()
                    raise
            finally:
                self._reads.pop(task, None)

    async def _turn(self, handler: Handler, request: Message, size_bytes: int, deadline: float | None) -> bytes:
        ticket = await self._enter(size_bytes, deadline)
        try:
            reply, durable = await self.runner.begin(lambda: self._answer(handler, request))
        except Exception:
            self.gate.leave(ticket)
            await self.runner.catch_up()  # an error tells of the state too
            raise
        except BaseException:
            self.gate.leave(ticket)
            raise
        self.gate.leave(ticket)
        if durable is not None:
            await asyncio.shield(durable)
        return reply

    async def _enter(self, size_bytes: int, deadline: float | None) -> Ticket:
        """Waits for a turn; whoever waited for an arrival that failed is told so."""
        ticket = await self.gate.enter(size_bytes, deadline)
        try:
            self._require_sound()
        except PagletError:
            self.gate.leave(ticket)
            raise
        return ticket

    async def _run_once(self, handler: Handler, request: Message, call: Call) -> Reply:
        """Runs a request with an id: replays its stored outcome, joins it while it runs, or runs it.

        It runs to its end whatever becomes of the caller, who may ask again.
        """
        key = (call.principal, call.request_id)
        fingerprint = fingerprint_of(call.path, request)
        running = self._running.get(key)
        if running is not None:
            require_same(running.fingerprint, fingerprint, key, self.paglet_id)
            try:
                return Reply((await _outcome(running.task)).data, replayed=True)
            except DeadlineError as error:
                if error.reason != "DEADLINE_BEFORE_RUN" or _is_over(call.deadline):
                    raise  # else it was the deadline of whoever came first
            return await self._run_once(handler, request, call)
        found = self.book.find(key, fingerprint)
        if found is not None:
            return _replay(found)
        task = asyncio.create_task(self._turn_once(handler, request, call, key, fingerprint))
        self._running[key] = _Running(fingerprint, task)
        task.add_done_callback(lambda done: self._ran(key, done))
        return await _outcome(task)

    def _ran(self, key: tuple[str, str], task: asyncio.Task[Reply]) -> None:
        del self._running[key]
        if not task.cancelled():
            task.exception()  # the callers have it; nobody may be left to ask

    async def _turn_once(
        self, handler: Handler, request: Message, call: Call, key: tuple[str, str], fingerprint: bytes
    ) -> Reply:
        def keep(reply: bytes) -> tuple[StoredReply, list[tuple[str, str]]]:
            made = self.book.make(key, fingerprint, reply=reply)
            return made, self.book.add(made)

        ticket = await self._enter(len(call.request), call.deadline)
        try:
            reply, durable = await attempt(self.runner.begin(lambda: self._answer(handler, request), keep), call.path)
        except PagletError as error:
            await self._fail(error, key, fingerprint)
        finally:
            self.gate.leave(ticket)
        if durable is not None:
            await durable
        return Reply(reply)

    async def _fail(self, error: PagletError, key: tuple[str, str], fingerprint: bytes) -> NoReturn:
        """A failed turn changed nothing, but its request has run: a duplicate gets the same error.

        Unless that is UNAVAILABLE, which tells the caller to ask again: then it is as if it had not.
        """
        if isinstance(error, UnavailableError):
            await self.runner.catch_up()
            raise error
        made = self.book.make(key, fingerprint, status=to_status(error).SerializeToString())
        await self.runner.store(made, self.book.add(made))
        raise error

    async def _answer(self, handler: Handler, request: Message) -> bytes:
        owner = self.paglet if handler.pattern is None else self.paglet.pattern_services[handler.pattern]
        reply = await self.runner.invoke(getattr(owner, handler.attribute), request)
        expected = handler.operation.reply_class
        if not isinstance(reply, expected):
            raise InternalError(
                "REPLY_INVALID",
                f"{handler.operation.full_name} answered with {type(reply).__name__}, not {expected.__name__}",
                metadata={"operation": handler.operation.full_name},
            )
        data = reply.SerializeToString()
        if len(data) > MAX_MESSAGE_BYTES:
            raise InternalError(
                "REPLY_INVALID",
                f"{handler.operation.full_name} answered with {len(data)} bytes, a message has at most"
                f" {MAX_MESSAGE_BYTES}; give more as an artifact",
                metadata={"operation": handler.operation.full_name},
            )
        return data

    # Hooks, background work, the way out.

    async def hook(self, hook: Callable[..., Awaitable[None]], *arguments: object) -> None:
        """Runs a hook as a turn. The gate must be closed, or not open yet, or the caller has its ticket."""
        await attempt(self.runner.run(lambda: self.runner.invoke(hook, *arguments)), self._where(hook))

    async def first_hook(self, hook: Callable[..., Awaitable[None]], *arguments: object) -> Turn[Any]:
        """Runs a hook as a turn that the caller keeps; `open` lets its outputs out then."""
        return await attempt(self.runner.rehearse(lambda: self.runner.invoke(hook, *arguments)), self._where(hook))

    async def activate(self, timeout_s: float) -> None:
        """Tells the paglet that its host was restarted, in the first turn of its new life; nothing keeps it from it."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.hook(self.paglet.on_activation, ActivationEvent(self.row.owner, "restart"))
        except (PagletError, TimeoutError) as error:
            _log.error("on_activation of paglet %s failed: %r", self.paglet_id, error)

    async def tell_refused(self, error: PagletError) -> None:
        """A move was refused before it began: a turn like any other tells the paglet, if it is here still."""
        ticket = await self.gate.enter(own=True)
        try:
            await self.hook(self.paglet.on_dispatch_aborted, error)
        finally:
            self.gate.leave(ticket)

    def _where(self, hook: Callable[..., object]) -> str:
        return f"{getattr(hook, '__name__', 'a hook')} of paglet {self.paglet_id}"

    def open(self, first: Turn[Any] | None = None) -> None:
        """Lets the waiting in, begins `run()`, and what the paglet asked for, in its first turn or earlier."""
        self.gate.reopen()
        self.start_run()
        if first is not None:
            self.own_request = first.request or self.own_request
            for output in first.outputs:
                output()
        self.take_up()

    def take_up(self) -> None:
        """Begins what the paglet asked for and was not done yet, now that nothing stands in the way."""
        if self.own_request is not None:
            self.fulfil()

    def start_run(self) -> None:
        """Begins the paglet's `run()`, if it has one of its own that is not at work; never that of a FAILED paglet."""
        idle = self._run is None or self._run.done()
        if idle and type(self.paglet).run is not Paglet[Any].run and self.row.state is not PagletState.FAILED:
            self._run = self.spawn(self.paglet.run)

    def start_background(self, body: Callable[[], Awaitable[None]]) -> None:
        """Runs `body` beside the turns, once the running turn is durable."""

        def begin() -> None:
            self.spawn(body)

        self.after_turn(begin)

    def request(self, wanted: OwnRequest) -> None:
        """Asks the host to do something with this paglet when the running turn or body has ended well.

        Asked in a turn it is as durable as the turn; it is asked once more after a restart, and travels along.
        """
        turn = current_turn()
        if turn is not None and turn.cell is self.runner.cell:
            turn.request = wanted
        else:
            self.after_turn(lambda: self._requested(wanted))

    def _requested(self, wanted: OwnRequest) -> None:
        self.own_request = wanted
        self.fulfil()

    def after_turn(self, output: Callable[[], None]) -> None:
        """Lets `output` out when the running turn or background body has ended well; at once outside of both."""
        turn = current_turn()
        outputs = _body_outputs.get()
        if turn is not None and turn.cell is self.runner.cell:
            turn.outputs.append(output)
        elif outputs is not None:
            outputs.append(output)
        else:
            output()

    def spawn(self, body: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Runs `body` beside the turns now."""
        task = asyncio.create_task(self._run_body(body))
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def _run_body(self, body: Callable[[], Awaitable[None]]) -> None:
        outputs: list[Callable[[], None]] = []
        _body_outputs.set(outputs)
        try:
            await attempt(self.runner.invoke(body), f"the background of paglet {self.paglet_id}")
        except PagletError as error:
            _log.error("the background of paglet %s failed: %s", self.paglet_id, error)
            return
        await self.runner.settle()
        for output in outputs:
            output()

    async def quiet(self, timeout_s: float) -> None:
        """Ends all activity but the waiting: closes the gate, interrupts reads, cancels background work and awaits it.

        Raises QUIESCE_TIMEOUT when a turn does not end in time; everything then goes on.
        """
        await self.gate.close(timeout_s)
        await self.runner.settle()  # what the last turn began has begun by then, and is ended with the rest
        self._interrupt_reads()
        self.runner.interrupt_sections()
        if not await self._cancel(timeout_s):
            self.open()
            raise DeadlineError(
                "QUIESCE_TIMEOUT",
                f"the background work of paglet {self.paglet_id} did not end within {timeout_s:g} s",
                resource=Resource("paglet", self.paglet_id),
            )
        await self.runner.settle()

    def leave(self, error: PagletError | None = None) -> None:
        """Sends away whoever waits: the paglet is no longer here."""
        self.gate.shut(error or moved(self.paglet_id))
        self.runner.fence(closed=True)
        for task in self._background:  # of a paglet that was ended though it could not be quieted
            task.cancel()

    async def stop(self, timeout_s: float) -> None:
        """Ends everything at the host's own end: whoever waits is sent away, what runs may finish in time."""
        self.gate.shut(shutting_down())
        running = [entry.task for entry in self._running.values()]
        if running:
            await asyncio.wait(running, timeout=timeout_s)
        for task in running:
            task.cancel()
        self._interrupt_reads()
        await self._cancel(timeout_s)
        await self.runner.settle()

    def _interrupt_reads(self) -> None:
        for task, interrupted in list(self._reads.items()):
            interrupted.set()
            task.cancel()

    async def _cancel(self, timeout_s: float) -> bool:
        """Cancels the background work; False when some of it does not end in time."""
        for task in self._background:
            task.cancel()
        if not self._background:
            return True
        _, unfinished = await asyncio.wait(set(self._background), timeout=timeout_s)
        return not unfinished

    def _require_sound(self) -> None:
        if self.row.state is PagletState.FAILED:
            raise PreconditionError(
                "ARRIVAL_FAILED",
                f"paglet {self.paglet_id} failed to arrive here and answers only operations without side effects:"
                f" {self.row.error}",
                resource=Resource("paglet", self.paglet_id),
                metadata={"host": self.row.owner},
            )

    def _no_operation(self, path: str) -> OperationNotFoundError:
        name = path.removeprefix("/")
        return OperationNotFoundError(
            "OPERATION_NOT_FOUND",
            f"paglet {self.paglet_id} of type {self.row.type} has no operation {name}",
            resource=Resource("paglet", self.paglet_id),
            metadata={"operation": name, "type": self.row.type},
        )


async def _outcome(task: asyncio.Task[Reply]) -> Reply:
    """What becomes of a running request, whoever else waits for it."""
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError as error:
        if is_cancelled():
            raise
        raise shutting_down() from error  # nobody else cancels it


def _is_over(deadline: float | None) -> bool:
    return deadline is not None and deadline <= asyncio.get_running_loop().time()


def fingerprint_of(path: str, request: Message) -> bytes:
    """What makes two requests the same: the method, and the request re-encoded deterministically."""
    return blake3(path.encode() + b"\0" + request.SerializeToString(deterministic=True)).digest()


def _parse(handler: Handler, data: bytes) -> Message:
    try:
        return handler.operation.request_class.FromString(data)
    except DecodeError as error:
        raise InvalidArgumentError(
            "MALFORMED_REQUEST",
            f"the request is no {handler.operation.request_class.DESCRIPTOR.full_name}",
            field="request",
        ) from error


def _replay(found: StoredReply) -> Reply:
    if found.status:
        raise from_status_bytes(found.status)
    return Reply(found.reply, replayed=True)
