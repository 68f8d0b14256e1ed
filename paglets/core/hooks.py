"""The hooks of a paglet: what its host tells it, and asks it, as its life goes on."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Generic, TypeVar

from paglets.core.events import (
    ActivationEvent,
    ArrivalTarget,
    CloneEvent,
    CreationEvent,
    DeactivationEvent,
    DeactivationRequest,
    DisposalEvent,
    MobilityEvent,
)
from paglets.core.raw_call import RawCall
from paglets.errors import PagletError
from paglets.values import DeactivationPolicy

__all__ = ["Hooks"]

StateT = TypeVar("StateT")


class Hooks(Generic[StateT]):
    """What a class may override. Each is a turn, `def` or `async def`, unless it says otherwise."""

    async def on_creation(self, event: CreationEvent) -> None:
        """The paglet begins to exist; an exception, or not to end in the host's quiesce time, refuses the creation.

        The directory decides after it whether this is the paglet: it may run again after a crash, and at several hosts
        that start one resident service at once, of which one is kept. What it does in its turn is undone with the
        others; what it does elsewhere, as in a file or a call, is not.
        """

    async def on_dispatching(self, event: MobilityEvent) -> None:
        """The last turn before a move; an exception gives the move up."""

    async def on_dispatch_aborted(self, error: PagletError) -> None:
        """The first turn after a move, a rest, or a clone of its own wish, was given up: the paglet is where it was.

        Its resources may be closed and its bodies gone, but for `run()`, which begins anew. It comes once more for a
        body that did not end in time and ends only later.
        """

    async def on_arrival(self, event: MobilityEvent) -> None:
        """The first turn at the new host; it may run again after a crash. An exception marks the paglet FAILED."""

    async def on_arrival_failed(self, error: PagletError) -> None:
        """The turn after an arrival turn that failed and was rolled back."""

    async def on_cloning(self, event: CloneEvent) -> None:
        """A turn of the original, whose state as it leaves it is what the clone has; an exception refuses the clone."""

    async def on_clone(self, event: CloneEvent) -> None:
        """The first turn of a clone; it may run again after a crash. An exception marks the clone FAILED."""

    async def on_cloned(self, event: CloneEvent) -> None:
        """A turn of the original when its clone is there; not if its host was restarted, or it has left, meanwhile."""

    async def on_deactivating(self, event: DeactivationEvent) -> None:
        """The last turn before a rest, or before the host ends; an exception refuses a rest that was asked for."""

    async def on_activation(self, event: ActivationEvent) -> None:
        """The first turn after a rest, or after the host was started again; an exception keeps the paglet at rest."""

    async def on_disposing(self, event: DisposalEvent) -> None:
        """The last turn of all; an exception is logged and does not keep the paglet alive."""

    async def run(self) -> None:
        """Work beside the turns, begun after creation, arrival and activation; cancelled when the paglet leaves.

        An exception ends it, and nothing else: it is in the log, and `PagletInfo.run_error` tells of it.
        """

    def deactivation_policy(self, request: DeactivationRequest) -> DeactivationPolicy:
        """Asked before a rest what is to bring the paglet back: by default what was asked for, else the defaults."""
        return request.policy or DeactivationPolicy()

    def handle_operation_message(self, call: RawCall) -> Awaitable[bytes | None] | bytes | None:
        """Answers a unary call of an operation that none of the class's services has; `def` or `async def`.

        For a bridge to services that it has no descriptors of. A class that overrides this gets each such call, and
        each such post, as a turn, and returns the encoded reply; after None or `NotImplemented` the call fails with
        OPERATION_NOT_FOUND, and the turn is as if it had not been. A request id holds for the bytes as they came: the
        same message in another encoding is another request.
        """
        return None

    @classmethod
    def check_arrival(cls, state: StateT, target: ArrivalTarget) -> None:
        """Asked by the target before anything moves, in a thread: raise a PagletError to refuse.

        Pure; `state` is a copy.
        """
