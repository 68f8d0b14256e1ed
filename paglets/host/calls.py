"""The calls of one paglet: parsed, run as a read or a turn, and answered with an encoded reply."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from paglets.core.call import OperationCall, answering
from paglets.core.cause import Cause
from paglets.core.handlers import Handler
from paglets.core.mailbox import Ticket
from paglets.core.paglet import Paglet
from paglets.core.turn import passing_on
from paglets.errors import PagletError, UnavailableError
from paglets.host.gate import call_cycle
from paglets.host.once import Once, Reply
from paglets.host.parsing import ParsedRequest, no_operation, parse_request
from paglets.host.post_records import StoredPost
from paglets.host.reads import Reads
from paglets.host.records import StoredReply
from paglets.host.replies import ReplyBook
from paglets.host.runner import Runner, attempt
from paglets.host.usage import Usage
from paglets.wire.status import to_status

__all__ = ["MAX_CHAIN", "Call", "Calls"]


MAX_CHAIN = 16
"""How many turns may wait, each for the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call: rpc path, encoded request if it is unary, who asks, request id if any, deadline on the loop's clock.

    `type_url` is the request's type as `Any` has it, None by the native door. `told` is what the author sees of the
    call. `chain` names the paglets whose turns wait for it, the caller last.
    """

    path: str
    request: bytes = b""
    type_url: str | None = None
    principal: str = ""
    request_id: str = ""
    deadline: float | None = None
    told: OperationCall
    chain: tuple[str, ...] = ()


class Calls:
    """The calls of one paglet. `require_sound` raises why it answers none but reads, asked when a turn is granted."""

    def __init__(
        self,
        paglet_id: str,
        paglet: Paglet[Any],
        runner: Runner,
        book: ReplyBook,
        require_sound: Callable[[], None],
    ) -> None:
        self._paglet_id = paglet_id
        self._paglet = paglet
        self._runner = runner
        self._gate = runner.gate
        self._book = book
        self._require_sound = require_sound
        self._reads = Reads(runner.gate)
        self._once = Once(paglet_id, book)
        self.usage = Usage()

    async def answer(self, call: Call) -> Reply:
        """Answers one unary call: a read beside the turns, anything else as a turn.

        Safe to repeat with a request id, or for a read. Raises OPERATION_NOT_FOUND, MALFORMED_REQUEST, MAILBOX_FULL,
        DEADLINE_BEFORE_RUN, CALL_CYCLE, what the handler raised, or why the gate is shut.
        """
        with self.usage:
            return await self._answer(call)

    async def _answer(self, call: Call) -> Reply:
        request = self._parse(call.path, call.request, call.type_url)
        self.require_no_cycle(call.chain)
        if request.is_read_only:
            return Reply(await self._reads.run(lambda: self._read(request, call), call.deadline))
        if not call.request_id:
            return Reply(await self._turn(request, call))
        key, fingerprint = (call.principal, call.request_id), request.fingerprint()
        return await self._once.run(
            key, fingerprint, call.deadline, lambda: self._turn_once(request, call, key, fingerprint)
        )

    async def deliver(self, post: StoredPost, timeout_s: float) -> bool:
        """Runs a post as a turn, with whose commit it is gone; True when it had run before and must yet be dropped.

        A turn that takes longer than `timeout_s` counts as late.

        Raises what the handler raised, of which nothing is kept, or why the gate is shut.
        """
        request = self._parse(post.path, post.request, post.type_url)
        if self._book.knows(post.key, post.fingerprint):
            return True
        with self.usage:
            reply = await self._once.run(
                post.key, post.fingerprint, None, lambda: self._post_turn(request, post, timeout_s)
            )
        return reply.replayed

    async def _read(self, request: ParsedRequest, call: Call) -> bytes:
        """Runs a read. It has no turn that could be waited for, but passes on whose turns wait for it."""
        with passing_on(call.chain):
            return await self._invoke(request, call.told)

    def require_no_cycle(self, chain: tuple[str, ...]) -> None:
        """Raises CALL_CYCLE when a turn of this very paglet waits for the call, which would wait for that turn."""
        if self._paglet_id in chain or len(chain) > MAX_CHAIN:
            raise call_cycle(self._paglet_id, chain, self._paglet.context.host)

    def interrupt_reads(self) -> None:
        """Cuts off the reads; they begin anew when the gate opens, or are sent away when it is shut."""
        self._reads.interrupt()

    async def stop(self, timeout_s: float) -> None:
        """Lets what runs by a request id end in time, and cuts off the rest; the gate must be shut."""
        await self._once.stop(timeout_s)
        self._reads.interrupt()

    async def _turn(self, request: ParsedRequest, call: Call) -> bytes:
        ticket = await self._enter(call)
        try:
            cause = Cause(chain=call.chain, deadline=call.deadline)
            reply, durable = await self._runner.begin(lambda: self._invoke(request, call.told), cause=cause)
        except Exception:
            self._gate.leave(ticket)
            await self._runner.catch_up()  # an error tells of the state too
            raise
        except BaseException:
            self._gate.leave(ticket)
            raise
        self._gate.leave(ticket)
        if durable is not None:
            await asyncio.shield(durable)
        return reply

    async def _turn_once(self, request: ParsedRequest, call: Call, key: tuple[str, str], fingerprint: bytes) -> bytes:
        def keep(reply: bytes) -> tuple[StoredReply, list[tuple[str, str]]]:
            return self._keep(key, fingerprint, reply)

        ticket = await self._enter(call)
        try:
            reply, durable = await attempt(
                self._runner.begin(lambda: self._invoke(request, call.told), keep, self._cause(key, call)),
                call.path,
            )
        except PagletError as error:
            await self._fail(error, key, fingerprint)
        finally:
            self._gate.leave(ticket)
        if durable is not None:
            await durable
        return reply

    async def _post_turn(self, request: ParsedRequest, post: StoredPost, timeout_s: float) -> bytes:
        def keep(reply: bytes) -> tuple[StoredReply, list[tuple[str, str]]]:
            return self._keep(post.key, post.fingerprint, reply)

        ticket = await self._gate.enter(own=True)  # posts have bounds of their own
        deadline = asyncio.get_running_loop().time() + timeout_s
        cause = Cause(self._origin(post.key), post=post.number, deadline=deadline)
        try:
            turn = self._runner.begin(lambda: self._invoke(request), keep, cause)
            reply, durable = await attempt(turn, post.path)
        finally:
            self._gate.leave(ticket)
        if durable is not None:
            await durable
        return reply

    def _cause(self, key: tuple[str, str], call: Call) -> Cause:
        return Cause(self._origin(key), call.chain, deadline=call.deadline)

    def _origin(self, key: tuple[str, str]) -> str:
        """What stands for a request wherever it is run again."""
        return "\0".join((self._paglet_id, *key))

    def _keep(
        self, key: tuple[str, str], fingerprint: bytes, reply: bytes
    ) -> tuple[StoredReply, list[tuple[str, str]]]:
        made = self._book.make(key, fingerprint, reply=reply)
        return made, self._book.add(made)

    async def _fail(self, error: PagletError, key: tuple[str, str], fingerprint: bytes) -> NoReturn:
        """A failed turn changed nothing, but its request has run: a duplicate gets the same error.

        Unless that is UNAVAILABLE, which tells the caller to ask again: then it is as if it had not.
        """
        if isinstance(error, UnavailableError):
            await self._runner.catch_up()
            raise error
        made = self._book.make(key, fingerprint, status=to_status(error).SerializeToString())
        await self._runner.store(made, self._book.add(made))
        raise error

    async def _enter(self, call: Call) -> Ticket:
        """Waits for a turn, and for threads left to themselves; who waited for an arrival that failed is told so."""
        ticket = await self._gate.enter(len(call.request), call.deadline)
        try:
            if self._runner.threads.are_left:
                async with asyncio.timeout_at(call.deadline):
                    await self._runner.threads.free()
            self._require_sound()
        except BaseException as error:
            self._gate.leave(ticket)
            if isinstance(error, TimeoutError):
                raise self._gate.too_late() from error
            raise
        return ticket

    async def _invoke(self, request: ParsedRequest, told: OperationCall | None = None) -> bytes:
        """Calls the author's method and encodes what it answers with."""
        with answering(told):
            return request.encode(await self._runner.invoke(request.method_of(self._paglet), request.argument))

    def handler(self, path: str) -> Handler:
        """The operation of an rpc path. Raises OPERATION_NOT_FOUND."""
        handler = self._paglet.handlers.get(path)
        if handler is None:
            raise no_operation(self._paglet_id, type(self._paglet), path)
        return handler

    def _parse(self, path: str, data: bytes, type_url: str | None) -> ParsedRequest:
        return parse_request(self._paglet_id, type(self._paglet), path, data, type_url)
