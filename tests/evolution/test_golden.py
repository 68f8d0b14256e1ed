"""Whatever a version of a class has once written, the class of today reads."""

from __future__ import annotations

import dataclasses

import pytest

from tests.evolution.golden import GOLDEN, Kept

_VERSIONS = [(kept, version) for kept in GOLDEN for version in range(1, kept.version + 1)]


@pytest.mark.parametrize(("kept", "version"), _VERSIONS, ids=[f"{k.paglet_class.__name__}-{v}" for k, v in _VERSIONS])
def test_golden_file_is_read(kept: Kept, version: int) -> None:
    """The file of every version there was is there, and is read as what it meant."""
    wanted = kept.sample if version == kept.version else kept.earlier[version]
    assert kept.paglet_class.codec.load(kept.path(version).read_bytes(), version) == wanted


@pytest.mark.parametrize("kept", GOLDEN, ids=[kept.paglet_class.__name__ for kept in GOLDEN])
def test_shape_of_today_is_the_newest_file(kept: Kept) -> None:
    """A class that writes anything but its newest golden file has changed its shape, and owes a version to it."""
    written = kept.paglet_class.codec.encode(kept.paglet_class.codec.check(kept.paglet_class.codec.encode(kept.sample)))
    assert written == kept.path(kept.version).read_bytes()


@pytest.mark.parametrize("kept", GOLDEN, ids=[kept.paglet_class.__name__ for kept in GOLDEN])
def test_sample_says_something_in_every_field(kept: Kept) -> None:
    """A field at its default would hide that it is written otherwise now."""
    fields = dataclasses.fields(kept.paglet_class.State)
    blank = kept.paglet_class.State()
    assert [found.name for found in fields if getattr(kept.sample, found.name) == getattr(blank, found.name)] == []


def test_every_file_is_of_a_class() -> None:
    """No file is left of a class that is not looked at any more."""
    known = {kept.path(version) for kept, version in _VERSIONS}
    assert set(GOLDEN[0].path(1).parent.iterdir()) == known
