"""Files of the host's user: which one was read, and safe names."""

from __future__ import annotations

from pathlib import Path

import pytest

from paglets.core.sources import SourceMark, checked_mode, safe_name
from paglets.errors import InvalidArgumentError
from paglets.values import FileMode


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("report-1.csv", "report-1.csv"),
        ("../../etc/passwd", "etc_passwd"),
        (".hidden_", "hidden"),
        ("a b\0c\n", "a_b_c"),
        ("größe", "größe"),
        ("", "artifact"),
        ("..", "artifact"),
        ("/", "artifact"),
    ],
)
def test_file_5_safe_name(name: str, safe: str) -> None:
    """A safe name is no path, is not hidden, and is never empty."""
    assert safe_name(name) == safe


@pytest.mark.parametrize(
    ("text", "mode"), [(FileMode.MOVE, FileMode.MOVE), ("copy", FileMode.COPY), (" Move\n", FileMode.MOVE)]
)
def test_file_1_mode(text: str, mode: FileMode) -> None:
    """A mode may be given by its text, in any case and with spaces around."""
    assert checked_mode(text) is mode


def test_mark_tells_files_apart(tmp_path: Path) -> None:
    """A file has its mark until it is written to, replaced or gone; another one never has it."""
    path, other = tmp_path / "a", tmp_path / "b"
    path.write_bytes(b"abc")
    other.write_bytes(b"abc")
    mark = SourceMark.of(path)
    assert mark.is_of(path)
    assert not mark.is_of(other)
    assert mark.delete(other) is False
    other.replace(path)
    assert not mark.is_of(path)
    path.unlink()
    assert mark.delete(path) is True
    with pytest.raises(InvalidArgumentError, match="source is not a file"):
        SourceMark.of(tmp_path)
