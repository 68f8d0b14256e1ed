"""The virtual environments behind the buildscripts, on a real one with nothing in it."""

import subprocess
import sys
from pathlib import Path

import pytest

from environment import BUILDSCRIPTS, Environment, ensure


@pytest.fixture
def empty(tmp_path: Path) -> Environment:
    """An environment that is not made yet, with a lock file that asks for nothing."""
    lock = tmp_path / "empty.lock"
    lock.write_text("# nothing\n")
    return Environment(folder=tmp_path / "venv", lock=lock)


def start(environment: Environment) -> subprocess.Popen[str]:
    """Start a set-up as a process of its own."""
    code = (
        "from pathlib import Path; from environment import Environment, ensure; "
        f"ensure(Environment(folder=Path({str(environment.folder)!r}), lock=Path({str(environment.lock)!r})))"
    )
    return subprocess.Popen([sys.executable, "-c", code], cwd=BUILDSCRIPTS, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_made_once_and_again_only_when_it_must_be(empty: Environment) -> None:
    """Two starts at once make it once, a later one leaves it alone, and another lock has it made afresh."""
    said = [process.communicate()[1] for process in [start(empty), start(empty)]]
    assert "".join(said).count("making venv") == 1

    leftover = empty.folder / "leftover"
    leftover.touch()
    ensure(empty)
    assert leftover.exists()

    empty.lock.write_text("# nothing, said otherwise\n")
    ensure(empty)
    assert not leftover.exists()
    assert empty.made_from() == empty.recipe()


def test_half_made_counts_as_missing(empty: Environment) -> None:
    """Without the stamp, which is written last, or without its Python, there is nothing to rely on."""
    empty.bin.mkdir(parents=True)
    (empty.bin / "python").touch()
    assert empty.made_from() == []

    empty.stamp.write_text("\n".join(empty.recipe()))
    assert empty.made_from() == empty.recipe()

    (empty.bin / "python").unlink()
    assert empty.made_from() == []


def test_change_of_the_project_alone_keeps_the_packages(tmp_path: Path, empty: Environment) -> None:
    """An edited pyproject.toml asks for the project's installation, not for new packages."""
    settings = tmp_path / "pyproject.toml"
    settings.write_text("one")
    environment = Environment(folder=empty.folder, lock=empty.lock, project=tmp_path)
    packages, project = environment.recipe()
    settings.write_text("two")
    assert environment.recipe()[0] == packages
    assert environment.recipe()[1] != project
