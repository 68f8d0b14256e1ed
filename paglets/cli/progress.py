"""Progress of bytes, drawn on stderr where that is a terminal and rich is there; nothing anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib.util import find_spec

from paglets.values import JourneyInfo, JourneyPhase

__all__ = ["Advance", "byte_bar", "journey_bar"]

Advance = Callable[[int, int | None, str], None]
"""Says how many bytes are done, of how many (None for unknown), and what is being done."""

_WORDS = {
    JourneyPhase.QUIESCE: "ends its work",
    JourneyPhase.PREPARE: "asks the target",
    JourneyPhase.PUSH: "sends files",
    JourneyPhase.SEAL: "has files proven",
    JourneyPhase.COMMIT: "changes its owner",
    JourneyPhase.ARRIVE: "arrives",
}


def _nothing(_done: int, _total: int | None, _what: str) -> None:
    """Draws nothing."""


@contextmanager
def byte_bar(title: str) -> Generator[Advance]:
    """A bar with bytes, bytes a second and the time left, gone when the block ends."""
    if not (sys.stderr.isatty() and find_spec("rich")):
        yield _nothing
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.DownloadColumn(binary_units=True),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as drawn:
        bar = drawn.add_task(title, total=None)
        yield lambda done, total, what: drawn.update(
            bar, completed=done, total=total, description=f"{title} {what}".rstrip()
        )


@contextmanager
def journey_bar(title: str) -> Generator[Callable[[JourneyInfo], None]]:
    """The same for a journey: feed it with what `Client.dispatch` tells."""
    with byte_bar(title) as advance:
        yield lambda journey: advance(journey.bytes_done, journey.bytes_total or None, _WORDS[journey.phase])
