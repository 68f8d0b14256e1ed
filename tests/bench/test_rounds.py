"""Samples are taken in turn, and the first round only warms up."""

from paglets.bench.report import row_records
from paglets.bench.rounds import Measure, in_turn
from paglets.bench.samples import Reference, Result, Row, Sample


async def test_samples_are_taken_in_turn() -> None:
    """A B A B, and what the first round gave is nowhere to be found."""
    order: list[str] = []
    said: list[str] = []

    def measure(name: str) -> Measure:
        async def sample() -> Sample:
            order.append(name)
            return Sample(len(order))

        return sample

    found = await in_turn("letters", 2, {"A": measure("A"), "B": measure("B")}, said.append)
    assert order == ["A", "B"] * 3
    assert found == {"A": [Sample(3), Sample(5)], "B": [Sample(4), Sample(6)]}
    assert said == ["letters: warming up", "letters: round 1 of 2", "letters: round 2 of 2"]


def test_table_has_a_line_for_each_reference() -> None:
    """A row is named once; each reference has its own ratio, and CPU time where it was taken."""
    row = Row(
        suite="s",
        name="upload",
        unit="MiB/s",
        samples=[Sample(100, 2.0), Sample(300, 2.0)],
        references=[
            Reference("plain", [Sample(200, 1.0), Sample(200, 1.0)]),
            Reference("raw", [Sample(1000), Sample(1000)]),
        ],
    )
    first, second = row_records(Result(machine={}, settings={}, rows=[row], counted=None))
    assert (first["measure"], first["paglets"], first["ratio"], first["cpu"]) == (
        "upload",
        "200 (100-300)",
        "1 (0.5-1.5)",
        "2x",
    )
    assert "measure" not in second
    assert (second["reference"], second["its"], second["ratio"], second["cpu"]) == ("raw", "1000", "0.2 (0.1-0.3)", "")
