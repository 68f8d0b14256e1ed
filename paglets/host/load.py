"""How busy a host is, as one small number that others choose by. It never knows what keeps it busy."""

from __future__ import annotations

import math
import os

__all__ = ["load_figure"]

_LOWEST = 1 / 16


def load_figure(under_way: int, cores: int | None = None) -> float:
    """The calls under way for each core, as a power of two of 1/16 or more; 0.0 if there are none.

    So coarse that it seldom changes: each change is told to all hosts.
    """
    if under_way <= 0:
        return 0.0
    return max(_LOWEST, 2.0 ** round(math.log2(under_way / (cores or os.cpu_count() or 1))))
