"""How this process's memory is given out, and taken back. For programs, not for libraries.

This file must never know what the memory is for.
"""

from __future__ import annotations

import ctypes
import gc
import logging

__all__ = ["look_for_cycles_less_often", "use_one_arena"]

_log = logging.getLogger(__name__)
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_KEPT_BYTES = 32 * 1024 * 1024  # the most that glibc takes for the second


def use_one_arena() -> None:
    """Keeps glibc to one malloc arena that keeps its pages: large messages then reuse warm ones.

    By itself glibc takes fresh pages for each message of some size, or gives those of the last one back at once, and
    clearing new ones costs more than moving the bytes. Up to 32 MiB that are free stay with the process instead.

    For the whole process, and from now on: call it before other threads begin. Elsewhere it does nothing.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        _log.debug("this C library has no mallopt")
        return
    mallopt(_M_ARENA_MAX, 1)
    mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def look_for_cycles_less_often() -> None:
    """Has Python look for garbage that holds itself after every 5,000 new objects, not 700, and never at what is there.

    Each paglet is some dozens of objects that stay. Python looks at the young ones again and again, and now and then at
    all: a twentieth of the time of a host where many are made. For the whole process, and from now on.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 20)
