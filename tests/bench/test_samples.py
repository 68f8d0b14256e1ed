"""What may be said about samples: ratios round by round, and above 1 whatever is better."""

import pytest

from paglets.bench.samples import Reference, Row, Sample, Spread, spread


def row(ours: list[float], theirs: list[float], *, less_is_better: bool = False) -> tuple[Row, Reference]:
    """A row with one reference."""
    reference = Reference("theirs", [Sample(value) for value in theirs])
    return (
        Row(
            suite="s",
            name="ours",
            unit="x",
            samples=[Sample(value) for value in ours],
            references=[reference],
            less_is_better=less_is_better,
        ),
        reference,
    )


def test_spread_is_median_and_range() -> None:
    """One slow round moves the range and not the median."""
    assert Spread(2, 1, 90) == spread([90, 1, 2])


def test_ratio_compares_samples_of_one_round() -> None:
    """A machine that gets slower for both leaves the ratio as it is, although the values spread."""
    ours, reference = row([100, 50, 10], [200, 100, 20])
    assert Spread(0.5, 0.5, 0.5) == ours.ratio(reference)


def test_ratio_of_times_is_above_one_when_ours_is_shorter() -> None:
    """Better is above 1, also where less is better."""
    ours, reference = row([1], [3], less_is_better=True)
    assert ours.ratio(reference).median == pytest.approx(3)


def test_ratio_wants_as_many_samples_of_both() -> None:
    """A reference that missed a round is no reference."""
    ours, reference = row([1, 2], [1])
    with pytest.raises(ValueError, match="zip"):
        ours.ratio(reference)


def test_cpu_ratio_needs_every_sample() -> None:
    """Too little CPU time to be seen is not taken for none."""
    reference = Reference("theirs", [Sample(1, 0.0), Sample(1, 0.5)])
    ours = Row(suite="s", name="n", unit="x", samples=[Sample(1, 1.0), Sample(1, 1.0)], references=[reference])
    assert ours.cpu_ratio(reference) is None
    whole = Reference("theirs", [Sample(1, 0.25), Sample(1, 0.5)])
    assert ours.cpu_ratio(whole) == Spread(3, 2, 4)
