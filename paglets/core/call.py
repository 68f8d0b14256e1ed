"""The call that running code answers: what its caller said beside the request, and what he is told beside the reply.

Pure but for the context variable that says which call the running code belongs to.
"""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

__all__ = ["OperationCall", "Pairs", "answering", "current_call"]

Pairs: TypeAlias = tuple[tuple[str, str | bytes], ...]

_KEY = re.compile(r"[0-9a-z_.-]+")
_RESERVED = ("grpc-", "paglet-")

_current: ContextVar[OperationCall | None] = ContextVar("paglets_call", default=None)


def current_call() -> OperationCall | None:
    """The call that the running code answers; None in hooks, posts and the background of the paglet's own."""
    return _current.get()


@contextmanager
def answering(call: OperationCall | None) -> Generator[None]:
    """The code inside answers this call."""
    token = _current.set(call)
    try:
        yield
    finally:
        _current.reset(token)


class OperationCall:
    """One call of an operation, `pkg.Service/Method`.

    `metadata` are the caller's own, without those that gRPC and hosts use among themselves. `deadline` is a time of
    `time.monotonic`, None for a call without one.
    """

    __slots__ = ("deadline", "initial_metadata", "metadata", "operation", "trailing_metadata")

    def __init__(self, operation: str, metadata: Pairs = (), deadline: float | None = None) -> None:
        self.operation = operation
        self.metadata = metadata
        self.deadline = deadline
        self.initial_metadata: Pairs = ()
        self.trailing_metadata: Pairs = ()

    def time_remaining_s(self) -> float | None:
        """How long the caller waits yet, in seconds, 0.0 when he waits no longer; None for ever."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def set_initial_metadata(self, metadata: Sequence[tuple[str, str | bytes]]) -> None:
        """Has the caller told this ahead of the first message; later it is too late. Replaces what was set before.

        Keys are lower case, and not gRPC's or paglets' own; those that end with `-bin` have bytes. Raises ValueError.
        """
        self.initial_metadata = _checked(metadata)

    def set_trailing_metadata(self, metadata: Sequence[tuple[str, str | bytes]]) -> None:
        """Has the caller told this with the status, also of an error. As `set_initial_metadata`.

        A reply that is given again to the same request id comes without.
        """
        self.trailing_metadata = _checked(metadata)


def _checked(metadata: Sequence[tuple[str, str | bytes]]) -> Pairs:
    for key, value in metadata:
        if not _KEY.fullmatch(key) or key.startswith(_RESERVED):
            raise ValueError(f"metadata cannot have the key {key!r}")
        if isinstance(value, bytes) != key.endswith("-bin"):
            raise ValueError(f"metadata {key} must be {'bytes' if key.endswith('-bin') else 'text'}")
    return tuple(metadata)
