"""Golden files: states as every version of a class has written them. `python -m tests.evolution.golden` adds new ones.

A file is never changed or removed while states of its version may be on somebody's disk. A class whose newest file no
longer fits has another shape: it needs a higher `state_version`, an upcaster, and a golden file of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paglets.core.paglet import Paglet
from paglets.examples.counter import Counter, CounterState
from paglets.patterns.file_mobility import SingleFileTransferPaglet
from paglets.patterns.file_plan import FileTransferState
from paglets.patterns.task_messages import PackedMessage
from paglets.patterns.task_progress import ReportedProgress
from paglets.values import FileMode, TaskPhase
from tests.evolution.stock import Item, Stock, StockState

__all__ = ["GOLDEN", "Kept"]

_FOLDER = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class Kept:
    """A class, a state of its present version with a value in every field, and what earlier versions are read as."""

    paglet_class: type[Paglet[Any]]
    sample: object
    earlier: Mapping[int, object]

    @property
    def version(self) -> int:
        """The version of today."""
        return self.paglet_class.state_version

    def path(self, version: int) -> Path:
        """The golden file of a version."""
        return _FOLDER / f"{self.paglet_class.__name__.lower()}-{version}.msgpack"


GOLDEN = (
    Kept(
        Stock,
        StockState({"apple": Item(2, 30), "pear": Item(1)}),
        {
            1: StockState({"apple": Item(2), "pear": Item(1)}),
            2: StockState({"apple": Item(2), "pear": Item(1)}),
        },
    ),
    Kept(Counter, CounterState(value=42), {}),
    Kept(
        SingleFileTransferPaglet,
        FileTransferState(
            phase=TaskPhase.FAILED,
            request=PackedMessage("type.googleapis.com/a.Request", b"\x0a\x01a"),
            result=PackedMessage("type.googleapis.com/a.Result", b"\x0a\x01b"),
            error="no",
            started_at=1.5,
            completed_at=2.5,
            target="beta",
            run=3,
            has_body=True,
            error_code=9,
            error_reason="HOOK_FAILED",
            revision=7,
            progress=ReportedProgress(3, 4, "half", PackedMessage("type.googleapis.com/a.Progress", b"\x0a\x01c"), 3.5),
            transfer_id="t-1",
            mode=FileMode.MOVE,
            dry_run=True,
            overwrite=True,
            source_host="alpha",
            source_path="/a/b",
            source_created_ns=1,
            source_modified_ns=2,
            file_name="b",
            size_bytes=3,
            digest=bytes(range(32)),
            destination_host="beta",
            destination_label="Beta",
            destination_path="c/",
            final_path="/c/b",
        ),
        {},
    ),
)


def _add_new_ones() -> None:
    for kept in GOLDEN:
        path = kept.path(kept.version)
        if not path.exists():
            path.write_bytes(kept.paglet_class.codec.encode(kept.sample))


if __name__ == "__main__":
    _add_new_ones()
