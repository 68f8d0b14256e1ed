"""The paglet types of a host are the classes with a state of the modules that it was allowed."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from paglets.errors import PreconditionError
from paglets.host.registry import TypeRegistry

_SHOP = """
from dataclasses import dataclass
from paglets.core.paglet import Paglet

@dataclass
class Money:
    cents: int = 0

class Till(Paglet[Money]):
    pass

class Shelf(Paglet):
    pass
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TypeRegistry:
    """The types of a module of which one class says no state."""
    (tmp_path / "some_shop.py").write_text(_SHOP)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "some_shop", raising=False)
    importlib.invalidate_caches()
    return TypeRegistry.load("alpha", ["some_shop"])


def test_a_class_with_a_state_is_a_type(shop: TypeRegistry) -> None:
    """One without is none."""
    assert "some_shop.Till" in shop.names
    assert shop.get("some_shop.Till").type_name() == "some_shop.Till"
    assert shop.find("some_shop.Shelf") is None


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("some_shop.Shelf", ": class Shelf says no state: write class Shelf(Paglet[ShelfState]), with a dataclass"),
        ("some_shop.Til", "did you mean some_shop.Till?"),
        ("bakery.Oven", ": start it with --allow bakery"),
    ],
)
def test_what_is_no_type_is_refused_with_what_to_do(shop: TypeRegistry, name: str, told: str) -> None:
    """A state that was forgotten, a name that is nearly one, a module that was not allowed."""
    with pytest.raises(PreconditionError) as refused:
        shop.get(name)
    assert refused.value.reason == "TYPE_NOT_ALLOWED"
    assert told in str(refused.value)
