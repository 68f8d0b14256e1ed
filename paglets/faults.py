"""Named points at which a test can kill the process, stop it, or hold it; when off, a point costs one check.

This file must never know what any point means: the rooms name their own points with `point()`.
"""

from __future__ import annotations

import os
import signal
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

    With `NAME:N:stop` it is stopped by SIGSTOP instead, until somebody sends SIGCONT.

    PAGLETS_FAULT_LOG names a file to which the name of every point passed is appended, one a line.
    """
    target, nth, how = (*os.environ.get("PAGLETS_FAULT", "").split(":", 2), "", "")[:3]
    log = os.environ.get("PAGLETS_FAULT_LOG", "")
    if not target and not log:
        return
    remaining = int(nth or "1")
    end = signal.SIGSTOP if how == "stop" else signal.SIGKILL

    def passed(name: str) -> None:
        nonlocal remaining
        if log:
            with Path(log).open("a", encoding="utf-8") as lines:
                lines.write(name + "\n")
        if name == target:
            remaining -= 1
            if remaining == 0:
                os.kill(os.getpid(), end)

    arm(passed)
