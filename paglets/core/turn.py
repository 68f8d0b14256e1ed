"""A turn: the one place where a paglet's state changes, whole or not at all.

Pure but for the context variable that says which turn the running code belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from paglets.core.cause import NO_CAUSE, Cause, OutgoingPosts, RequestIds
from paglets.core.cursor_events import CursorEvent
from paglets.errors import InvalidArgumentError
from paglets.state import StateCodec
from paglets.values import DeactivationPolicy, TransferTicket, new_id

__all__ = [
    "OwnAction",
    "OwnRequest",
    "StateCell",
    "Turn",
    "current_chain",
    "current_turn",
    "is_repeatable",
    "next_request_id",
    "passing_on",
    "repeatable_id",
]

StateT = TypeVar("StateT")

_current: ContextVar[Turn[Any] | None] = ContextVar("paglets_turn", default=None)
_waiting: ContextVar[tuple[str, ...]] = ContextVar("paglets_waiting", default=())
_reading: ContextVar[tuple[object, Any] | None] = ContextVar("paglets_reading", default=None)


def current_turn() -> Turn[Any] | None:
    """The turn that the running code belongs to; None in the background."""
    turn = _current.get()
    return turn if turn is not None and turn.open else None


def current_chain() -> tuple[str, ...]:
    """The paglets whose turns wait for the running code, the first caller first: what it calls must not call them."""
    turn = current_turn()
    return _waiting.get() if turn is None else turn.cause.chain


@contextmanager
def passing_on(chain: tuple[str, ...]) -> Generator[None]:
    """The code inside needs no turn, but turns of these paglets wait for it."""
    token = _waiting.set(chain)
    try:
        yield
    finally:
        _waiting.reset(token)


def next_request_id() -> str:
    """The request id of something that the running code asks of others.

    In a turn that has a request id it follows from that, so that a rerun of the turn asks for the same; else it is
    random.
    """
    turn = current_turn()
    return new_id() if turn is None else turn.request_ids.next()


def is_repeatable() -> bool:
    """Whether the running code may have been run before, and rolled back or cut, in a turn for the same request."""
    turn = current_turn()
    return turn is not None and bool(turn.cause.origin)


def repeatable_id() -> str:
    """As `next_request_id`, but none where nothing asks for the same again: only for what is better left without."""
    return next_request_id() if is_repeatable() else ""


class OwnAction(StrEnum):
    """What a paglet can ask to be done with itself."""

    DISPATCH = "dispatch"
    CLONE = "clone"
    DEACTIVATE = "deactivate"
    DISPOSE = "dispose"


@dataclass(frozen=True, slots=True)
class OwnRequest:
    """What a paglet asks to be done with itself: a move or a clone to the host `target`, a rest with `policy`, its end.

    The clone's id is derived from `request_id`.
    """

    action: OwnAction
    target: str = ""
    policy: DeactivationPolicy | None = None
    ticket: TransferTicket | None = None
    request_id: str = ""


class StateCell(Generic[StateT]):
    """What is known of one paglet's state.

    `latest` is the encoded state as the last turn left it, `view` the decoded state that is durable. The two differ
    while a turn's commit is on its way to the disk: the next turn begins from `latest`, everybody else sees `view`.
    """

    def __init__(self, codec: StateCodec[StateT], state: StateT, max_bytes: int) -> None:
        self.codec = codec
        self.view = state
        self.latest = codec.encode(state)
        self._max_bytes = max_bytes
        self._lookers = 0
        self._looked_at: tuple[StateT, StateT] | None = None

    def begin(self, cause: Cause = NO_CAUSE) -> Turn[StateT]:
        """Opens a turn on the latest state."""
        return Turn(self, cause)

    def read(self) -> StateT:
        """The durable state, as a copy of the running code's own: nobody sees what is written to it."""
        found = _reading.get()
        if found is None or found[0] is not self.view:
            found = (self.view, self.codec.check(self.codec.encode(self.view)))
            _reading.set(found)
        copy: StateT = found[1]
        return copy

    @contextmanager
    def looking(self) -> Generator[Callable[[], StateT]]:
        """Gives a way to look at the durable state again and again, at one copy for all who look: none may change it.

        Many look at every change, and a copy for each would hold up the host, and fill its memory.
        """
        self._lookers += 1
        try:
            yield self._look
        finally:
            self._lookers -= 1
            if not self._lookers:
                self._looked_at = None

    def _look(self) -> StateT:
        if self._looked_at is None or self._looked_at[0] is not self.view:
            self._looked_at = self.view, self.codec.check(self.codec.encode(self.view))
        return self._looked_at[1]

    def check_size(self, data: bytes) -> None:
        """Raises STATE_INVALID when a state is too large to be kept after every turn."""
        if len(data) > self._max_bytes:
            raise InvalidArgumentError(
                "STATE_INVALID",
                f"the encoded state has {len(data)} bytes, {self._max_bytes} are allowed; keep more as artifacts",
                field="state",
            )


class Turn(Generic[StateT]):
    """One exclusive use of the state. `state` is a private copy until `finish` has been committed.

    `outputs` are let out then, `posts` sent, and `events` told; `request` is what the paglet asks of its host for
    itself, the last one if it asks again. `checkpoint` says that it is to be durable then, also where turns are not by
    themselves.
    """

    def __init__(self, cell: StateCell[StateT], cause: Cause = NO_CAUSE) -> None:
        self.cell = cell
        self.cause = cause
        self.request_ids = RequestIds(cause.origin)
        self.posts = OutgoingPosts()
        self.events: list[CursorEvent] = []
        self.open = True
        self.outputs: list[Callable[[], None]] = []
        self.request: OwnRequest | None = None
        self.checkpoint = False
        self._state: StateT | None = None

    @property
    def state(self) -> StateT:
        """The state to read and change; decoded when first asked for."""
        if self._state is None:
            self._state = self.cell.codec.check(self.cell.latest)
        return self._state

    @contextmanager
    def entered(self) -> Generator[None]:
        """Makes this the turn of the code inside."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def finish(self) -> tuple[bytes, StateT] | None:
        """Ends the turn: the new state encoded and decoded again, or None when nothing changed.

        Raises STATE_INVALID when the state cannot be read back as it was written, or is too large; the turn is then
        rolled back.
        """
        self.open = False
        if self._state is None:
            return None
        data = self.cell.codec.encode(self._state)
        if data == self.cell.latest:
            return None
        self.cell.check_size(data)
        return data, self.cell.codec.prove(data)

    def roll_back(self) -> None:
        """Ends the turn and forgets what it did."""
        self.open = False
        self._state = None
        self.outputs.clear()
        self.posts = OutgoingPosts()
        self.events.clear()
        self.request = None
        self.checkpoint = False
