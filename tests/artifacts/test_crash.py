"""`kill -9` at every step, in a real process: what was acknowledged is there, and nothing else is left."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from paglets.artifacts.local import LocalArtifactStore
from paglets.artifacts.steps import FAULT_POINTS, Step
from paglets.digest import Digest
from tests.artifacts.support import Clock, assert_consistent, cancel_all, opened, put, read_all, refused

pytestmark = pytest.mark.slow

# Where a writer dies (in its second round, or at its third artifact, whose bytes are new), and then its recovery.
RECOVERY_STEPS = (
    (f"{Step.WRITE_AFTER}:12", Step.CUT_AFTER),
    (f"{Step.WRITE_AFTER}:12", Step.LEFT_AFTER),
    (f"{Step.INTENT_AFTER}:3", Step.ROLL_FORWARD_BEFORE),
    (f"{Step.INTENT_AFTER}:3", Step.RENAME_AFTER),
    (f"{Step.RENAME_AFTER}:2", Step.ROLL_FORWARD_BEFORE),
    (f"{Step.FOLDER_AFTER}:2", Step.ROLL_FORWARD_AFTER),
    (f"{Step.SPARE_AFTER}:2", Step.ROLL_FORWARD_BEFORE),
    (f"{Step.DELETE_AFTER}:2", Step.UNLINK_AFTER),
)


@dataclass
class Told:
    """What a writer said before it died: digests of what is stored, and what it was about to delete or had deleted."""

    stored: dict[str, str] = field(default_factory=dict[str, str])
    deleting: set[str] = field(default_factory=set[str])
    deleted: set[str] = field(default_factory=set[str])

    def listen(self, lines: Iterable[str]) -> None:
        """Takes in what it says."""
        for line in lines:
            match line.split():
                case ["stored", artifact_id, digest]:
                    self.stored[artifact_id] = digest
                case ["deleting", artifact_id]:
                    self.deleting.add(artifact_id)
                case ["deleted", artifact_id]:
                    self.deleted.add(artifact_id)
                case _:
                    continue


def command(root: Path, mode: str) -> tuple[str, ...]:
    """How a writer is started."""
    return (sys.executable, "-m", "tests.artifacts.crash_writer", str(root), mode)


def run(root: Path, mode: str, told: Told, *, fault: str = "", log: Path | None = None) -> int:
    """Runs a writer to its end, whatever that is; gives its exit code."""
    environment = {**os.environ, "PAGLETS_FAULT": fault, "PAGLETS_FAULT_LOG": str(log or "")}
    done = subprocess.run(command(root, mode), env=environment, stdout=subprocess.PIPE, text=True, check=False)
    told.listen(done.stdout.splitlines())
    return done.returncode


def storm(root: Path, told: Told, patience: int) -> None:
    """Has many writers at work, and kills them when they have said so many lines."""
    with subprocess.Popen(command(root, "storm"), stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        told.listen(itertools.islice(writer.stdout, patience))
        writer.kill()
        told.listen(writer.stdout)


async def check(root: Path, told: Told) -> None:
    """Opens the store again and holds it against what was told."""
    async with opened(root, Clock()) as store:
        await store.sweep()
        await cancel_all(store)
        assert_consistent(root)
        for artifact_id in told.stored.keys() - told.deleting:
            assert Digest.of(await read_all(store, artifact_id)).hex == told.stored[artifact_id]
        for artifact_id in told.deleted:
            assert (await refused(store.ref(artifact_id))).reason == "ARTIFACT_NOT_FOUND"
        for artifact_id in await _all_ids(store):
            await read_all(store, artifact_id)
        await put(store, b"the store works on")
    assert_consistent(root)
    assert {path.name for path in (root.parent / "out").glob("*")} <= {"0", "1"}


async def _all_ids(store: LocalArtifactStore) -> list[str]:
    page = await store.list(page_size=1000)
    assert not page.next_token
    return [ref.artifact_id for ref in page.refs]


def passed_in(log: Path) -> set[str]:
    """The steps that a writer passed."""
    return set(log.read_text(encoding="utf-8").split())


async def test_every_step_is_taken(tmp_path: Path) -> None:
    """The writer, and the recoveries after it was killed, take every step there is: none is only listed."""
    log, seen = tmp_path / "log", set[str]()
    assert run(tmp_path / "whole" / "store", "steps", Told(), log=log) == 0
    seen |= passed_in(log)
    for first, second in RECOVERY_STEPS:
        if second not in seen:
            root = tmp_path / second / "store"
            run(root, "steps", Told(), fault=first)
            run(root, "open", Told(), log=log)
            seen |= passed_in(log)
    assert set(FAULT_POINTS) <= seen


RECOVERING = {Step.ROLL_FORWARD_BEFORE, Step.ROLL_FORWARD_AFTER, Step.CUT_AFTER, Step.LEFT_AFTER}
STEPS = [step for step in Step if step not in RECOVERING]


@pytest.mark.parametrize("step", STEPS)
async def test_killed_at_a_step(tmp_path: Path, step: Step) -> None:
    """Killed when it takes a step for the second time."""
    told = Told()
    assert run(tmp_path / "store", "steps", told, fault=f"{step}:2") == -signal.SIGKILL
    await check(tmp_path / "store", told)


@pytest.mark.parametrize("step", [Step.INTENT_AFTER, Step.SYNC_AFTER, Step.FOLDER_AFTER, Step.COMMIT_AFTER])
async def test_killed_at_a_step_of_a_batch(tmp_path: Path, step: Step) -> None:
    """Killed while files of a second batch become artifacts, and then by the recovery of some of them."""
    told, again = Told(), Step.ROLL_FORWARD_AFTER if step is not Step.COMMIT_AFTER else ""
    assert run(tmp_path / "store", "filed", told, fault=f"{step}:2") == -signal.SIGKILL
    if again:
        assert run(tmp_path / "store", "open", told, fault=f"{again}:4") == -signal.SIGKILL
    assert len(told.stored) == 9
    await check(tmp_path / "store", told)


@pytest.mark.parametrize(("first", "second"), RECOVERY_STEPS)
async def test_killed_again_while_recovering(tmp_path: Path, first: str, second: str) -> None:
    """Killed, and killed again by the recovery from that."""
    told = Told()
    assert run(tmp_path / "store", "steps", told, fault=first) == -signal.SIGKILL
    assert run(tmp_path / "store", "open", told, fault=second) == -signal.SIGKILL
    await check(tmp_path / "store", told)


async def test_killed_at_any_time(tmp_path: Path, seed: int) -> None:
    """Killed again and again while many writers and deleters are at work."""
    root, told, dice = tmp_path / "store", Told(), random.Random(seed)
    for _ in range(4):
        storm(root, told, dice.randrange(2, 150))
    assert len(told.stored) > 10
    await check(root, told)
