"""What a paglet has open on its host and must close before it leaves or rests: sockets, processes, leases.

It must never know what a resource is, or who asks for the clean-up.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from paglets.errors import PagletError, PreconditionError, Resource

__all__ = ["Resources"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    close: Callable[[], object]
    suppress: bool


class Resources:
    """The resources of one paglet by their names. Transient: they belong to its stay on a host, not to its state.

    They are closed in reverse order, within the last turn before a move or a rest, after its hook, and at the paglet's
    or its host's end. One that cannot be closed gives the move or the rest up, and is tried again before the next one;
    those that were closed by then are gone, and `on_dispatch_aborted` is where to open them again.
    """

    __slots__ = ("_entries", "_paglet_id")

    def __init__(self, paglet_id: str) -> None:
        self._paglet_id = paglet_id
        self._entries: dict[str, _Entry] = {}

    def register(self, name: str, close: Callable[[], object], *, suppress: bool = False) -> None:
        """Has `close` called when the time comes: a coroutine function on the event loop, any other in a thread.

        With `suppress` its failure is in the log and holds nothing up. A name that is registered already is replaced,
        and closed before all others; what it stood for is not closed. At once, also if the turn is rolled back.
        """
        self._entries.pop(name, None)
        self._entries[name] = _Entry(close, suppress)

    def track_closeable(self, name: str, closeable: object, *, method: str = "close", suppress: bool = False) -> None:
        """As `register`, for an object with a method that closes it. Raises AttributeError when it has none."""
        close: Callable[[], object] = getattr(closeable, method)
        self.register(name, close, suppress=suppress)

    def remove(self, name: str) -> bool:
        """Forgets a resource that was closed by other means; says whether it was registered. Safe to repeat."""
        return self._entries.pop(name, None) is not None

    def status(self) -> dict[str, bool]:
        """The names in the order in which they were registered, each with whether its failure is suppressed."""
        return {name: entry.suppress for name, entry in self._entries.items()}

    async def clean_up(self, call: Callable[[Callable[[], object]], Awaitable[object]]) -> None:
        """Closes all of them by `call`, which raises PagletError; those that were closed are registered no more.

        All are tried. Raises HOOK_FAILED, naming those that could not be closed.
        """
        failed: dict[str, PagletError] = {}
        for name, entry in reversed(list(self._entries.items())):
            try:
                await call(entry.close)
            except PagletError as error:
                if not entry.suppress:
                    failed[name] = error
                    continue
                _log.warning("resource %s of paglet %s was not closed: %s", name, self._paglet_id, error)
            if self._entries.get(name) is entry:
                del self._entries[name]
        if failed:
            raise self._unclosed(failed)

    def _unclosed(self, failed: dict[str, PagletError]) -> PreconditionError:
        told = "; ".join(f"{name}: {error.message}" for name, error in failed.items())
        metadata = {key: value for error in failed.values() for key, value in error.metadata.items()}
        return PreconditionError(
            "HOOK_FAILED",
            f"paglet {self._paglet_id} could not close {told}",
            resource=Resource("paglet", self._paglet_id),
            metadata={**metadata, "hook": "resources", "resource": ", ".join(failed)},
        )
