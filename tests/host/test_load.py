"""The load that a host tells of is coarse, and grows with the calls that are under way."""

import pytest

from paglets.host.load import load_figure


@pytest.mark.parametrize(
    ("under_way", "load"), [(0, 0.0), (1, 0.25), (2, 0.5), (3, 1.0), (5, 1.0), (6, 2.0), (100, 32.0), (110, 32.0)]
)
def test_load_is_calls_for_each_core(under_way: int, load: float) -> None:
    """It is a power of two, so that small changes are none."""
    assert load_figure(under_way, cores=4) == load


def test_any_call_is_some_load() -> None:
    """However many cores there are, a host that does something is told from one that does nothing."""
    assert load_figure(1, cores=1024) == 1 / 16


def test_load_of_this_machine() -> None:
    """Without a number of cores it is this machine's."""
    assert load_figure(0) == 0.0 < load_figure(1)
