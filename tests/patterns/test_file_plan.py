"""Texts and sizes of a transfer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paglets.patterns.file_plan import format_bytes, planned_destination

NAMES = st.text("aZ0._-~ä", min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (-5, "0 B"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KB"),
        (1536, "1.5 KB"),
        (1024**2 - 1, "1.0 MB"),
        (1024**2, "1.0 MB"),
        (1024**3, "1.0 GB"),
        (1024**4, "1.0 TB"),
        (5000 * 1024**4, "5000.0 TB"),
    ],
)
def test_fmt_1_format_bytes(size_bytes: int, text: str) -> None:
    """Steps of 1024, one decimal from kilobytes on, terabytes at most, nothing below zero."""
    assert format_bytes(size_bytes) == text


@given(st.integers(0, 2**63 - 1))
def test_fmt_1_text_is_near_the_size(size_bytes: int) -> None:
    """What is shown is the size, to the shown decimal, and no unit but the last reaches 1024."""
    number, unit = format_bytes(size_bytes).split()
    power = ["B", "KB", "MB", "GB", "TB"].index(unit)
    assert abs(float(number) * 1024**power - size_bytes) <= 0.0501 * 1024**power
    assert float(number) < 1024 or unit == "TB"


@pytest.mark.parametrize(
    ("destination", "planned"),
    [
        ("", "data.bin"),
        (" ", "data.bin"),
        (".", "data.bin"),
        ("in/", "in/data.bin"),
        ("in\\", "in\\data.bin"),
        ("in", "in"),
        (" in/x ", "in/x"),
        ("~/x", "~/x"),
    ],
)
def test_fm_4_planned_text(destination: str, planned: str) -> None:
    """Pure text: nothing or a dot is the name, a trailing separator puts it inside, nothing is expanded."""
    assert planned_destination(destination, "data.bin") == planned


@given(st.lists(NAMES, max_size=4), NAMES)
def test_fm_4_folder_and_name(folders: list[str], name: str) -> None:
    """A folder with its separator always ends in the source's name, and planning again changes nothing."""
    folder = "".join(each + "/" for each in folders)
    planned = planned_destination(folder, name)
    assert planned == folder + name
    assert planned_destination(planned, "other") == (planned if planned != "." else "other")
