"""A result as records: rows for people, and one object for programs. It writes nothing itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from paglets.bench.samples import Counted, Reference, Result, Row, Sample, Spread, spread

__all__ = ["Record", "counted_records", "result_record", "row_records"]

Record: TypeAlias = Mapping[str, object]


def row_records(result: Result) -> Iterator[Record]:
    """A record for each row and reference: medians, with the least and the most in brackets."""
    for row in result.rows:
        ours: Record = {"measure": row.name, "unit": row.unit, "paglets": _values(row.samples)}
        for reference in row.references:
            cpu = row.cpu_ratio(reference)
            theirs = {"reference": reference.name, "its": _values(reference.samples)}
            ratios = {"ratio": _text(row.ratio(reference)), "cpu": "" if cpu is None else f"{_number(cpu.median)}x"}
            yield {**ours, **theirs, **ratios}
            ours = {}


def counted_records(result: Result) -> Iterator[Record]:
    """A record for each piece of work, for one unit of it."""
    for counted in result.counted or ():
        units = counted.units
        yield {
            "work": counted.work,
            "data": f"{counted.data_bytes // units} B",
            "data_syncs": _number(counted.data_syncs / units),
            "folder_syncs": _number(counted.folder_syncs / units),
            "catalogue": f"{counted.catalogue_bytes // units} B",
            "catalogue_syncs": _number(counted.catalogue_syncs / units),
        }


def result_record(result: Result) -> Record:
    """Everything, with each single sample."""
    return {
        "machine": result.machine,
        "settings": result.settings,
        "rows": [_row(row) for row in result.rows],
        "counted": None if result.counted is None else [_counted(counted) for counted in result.counted],
    }


def _row(row: Row) -> Record:
    return {
        "suite": row.suite,
        "name": row.name,
        "unit": row.unit,
        "less_is_better": row.less_is_better,
        **_samples(row.samples),
        "references": [_reference(row, reference) for reference in row.references],
    }


def _reference(row: Row, reference: Reference) -> Record:
    cpu = row.cpu_ratio(reference)
    return {
        "name": reference.name,
        **_samples(reference.samples),
        "ratio": dataclasses.asdict(row.ratio(reference)),
        "cpu_ratio": None if cpu is None else dataclasses.asdict(cpu),
    }


def _samples(samples: Sequence[Sample]) -> Record:
    values = [sample.value for sample in samples]
    return {**dataclasses.asdict(spread(values)), "samples": values, "cpu_s": [sample.cpu_s for sample in samples]}


def _counted(counted: Counted) -> Record:
    return {**dataclasses.asdict(counted), "syncs": counted.syncs}


def _values(samples: Sequence[Sample]) -> str:
    return _text(spread([sample.value for sample in samples]))


def _text(found: Spread) -> str:
    if found.min == found.max:
        return _number(found.median)
    return f"{_number(found.median)} ({_number(found.min)}-{_number(found.max)})"


def _number(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
