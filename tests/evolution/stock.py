"""A paglet whose state has had three shapes: a list of names, then counts, then counts with the price of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from paglets.core.paglet import Paglet
from paglets.state import Upcaster

__all__ = ["Item", "Stock", "StockState"]


@dataclass
class Item:
    """How many there are, and what one costs, in cents; None for what nobody has said."""

    count: int
    price: int | None = None


@dataclass
class StockState:
    """What is there, by name."""

    items: dict[str, Item] = field(default_factory=dict[str, Item])


def _counted(fields: dict[str, Any]) -> dict[str, Any]:
    names: list[str] = fields["names"]
    return {"counts": dict(Counter(names))}


def _priced(fields: dict[str, Any]) -> dict[str, Any]:
    return {"items": {name: {"count": count} for name, count in fields["counts"].items()}}


class Stock(Paglet[StockState]):
    """Keeps a stock."""

    state_version = 3
    upcasters: ClassVar[Mapping[int, Upcaster]] = {1: _counted, 2: _priced}
