"""Partials that outlive their store: many at once, and such as their disk has changed meanwhile."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from paglets.artifacts.steps import Step
from paglets.artifacts.store import ArtifactWrite
from paglets.digest import Digest
from tests.artifacts.support import armed, assert_consistent, cancel_all, opened, pieces, read_all, refused, settings

PARTIALS = 64
DATA = [os.urandom(50_000) for _ in range(PARTIALS)]


def write(number: int) -> ArtifactWrite:
    """One of the uploads."""
    return ArtifactWrite(upload_id=f"u{number}", artifact_id=f"a{number}")


def descriptors_of(root: Path) -> list[str]:
    """Which files of the store this process has open."""
    found: list[str] = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(link.readlink()))
        except FileNotFoundError:  # the one that lists them
            continue
    return [name for name in found if name.startswith(str(root))]


@pytest.mark.slow
async def test_closed_while_many_are_written(root: Path) -> None:
    """A store that closes under 64 uploads leaves 64 partials and no open file; all go on after a restart."""
    async with opened(root, bounds=settings(max_open_uploads=PARTIALS)) as store:
        uploads = [await store.open_upload(write(number)) for number in range(PARTIALS)]
        for upload, data in zip(uploads, DATA, strict=True):
            await upload.write(0, data[:30_000])
    assert descriptors_of(root) == []
    async with opened(root) as store:
        found = (await store.uploads(page_size=1000)).uploads
        assert [info.committed_size for info in found] == [30_000] * PARTIALS
        await asyncio.gather(
            *(store.create_from_chunks(write(number), pieces(data)) for number, data in enumerate(DATA))
        )
        for number, data in enumerate(DATA):
            assert await read_all(store, f"a{number}") == data
    assert descriptors_of(root) == []
    assert_consistent(root)


async def test_closed_while_one_is_opened(root: Path) -> None:
    """An upload that finds its way in while its store closes is refused every step, and leaves no open file."""
    async with opened(root) as store:
        closing = list[asyncio.Task[None]]()

        def close(step: str) -> None:
            if step == Step.ADMIT_AFTER:
                closing.append(asyncio.create_task(store.close()))

        with armed(close):
            upload = await store.open_upload(write(0))
        await asyncio.gather(*closing)
        for end in (upload.write(0, DATA[0]), upload.leave()):
            assert (await refused(end)).reason == "SHUTTING_DOWN"
    assert descriptors_of(root) == []
    async with opened(root) as store:
        assert await cancel_all(store) == 1
    assert_consistent(root)


async def test_a_partial_that_rots_is_never_spliced(root: Path) -> None:
    """A bit of a partial that flips while its store is closed is found out before one more byte is taken."""
    async with opened(root) as store, await store.open_upload(write(0)) as upload:
        await upload.write(0, DATA[0][:30_000])
    part = root / "parts" / "u0.part"
    rotten = bytearray(part.read_bytes())
    rotten[7] ^= 1
    part.write_bytes(rotten)
    async with opened(root) as store:
        assert (await refused(store.create_from_chunks(write(0), pieces(DATA[0])))).reason == "PREFIX_MISMATCH"
        claimed = Digest.of(DATA[0][:30_000])
        assert (await refused(store.open_upload(write(0), prefix=claimed))).reason == "PREFIX_MISMATCH"
        assert (await store.list()).refs == ()
        assert await cancel_all(store) == 1
        await store.create_from_chunks(write(0), pieces(DATA[0]))
        assert await read_all(store, "a0") == DATA[0]
    assert_consistent(root)
