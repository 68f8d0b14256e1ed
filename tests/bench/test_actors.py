"""The counters of other systems are measured as they should be, and are told of where they are not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from paglets.bench.actor_peer import Counter, Handle, measure


class _Objects:
    """The simplest of all systems: counters in this process."""

    def __init__(self) -> None:
        self.made = 0
        self.moved: list[int] = []
        self.living: list[Counter] = []

    async def create(self, value: int) -> Handle:
        self.made += 1
        if value:
            self.moved.append(value)
        counter = Counter(value)
        self.living.append(counter)
        return counter

    async def add(self, counter: Handle) -> int:
        return counter.add()

    async def pid(self, counter: Handle) -> int:
        return counter.pid()

    async def end(self, counter: Handle) -> None:
        self.living.remove(counter)


@pytest.mark.parametrize("what", ["create", "add", "move"])
async def test_all_that_was_done_is_counted(what: str) -> None:
    """But for the first time, which only warms up; and no counter is left."""
    objects = _Objects()
    answer = await measure(objects, {"what": what, "callers": 1, "seconds": 0.01})
    assert answer["seconds"] >= 0.01
    assert objects.living == []
    done = {"create": objects.made, "move": objects.made - 1}.get(what)
    if done is not None:
        assert answer["count"] == done - 1
    if what == "move":  # each has the value of the one before, and was added to
        assert objects.moved == list(range(1, objects.made))


async def test_what_shares_a_process_is_weighed_once() -> None:
    """The memory of a process counts once, however many counters are in it."""
    objects = _Objects()
    answer = await measure(objects, {"what": "weigh", "callers": 3, "seconds": 1.0})
    assert objects.made == 2 + 3
    assert objects.living == []
    assert answer["count"] * 3 * 1024 < 64 * 1024 * 1024
    assert await objects.pid(Counter(0)) == os.getpid()


@pytest.mark.slow
def test_a_python_without_them_is_told_of(tmp_path: Path) -> None:
    """Nothing is measured then, and nothing fails."""
    options = ["--only", "actors", "--size", "1024", "--rounds", "1", "--seconds", "0.05", "--folder", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "paglets", "bench", "--json", *options, "--actors-python", "no-such-python"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == []
    for peer in ("ray", "dask"):
        assert f"{peer} is not installed for no-such-python" in done.stderr
