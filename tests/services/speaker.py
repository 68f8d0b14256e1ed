"""A paglet that answers what a pattern brings and no example has."""

from __future__ import annotations

from dataclasses import dataclass

from paglets.patterns.coordination import CursorDrainMixin

__all__ = ["Speaker", "SpeakerState"]


@dataclass
class SpeakerState:
    """Nothing to keep."""


class Speaker(CursorDrainMixin[SpeakerState]):
    """Says nothing, and may be asked."""
