"""When a paglet was last used, and by how many now. It never knows by whom, or what for."""

from __future__ import annotations

import time
from types import TracebackType

__all__ = ["Usage"]


class Usage:
    """`with usage:` is one use. `last_at` is when a use began or ended last, in seconds of a monotonic clock."""

    __slots__ = ("_number", "last_at")

    def __init__(self) -> None:
        self._number = 0
        self.last_at = time.monotonic()

    @property
    def number(self) -> int:
        """How many uses there are now."""
        return self._number

    def __enter__(self) -> None:
        self._number += 1
        self.last_at = time.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._number -= 1
        self.last_at = time.monotonic()
