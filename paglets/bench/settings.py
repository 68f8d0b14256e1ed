"""What a run of the bench is told."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["SUITES", "BenchSettings"]

SUITES = ("upload", "download", "small", "calls", "forward", "dispatch", "life", "actors", "many", "start", "memory")
"""The names that `only` may hold, in the order of their rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSettings:
    """`size_bytes` is the artifact's, a quarter of it the travelling file's; a measure of calls takes `seconds`.

    `folder` holds all files and should lie on the disk that hosts will use; it is left as it was found.
    `actors_python` is the interpreter that Ray or Dask are looked for in.
    """

    folder: Path
    size_bytes: int = 1024**3
    rounds: int = 5
    seconds: float = 2.0
    only: frozenset[str] = frozenset(SUITES)
    actors_python: str = sys.executable

    @property
    def file_bytes(self) -> int:
        """The size of the file that travels with a paglet."""
        return max(1, self.size_bytes // 4)
