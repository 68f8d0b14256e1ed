"""The comparison behind `generate.py --check`; that generated/ itself is up to date is a step of buildscripts/check."""

from pathlib import Path

import pytest

from generate import check, differences, read_tree


def test_differences_are_found_both_ways() -> None:
    """A file that is missing, one that nobody makes any more, and one that was edited are told apart."""
    fresh = {"same": b"1", "missing": b"2", "edited": b"3"}
    kept = {"same": b"1", "edited": b"4", "extra": b"5"}
    assert differences(fresh, kept) == {"edited": "differing", "extra": "extra", "missing": "missing"}


def test_check_names_every_file_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """The reader learns which files are wrong and what to do."""
    assert check({"a": b"1"}, {"b": b"2"}) == 1
    said = capsys.readouterr().out
    assert "generated/a: missing\ngenerated/b: extra\n" in said
    assert "run buildscripts/generate.py" in said


def test_check_passes_on_equal_trees() -> None:
    """Nothing to do is success."""
    assert check({"a": b"1"}, {"a": b"1"}) == 0


def test_what_python_leaves_behind_is_not_compared(tmp_path: Path) -> None:
    """Byte code beside the generated modules is no difference."""
    for name in ("paglet/v1/a_pb2.py", "paglet/v1/__pycache__/a_pb2.cpython-311.pyc"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    assert read_tree(tmp_path) == {"paglet/v1/a_pb2.py": b"x"}
