"""What a measurement gives: samples of ours and of references taken in turn, and what may be said about them.

No clock, process or disk is known here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

__all__ = ["Counted", "Reference", "Result", "Row", "Sample", "Spread", "spread"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured value in the unit of its row; `cpu_s` is the CPU time that a unit of work took, if that is known."""

    value: float
    cpu_s: float | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of some values, and how far they lie apart."""

    median: float
    min: float
    max: float


@dataclass(frozen=True, slots=True)
class Reference:
    """What a row is held against; its samples were taken in the same rounds, in the same order."""

    name: str
    samples: Sequence[Sample]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One thing measured, round by round, beside at least one reference."""

    suite: str
    name: str
    unit: str
    samples: Sequence[Sample]
    references: Sequence[Reference]
    less_is_better: bool = False

    def ratio(self, reference: Reference) -> Spread:
        """How much better than the reference, round by round: 1 is as good, 2 twice as good, whatever the unit."""
        pairs = zip(self.samples, reference.samples, strict=True)
        if self.less_is_better:
            return spread([theirs.value / ours.value for ours, theirs in pairs])
        return spread([ours.value / theirs.value for ours, theirs in pairs])

    def cpu_ratio(self, reference: Reference) -> Spread | None:
        """How many times the reference's CPU time a unit of our work takes; None where it was not taken."""
        pairs = zip(self.samples, reference.samples, strict=True)
        taken = [(ours.cpu_s, theirs.cpu_s) for ours, theirs in pairs]
        ratios = [ours / theirs for ours, theirs in taken if ours is not None and theirs]
        return spread(ratios) if len(ratios) == len(taken) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What a piece of work asked of the disk: bytes written to files, and how often it waited for what kind of file."""

    work: str
    units: int
    data_bytes: int
    data_syncs: int
    folder_syncs: int
    catalogue_bytes: int
    catalogue_syncs: int

    @property
    def syncs(self) -> int:
        """All waits together."""
        return self.data_syncs + self.folder_syncs + self.catalogue_syncs


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One run of the bench. `counted` is None where system calls cannot be counted."""

    machine: Mapping[str, object]
    settings: Mapping[str, object]
    rows: Sequence[Row]
    counted: Sequence[Counted] | None


def spread(values: Sequence[float]) -> Spread:
    """Median, least and most; there must be a value."""
    return Spread(median(values), min(values), max(values))
