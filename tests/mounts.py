"""File systems of a test's own, in memory: small ones, read-only ones. Not every root may have them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.cli.running import until

__all__ = ["seal", "tmpfs"]


@contextmanager
def tmpfs(folder: Path, options: str) -> Generator[None]:
    """Mounts one at a folder that is there, and takes it away again once nobody uses it."""
    command = (_tool("mount"), "-t", "tmpfs", "-o", options, "tmpfs", str(folder))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"nothing may be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        try:
            until(lambda: _unmounted(folder), f"{folder} to be let go")
        except AssertionError as error:
            raise AssertionError(f"{error}; still used: {_used(folder)}") from None


def seal(folder: Path) -> None:
    """Makes one that is mounted read-only."""
    subprocess.run((_tool("mount"), "-o", "remount,ro", str(folder)), check=True)


def _unmounted(folder: Path) -> bool:
    return subprocess.run((_tool("umount"), str(folder)), capture_output=True, check=False).returncode == 0


def _used(folder: Path) -> list[str]:
    """What processes have open or mapped below a folder."""
    links = [
        *Path("/proc").glob("[0-9]*/fd/*"),
        *Path("/proc").glob("[0-9]*/map_files/*"),
        *Path("/proc").glob("[0-9]*/cwd"),
    ]
    found = list[str]()
    for link in links:
        with suppress(OSError):  # it was closed, or its process ended, meanwhile
            if link.readlink().is_relative_to(folder):
                found.append(f"{link} -> {link.readlink()}")
    return found


def _tool(name: str) -> str:
    found = shutil.which(name)
    assert found is not None
    return found
