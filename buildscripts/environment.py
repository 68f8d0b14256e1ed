"""The project's virtual environments, each made from a lock file and remade when that changes.

It must never import anything but the standard library: it runs where nothing is installed yet.
"""

import fcntl
import hashlib
import os
import shlex
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILDSCRIPTS = ROOT / "buildscripts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A virtual environment, the lock file it is filled from, and the project installed into it, if any."""

    folder: Path
    lock: Path
    project: Path | None = None

    @property
    def bin(self) -> Path:
        """The folder of its programs."""
        return self.folder / "bin"

    @property
    def stamp(self) -> Path:
        """Says what the environment was made from. Written last, so one that was interrupted has none."""
        return self.folder / "made-from"

    def recipe(self) -> list[str]:
        """Two fingerprints: of what its packages depend on, and of what the project's own installation does."""
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        packages = hashlib.sha256(f"{self.folder} {version} ".encode() + self.lock.read_bytes())
        project = hashlib.sha256((self.project / "pyproject.toml").read_bytes() if self.project else b"")
        return [packages.hexdigest(), project.hexdigest()]

    def made_from(self) -> list[str]:
        """The recipe it was made from; empty if it is missing, half-made or its Python is gone."""
        if not self.stamp.exists() or not (self.bin / "python").exists():
            return []
        return self.stamp.read_text().split()


MAIN = Environment(folder=ROOT / ".venv", lock=BUILDSCRIPTS / "requirements.lock", project=ROOT)
GENERATOR = Environment(folder=ROOT / ".gen-venv", lock=BUILDSCRIPTS / "generator.lock")


def ensure(environment: Environment) -> None:
    """Bring the environment up to date; does nothing, quickly, when it is. Safe to start twice at once.

    Raises:
        CalledProcessError: a step failed. The next start begins again.
    """
    if environment.made_from() == environment.recipe():
        return
    with _alone() as door:
        wanted, found = environment.recipe(), environment.made_from()
        if found == wanted:
            return
        environment.stamp.unlink(missing_ok=True)
        if found[:1] != wanted[:1]:
            _fill(environment, door)
        if environment.project:
            _install(environment, environment.project, door)
        environment.stamp.write_text("\n".join(wanted) + "\n")


@contextmanager
def _alone() -> Generator[int]:
    """Hold the door that only one set-up passes at a time: a lock on this folder, so no file is left behind."""
    door = os.open(BUILDSCRIPTS, os.O_RDONLY)
    try:
        try:
            fcntl.flock(door, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("waiting for another set-up to end")
            fcntl.flock(door, fcntl.LOCK_EX)
        yield door
    finally:
        os.close(door)


def _fill(environment: Environment, door: int) -> None:
    _say(f"making {environment.folder.name} from {environment.lock.name}")
    _run(door, sys.executable, "-m", "venv", "--clear", environment.folder)
    _pip(environment, door, "--require-hashes", "--no-deps", "--only-binary=:all:", "--requirement", environment.lock)


def _install(environment: Environment, project: Path, door: int) -> None:
    _say(f"installing the project into {environment.folder.name}")
    _pip(environment, door, "--no-build-isolation", "--no-deps", "--editable", project)


def _pip(environment: Environment, door: int, *arguments: str | Path) -> None:
    _run(door, environment.bin / "python", "-m", "pip", "install", "--quiet", *arguments)


def _run(door: int, *command: str | Path) -> None:
    # The door goes along: a child that outlives a killed set-up keeps the next one waiting.
    subprocess.run([str(part) for part in command], check=True, pass_fds=(door,), stdin=subprocess.DEVNULL)


def _say(words: str) -> None:
    print(f"buildscripts: {words}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        ensure(GENERATOR if sys.argv[1:] == ["generator"] else MAIN)
    except subprocess.CalledProcessError as error:
        command = shlex.join(error.cmd)
        sys.exit(f"buildscripts: the set-up failed with {error.returncode}; the next start begins again: {command}")
