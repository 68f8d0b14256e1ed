"""Where paglets may read and write: below the roots, by text that means the same at every host."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from paglets.errors import InvalidArgumentError, PermissionDeniedError
from paglets.host.files import FileRoots


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The first of two roots: it has a folder, and links that lead out."""
    root, second, outside = (tmp_path / name for name in ("first", "second", "outside"))
    for folder in (root / "there", second, outside):
        folder.mkdir(parents=True)
    (outside / "secret").write_text("s")
    (root / "out").symlink_to(outside)
    (root / "there" / "evil.bin").symlink_to(outside / "secret")
    (root / "loop").symlink_to("loop")
    (root / "within").symlink_to(root / "there")
    return root


@pytest.fixture
def roots(root: Path) -> FileRoots:
    """Both of them."""
    return FileRoots((root, root.parent / "second"))


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", "data.bin"),
        (" . ", "data.bin"),
        ("new/", "new/data.bin"),
        ("there", "there/data.bin"),
        ("there/", "there/data.bin"),
        ("within", "there/data.bin"),
        ("a/b", "a/b"),
        ("there/../c", "c"),
        ("~/d", "d"),
        ("../second/e", "../second/e"),
        ("../second", "../second/data.bin"),
    ],
)
def test_fm_5_destination(roots: FileRoots, root: Path, text: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The source's name, inside a folder that is there or is meant, or exactly there; below any of the roots."""
    monkeypatch.setenv("HOME", str(root))
    assert roots.destination(text, "data.bin") == (root / path).resolve()
    if text.strip(" .") and not text.startswith("~"):
        assert roots.destination(f"{root}/{text}", "data.bin") == (root / path).resolve()


@pytest.mark.parametrize(
    ("text", "name"),
    [("..", "x"), ("../outside/x", "x"), ("/etc", "x"), ("out/x", "x"), ("out", "x"), ("there", "evil.bin")],
)
def test_fm_5_outside(roots: FileRoots, text: str, name: str) -> None:
    """Nothing leads out of the roots: no `..`, no path of its own, and no link, also not one inside a folder."""
    with pytest.raises(PermissionDeniedError) as caught:
        roots.destination(text, name)
    assert caught.value.reason == "PATH_OUTSIDE_ROOTS"


@pytest.mark.parametrize("text", ["a\0b", "loop", "loop/x", "~nobody-of-that-name/x"])
def test_what_is_no_path_is_refused(roots: FileRoots, text: str) -> None:
    """As a mistake of whoever gave it."""
    for ask in (roots.source, partial(roots.destination, source_name="x")):
        with pytest.raises(InvalidArgumentError) as caught:
            ask(text)
        assert (caught.value.reason, caught.value.field) == ("MALFORMED_REQUEST", "path")


def test_host_without_roots_says_what_to_do(root: Path) -> None:
    """It reads and writes no file."""
    none = FileRoots(())
    for ask in (none.source, partial(none.destination, source_name="x")):
        with pytest.raises(PermissionDeniedError, match="--file-root FOLDER"):
            ask(str(root / "there"))
