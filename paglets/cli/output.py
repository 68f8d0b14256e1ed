"""Writes results to stdout: JSON for programs, tables for people, in colour where there is a terminal.

What hosts say is never trusted to be harmless to a terminal: control characters are shown, not sent.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TypeAlias

import click

__all__ = ["Record", "note", "plain", "size_text", "time_text", "write_json", "write_record", "write_table"]

Record: TypeAlias = Mapping[str, object]

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def plain(value: object) -> str:
    """A value as text on one line, without anything that a terminal would obey."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else str(value)
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def size_text(size_bytes: float) -> str:
    """A number of bytes for people, e.g. `1.5 MiB`."""
    for unit in _UNITS[:-1]:
        if abs(size_bytes) < 1024:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.1f} {_UNITS[-1]}"


def time_text(seconds: float | None) -> str | None:
    """A point in time as RFC 3339 in UTC; None for one that is not known."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds") if seconds else None


def note(text: str) -> None:
    """Tells the user something that is no result: on stderr."""
    click.echo(text, err=True)


def write_json(record: Record) -> None:
    """One JSON object on one line, at once."""
    click.echo(json.dumps(record, ensure_ascii=False))


def write_record(record: Record, *, as_json: bool) -> None:
    """One result: a JSON object, or a line for each of its fields."""
    if as_json:
        write_json(record)
        return
    width = max(map(len, record), default=0)
    for name, value in record.items():
        click.echo(f"{name.replace('_', ' '):<{width}}  {plain(value)}".rstrip())


def write_table(columns: Sequence[str], rows: Iterable[Record]) -> None:
    """Rows for people: a table on a terminal, aligned columns elsewhere."""
    cells = [[plain(row.get(column)) for column in columns] for row in rows]
    if sys.stdout is not None and sys.stdout.isatty() and find_spec("rich"):
        _write_rich(columns, cells)
    else:
        _write_aligned(columns, cells)


def _write_aligned(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    lines = [[column.upper().replace("_", " ") for column in columns], *cells]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    for line in lines:
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())


def _write_rich(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):  # the first is the id, which is to be copied
        table.add_column(column.upper().replace("_", " "), overflow="fold", no_wrap=index == 0)
    for line in cells:
        table.add_row(*(Text(cell) for cell in line))
    Console().print(table)
