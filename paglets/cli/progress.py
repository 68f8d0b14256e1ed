"""Progress of bytes and tasks, drawn on stderr where that is a terminal and rich is there; nothing anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from paglets.values import JourneyInfo, JourneyPhase

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["Advance", "Bars", "byte_bar", "is_drawn", "journey_bar", "task_bar", "transfer_bars"]

Advance = Callable[[int, int | None, str], None]
"""Says how much is done, of how much (None for unknown), and what is being done."""

_WORDS = {
    JourneyPhase.QUIESCE: "ends its work",
    JourneyPhase.PREPARE: "asks the target",
    JourneyPhase.PUSH: "sends files",
    JourneyPhase.SEAL: "has files proven",
    JourneyPhase.COMMIT: "changes its owner",
    JourneyPhase.ARRIVE: "arrives",
}


def is_drawn() -> bool:
    """Whether anything is drawn."""
    return sys.stderr.isatty() and find_spec("rich") is not None


def _nothing(_done: int, _total: int | None, _what: str) -> None:
    """Draws nothing."""


class Bars:
    """One bar for the file that is on its way, and one above it for all files if they are several."""

    def __init__(self, drawn: Progress | None, count: int, total_bytes: int) -> None:
        self._drawn = drawn
        self._count = count
        self._begun = 0
        self._before_bytes = 0
        self._all = drawn.add_task("", total=total_bytes) if drawn is not None and count > 1 else None

    @contextmanager
    def one(self, title: str, size_bytes: int) -> Generator[Callable[[int], None]]:
        """A bar for the next file: tell it how many bytes are done. It is gone when the block ends."""
        self._begun += 1
        if self._drawn is None:
            yield lambda _done: None
            return
        drawn, bar = self._drawn, self._drawn.add_task(title, total=size_bytes)

        def advance(done: int) -> None:
            drawn.update(bar, completed=done)
            self._advance_all(done)

        try:
            advance(0)
            yield advance
        finally:
            drawn.refresh()  # so that a quick one is seen at all
            self._before_bytes += size_bytes
            self._advance_all(0)
            drawn.remove_task(bar)

    @contextmanager
    def aside(self) -> Generator[None]:
        """Takes the bars away while something is written to the terminal."""
        if self._drawn is None:
            yield
            return
        self._drawn.stop()
        try:
            yield
        finally:
            self._drawn.start()

    def _advance_all(self, done: int) -> None:
        if self._drawn is not None and self._all is not None:
            title = f"file {self._begun} of {self._count}"
            self._drawn.update(self._all, completed=self._before_bytes + done, description=title)


@contextmanager
def transfer_bars(count: int, total_bytes: int) -> Generator[Bars]:
    """Bars for so many files of so many bytes: bytes, bytes a second, the time left. Gone when the block ends."""
    with _drawing() as drawn:
        yield Bars(drawn, count, total_bytes)


@contextmanager
def byte_bar(title: str) -> Generator[Advance]:
    """A bar with bytes, bytes a second and the time left, gone when the block ends."""
    with _one_bar(title, of_bytes=True) as advance:
        yield advance


@contextmanager
def task_bar(title: str) -> Generator[Advance]:
    """A bar in a task's own measure, with the time it took so far, gone when the block ends."""
    with _one_bar(title, of_bytes=False) as advance:
        yield advance


@contextmanager
def _one_bar(title: str, *, of_bytes: bool) -> Generator[Advance]:
    with _drawing(of_bytes=of_bytes) as drawn:
        if drawn is None:
            yield _nothing
            return
        bar = drawn.add_task(title, total=None)
        yield lambda done, total, what: drawn.update(
            bar, completed=done, total=total, description=f"{title} {what}".rstrip()
        )


@contextmanager
def _drawing(*, of_bytes: bool = True) -> Generator[Progress | None]:
    """Something to draw bars with, or None where there is nothing to draw on."""
    if not is_drawn():
        yield None
        return
    from rich import progress
    from rich.console import Console

    measure = (
        (progress.DownloadColumn(binary_units=True), progress.TransferSpeedColumn(), progress.TimeRemainingColumn())
        if of_bytes
        else (progress.MofNCompleteColumn(), progress.TimeElapsedColumn())
    )
    columns = (progress.TextColumn("{task.description}", markup=False), progress.BarColumn(), *measure)
    with progress.Progress(
        *columns, console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False
    ) as drawn:
        yield drawn


@contextmanager
def journey_bar(title: str) -> Generator[Callable[[JourneyInfo], None]]:
    """The same for a journey: feed it with what `Client.dispatch` tells."""
    with byte_bar(title) as advance:
        yield lambda journey: advance(journey.bytes_done, journey.bytes_total or None, _WORDS[journey.phase])
