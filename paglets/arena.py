"""How this process's memory is given out: large messages reuse warm pages. For programs, not for libraries.

This file must never know what the memory is for.
"""

from __future__ import annotations

import ctypes
import logging

__all__ = ["use_one_arena"]

_log = logging.getLogger(__name__)
_M_ARENA_MAX = -8


def use_one_arena() -> None:
    """Keeps glibc to one malloc arena: large messages then reuse warm pages instead of faulting in new ones.

    For the whole process, and from now on: call it before other threads begin. Elsewhere it does nothing.
    """
    try:
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    except (OSError, AttributeError):
        _log.debug("this C library has no mallopt")
