"""Named points at which a test can kill the process, stop it, or hold it; when off, a point costs one check.

This file must never know what any point means: the rooms name their own points with `point()`.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

__all__ = ["arm", "arm_from_environment", "point"]

_armed: list[Callable[[str], None]] = []


def point(name: str) -> None:
    """Marks a step, e.g. `journey.commit.after`; does nothing unless a test armed it."""
    if _armed:
        _armed[0](name)


def arm(action: Callable[[str], None] | None) -> None:
    """Calls `action` with the name of every point passed from now on; None turns the points off."""
    _armed[:] = [] if action is None else [action]


def arm_from_environment() -> None:
    """Arms what PAGLETS_FAULT asks for: `NAME[:N]` kills this process by SIGKILL when it passes NAME the Nth time.

    With `NAME:N:stop` it is stopped by SIGSTOP instead, until somebody sends SIGCONT. `@FILE` names a file that says
    one of these or nothing, and is read at every point: when it says something else, N counts from then.

    PAGLETS_FAULT_LOG names a file to which the name of every point passed is appended, one a line.
    """
    wanted, log = os.environ.get("PAGLETS_FAULT", ""), os.environ.get("PAGLETS_FAULT_LOG", "")
    if not wanted and not log:
        return
    file = Path(wanted[1:]) if wanted.startswith("@") else None
    fault = _Fault("" if file else wanted)
    lock = threading.Lock()

    def passed(name: str) -> None:
        nonlocal fault
        with lock:
            if log:
                with Path(log).open("a", encoding="utf-8") as lines:
                    lines.write(name + "\n")
            if file is not None and (text := file.read_text(encoding="utf-8")) != fault.text:
                fault = _Fault(text)
            fault.passed(name)

    arm(passed)


class _Fault:
    """What happens to this process, at which of its points, and when it passes it how often from now on."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._target, nth, how = (*text.split(":", 2), "", "")[:3]
        self._left = int(nth or "1")
        self._end = signal.SIGSTOP if how == "stop" else signal.SIGKILL

    def passed(self, name: str) -> None:
        if name == self._target:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), self._end)
