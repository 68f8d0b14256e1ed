"""The gate to a paglet's turns: lets the waiting in one by one, and can be closed for a journey."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from paglets.core.mailbox import Mailbox, Ticket
from paglets.core.waits import Waits
from paglets.errors import DeadlineError, NotFoundError, PagletError, PreconditionError, Resource, UnavailableError

__all__ = ["Gate", "call_cycle", "cut_off", "is_elsewhere", "moved", "not_found", "shutting_down"]


class Gate:
    """Grants turns in order of arrival. Closed, as at first, it keeps who waits; shut for good, it sends all away."""

    def __init__(self, paglet_id: str, mailbox: Mailbox) -> None:
        self._paglet_id = paglet_id
        self._mailbox = mailbox
        self._waiting: dict[Ticket, asyncio.Future[None]] = {}
        self._is_idle, self._is_open = True, False
        self._waits = Waits()  # an asyncio.Event weighs a twelfth of an idle paglet
        self._gone: PagletError | None = None

    @property
    def waiting(self) -> int:
        """How many wait for a turn."""
        return len(self._mailbox)

    @property
    def refusal(self) -> PagletError | None:
        """Why all are sent away, for good; None while they are not."""
        return self._gone

    @property
    def is_shut(self) -> bool:
        """Whether all are sent away, for good."""
        return self._gone is not None

    async def enter(self, size_bytes: int = 0, deadline: float | None = None, *, own: bool = False) -> Ticket:
        """Waits for a turn; give the ticket to `leave`. `deadline` is a time of the loop's clock.

        What the paglet does of its `own` finds room however many wait.

        Raises MAILBOX_FULL, DEADLINE_BEFORE_RUN, or why the gate is shut.
        """
        self._require_present()
        ticket = Ticket(size_bytes, own)
        self._mailbox.put(ticket)
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[ticket] = granted
        self._admit()
        try:
            async with asyncio.timeout_at(deadline):
                await granted
        except BaseException as error:
            self._withdraw(ticket)
            if isinstance(error, TimeoutError):
                raise self.too_late() from error
            raise
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Ends a turn and lets the next one in."""
        self._mailbox.served(ticket)
        if not self._mailbox.busy:
            self._is_idle = True
            self._waits.wake()
        self._admit()

    async def passage(self, deadline: float | None = None) -> None:
        """Waits until the gate is open, for those who need no turn. Raises as `enter` does."""
        self._require_present()
        if not self._is_open:
            timeout_s = None if deadline is None else deadline - asyncio.get_running_loop().time()
            if not await self._waits.until(lambda: self._is_open, timeout_s):
                raise self.too_late()
        self._require_present()

    async def close(self, timeout_s: float) -> None:
        """Lets nobody in any more and waits for the running turn's end.

        Raises QUIESCE_TIMEOUT when it does not end in time; the gate is then open again.
        """
        self._require_present()
        self._is_open = False
        try:
            ended = await self.drained(timeout_s)
        except BaseException:
            self.reopen()
            raise
        if not ended:
            self.reopen()
            raise DeadlineError(
                "QUIESCE_TIMEOUT",
                f"the running turn of paglet {self._paglet_id} did not end within {timeout_s:g} s",
                resource=Resource("paglet", self._paglet_id),
            )

    async def drained(self, timeout_s: float) -> bool:
        """Waits for the end of the running turn; False when it does not end within `timeout_s` seconds."""
        return await self._waits.until(lambda: self._is_idle, timeout_s)

    def reopen(self) -> None:
        """Lets the waiting in again."""
        self._is_open = True
        self._waits.wake()
        self._admit()

    def shut(self, error: PagletError) -> None:
        """Sends away all who wait, and all who come, with an error."""
        self._gone = error
        self._is_open = True
        self._waits.wake()
        for granted in list(self._waiting.values()):
            if not granted.done():
                granted.set_exception(error)

    def _admit(self) -> None:
        while self._is_open and self._gone is None:
            ticket = self._mailbox.serve()
            if ticket is None:
                return
            granted = self._waiting.pop(ticket)
            if not granted.done():
                self._is_idle = False
                granted.set_result(None)
                return
            self._mailbox.served(ticket)  # withdrawn in this very step of the loop

    def _withdraw(self, ticket: Ticket) -> None:
        """Gives up a place in the queue, or a turn that was granted but not begun."""
        self._mailbox.remove(ticket)
        if self._waiting.pop(ticket, None) is None:
            self.leave(ticket)

    def _require_present(self) -> None:
        if self._gone is not None:
            raise self._gone

    def too_late(self) -> DeadlineError:
        """What is told of a call whose deadline passed before it was run."""
        return DeadlineError(
            "DEADLINE_BEFORE_RUN",
            f"the deadline passed while {self.waiting} calls waited for paglet {self._paglet_id}; nothing was run",
            resource=Resource("paglet", self._paglet_id),
        )


def moved(paglet_id: str) -> UnavailableError:
    """Why a gate is shut when the paglet has left: call again, the call will be forwarded."""
    return UnavailableError(
        "PAGLET_MOVED",
        f"paglet {paglet_id} moved before the call was run; call again",
        resource=Resource("paglet", paglet_id),
        retry_after_s=0.05,
    )


def cut_off(paglet_id: str, refusal: PagletError | None) -> PagletError:
    """Why a stream has ended that was at work: what its gate says, or that the paglet leaves or rests."""
    if refusal is not None and not isinstance(refusal, UnavailableError):
        return refusal
    return UnavailableError(
        "PAGLET_MOVED" if refusal is None else refusal.reason,
        f"the stream was cut because paglet {paglet_id} leaves, rests or is stopped with its host; open another one:"
        " it reaches the paglet wherever it is, and goes on from what the last message said",
        resource=Resource("paglet", paglet_id),
        metadata={"begun": "true"},
        retry_after_s=0.05,
    )


def not_found(paglet_id: str) -> NotFoundError:
    """Why a gate is shut when the paglet has ended, and what is said of one that never was."""
    return NotFoundError(
        "PAGLET_NOT_FOUND",
        f"no paglet {paglet_id} in this mesh",
        resource=Resource("paglet", paglet_id),
    )


def is_elsewhere(failure: PagletError, paglet_id: str) -> bool:
    """Whether a host said that it does not have this very paglet; of another one, an author's code may say so.

    A stream that was at work has run.
    """
    lost = failure.reason in {"PAGLET_MOVED", "PAGLET_NOT_FOUND"} and "begun" not in failure.metadata
    return lost and failure.resource == Resource("paglet", paglet_id)


def call_cycle(paglet_id: str, chain: Sequence[str], host: str) -> PreconditionError:
    """Why a call is refused that would wait for a turn which waits for it; `chain` as in `paglet-chain`."""
    told = " > ".join((*chain, paglet_id))
    return PreconditionError(
        "CALL_CYCLE",
        f"each of these calls waits for the next: {told}; post instead, or call when the turn has ended",
        resource=Resource("paglet", paglet_id),
        metadata={"chain": told, "host": host},
    )


def shutting_down() -> UnavailableError:
    """Why a gate is shut when the host ends: call again, here or elsewhere."""
    return UnavailableError("SHUTTING_DOWN", "the host is shutting down; nothing was run", retry_after_s=1.0)
