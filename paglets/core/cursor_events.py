"""What a paglet says to its readers: events in one dense sequence, each kept with the turn that said it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CursorEvent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CursorEvent:
    """One event: its place among the paglet's, from 1, and the author's message as `Any` has it."""

    cursor: int
    type_url: str
    value: bytes
    create_ms: int
