"""A store that died at some step, opened again: a copy of its folder is taken at the step, and opened in its place."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from paglets.artifacts.local import LocalArtifactStore
from paglets.artifacts.recovery import Recovery
from paglets.artifacts.references import Blob
from paglets.artifacts.steps import Step
from paglets.artifacts.store import ArtifactWrite, UploadState, WriteOutcome
from paglets.digest import Digest
from tests.artifacts.support import armed, assert_consistent, opened, pieces, put, read_all, refused

DATA = b"0123456789" * 5000
WRITE = ArtifactWrite(upload_id="u", artifact_id="a", size_bytes=len(DATA))
KEPT = [Step.ADMIT_AFTER, Step.PART_AFTER, Step.WRITE_AFTER, Step.SYNC_BEFORE, Step.SYNC_AFTER]
FINISHED = [Step.INTENT_AFTER, Step.RENAME_AFTER, Step.FOLDER_AFTER]


async def die_at(step: Step, root: Path, copy: Path, *, known: bool = False) -> None:
    """Uploads, and keeps in `copy` what a host that is killed at the step leaves behind."""
    async with opened(root) as store:
        if known:
            await put(store, DATA, artifact_id="b")

        def look(name: str) -> None:
            if name == step and not copy.exists():
                shutil.copytree(root, copy)

        with armed(look):
            await store.create_from_chunks(WRITE, pieces(DATA[:20_000], DATA[20_000:]))
    assert (copy / "artifacts.db").is_file()


@pytest.mark.parametrize("step", KEPT)
async def test_before_the_intent_it_is_kept(root: Path, tmp_path: Path, step: Step) -> None:
    """What came stays, and its writer goes on."""
    copy = tmp_path / "copy"
    await die_at(step, root, copy)
    async with opened(copy) as store:
        assert (await refused(store.ref("a"))).reason == "ARTIFACT_NOT_FOUND"
        left = await store.upload("u")
        assert left.prefix == Digest.of(DATA[: left.committed_size])
        assert (left.state, left.reserved_bytes) == (UploadState.OPEN, len(DATA))
        assert left.committed_size == (0 if step in KEPT[:2] else 20_000 if step is Step.WRITE_AFTER else len(DATA))
        assert (await store.create_from_chunks(WRITE, pieces(DATA))).outcome is WriteOutcome.COMMITTED
    assert_consistent(copy)


@pytest.mark.parametrize(
    ("step", "known"), [*((step, False) for step in FINISHED), (Step.INTENT_AFTER, True), (Step.SPARE_AFTER, True)]
)
async def test_after_the_intent_it_is_finished(root: Path, tmp_path: Path, step: Step, *, known: bool) -> None:
    """The artifact is there, and the upload's repetition is told so."""
    copy = tmp_path / "copy"
    await die_at(step, root, copy, known=known)
    async with opened(copy) as store:
        assert_consistent(copy)
        assert await read_all(store, "a") == DATA
        assert (await store.create_from_chunks(WRITE, pieces(DATA))).outcome is WriteOutcome.ALREADY_COMMITTED
    assert_consistent(copy)


def _lose(path: Path) -> None:
    path.unlink()


def _cut(path: Path) -> None:
    os.truncate(path, 100)


def _blank(path: Path) -> None:
    path.chmod(0o600)
    path.write_bytes(bytes(len(DATA)))


@pytest.mark.parametrize("step", FINISHED)
@pytest.mark.parametrize("damage", [_lose, _cut, _blank])
async def test_unproven_bytes_are_never_finished(
    root: Path, tmp_path: Path, step: Step, damage: Callable[[Path], None]
) -> None:
    """If the disk did not keep what it said was synced, the upload is dropped: nobody was told that it succeeded."""
    copy = tmp_path / "copy"
    await die_at(step, root, copy)
    for path in (*copy.glob("parts/*"), *copy.glob("blobs/*/*")):
        damage(path)
    async with opened(copy) as store:
        assert_consistent(copy)
        assert (await refused(store.ref("a"))).reason == "ARTIFACT_NOT_FOUND"
        await store.create_from_chunks(WRITE, pieces(DATA))
    assert_consistent(copy)


async def test_until_it_is_finished_it_is_in_progress(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store opens before recovery is through; the ids of what is being recovered are taken until then."""
    copy, proceed = tmp_path / "copy", asyncio.Event()
    await die_at(Step.RENAME_AFTER, root, copy)
    roll_forward = Recovery.roll_forward

    async def held_up(recovery: Recovery) -> list[Blob]:
        await proceed.wait()
        return await roll_forward(recovery)

    monkeypatch.setattr(Recovery, "roll_forward", held_up)
    store = await LocalArtifactStore.open(copy, "alpha")
    assert (await refused(store.create_from_chunks(WRITE, pieces(DATA)))).reason == "UPLOAD_IN_PROGRESS"
    assert await read_all(store, await put(store, b"others are served")) == b"others are served"
    proceed.set()
    await store.settled()
    assert await read_all(store, "a") == DATA
    await store.close()
    assert_consistent(copy)


async def test_strays_in_parts_are_dropped(root: Path) -> None:
    """A part that no row knows is garbage; what cannot be unlinked there keeps no store from being opened."""
    async with opened(root):
        pass
    (root / "parts" / "folder").mkdir()
    (root / "parts" / "stray.part").write_bytes(b"?")
    async with opened(root):
        (root / "parts" / "folder").rmdir()
        assert_consistent(root)
