"""Works on a store until it is killed, and says what was acknowledged.

`python -m tests.artifacts.crash_writer FOLDER MODE`: `steps` takes every step of a store twice, one after the other;
`filed` stores two batches of files; `storm` has many writers at once, for ever; `open` only opens the store and waits
until it has recovered.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from paglets import faults
from paglets.artifacts.local import LocalArtifactStore
from paglets.artifacts.store import ArtifactWrite, ArtifactWriteResult, SmallWrite
from paglets.digest import Digest
from paglets.errors import InvalidArgumentError
from tests.artifacts.support import Clock, settings


def say(*words: str) -> None:
    """One line, at once."""
    os.write(sys.stdout.fileno(), (" ".join(words) + "\n").encode())


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 40_000):
        yield data[start : start + 40_000]


async def _put(store: LocalArtifactStore, artifact_id: str, data: bytes) -> None:
    await store.create_from_chunks(ArtifactWrite(artifact_id=artifact_id, upload_id=artifact_id), _pieces(data))
    say("stored", artifact_id, Digest.of(data).hex)


async def _put_all(store: LocalArtifactStore, data: dict[str, bytes]) -> None:
    """A batch of files."""
    items = [
        SmallWrite(ArtifactWrite(artifact_id=name, upload_id=name, as_file=True), each) for name, each in data.items()
    ]
    for result in await store.create_batch(items):
        assert isinstance(result, ArtifactWriteResult)
        say("stored", result.ref.artifact_id, result.ref.digest.hex)


async def _delete(store: LocalArtifactStore, artifact_id: str) -> None:
    say("deleting", artifact_id)
    await store.delete(artifact_id)
    say("deleted", artifact_id)


async def _round(store: LocalArtifactStore, clock: Clock, number: int, out: Path) -> None:
    """Every step once."""
    data = os.urandom(100_000)
    await _put(store, f"new-{number}", data)
    await _put(store, f"twin-{number}", data)
    await _put(store, f"short-lived-{number}", os.urandom(50_000))
    wrong = ArtifactWrite(expected_digest=Digest.of(b"?" * 9))
    try:
        await store.create_from_chunks(wrong, _pieces(b"!" * 9))
    except InvalidArgumentError:
        say("refused")
    await store.export_to_path(f"new-{number}", out / str(number))
    mortal = ArtifactWrite(artifact_id=f"mortal-{number}", ttl_s=1.0)
    await store.create_from_chunks(mortal, _pieces(os.urandom(1000)))
    clock.now += 2
    await store.sweep()
    await _delete(store, f"short-lived-{number}")
    await _cut_and_go_on(store, f"cut-{number}", os.urandom(100_000))
    known = ArtifactWrite(artifact_id=f"known-{number}", expected_digest=Digest.of(data))
    await store.create_from_chunks(known, _pieces(b""))
    say("stored", f"known-{number}", Digest.of(data).hex)


async def _cut_and_go_on(store: LocalArtifactStore, artifact_id: str, data: bytes) -> None:
    """An upload that is paused, cut, and finished."""
    write = ArtifactWrite(artifact_id=artifact_id, upload_id=artifact_id)
    async with await store.open_upload(write) as upload:
        await upload.write(0, data[:10_000])
        await upload.pause()
    async with await store.open_upload(write) as upload:
        await upload.write(10_000, data[10_000:50_000])
    await _put(store, artifact_id, data)


async def _storm(store: LocalArtifactStore) -> None:
    numbers = itertools.count()

    async def writer() -> None:
        while True:
            number = next(numbers)
            if number % 5 == 0:
                await _put_all(store, {f"b-{os.getpid()}-{number}-{each}": os.urandom(each * 999) for each in range(9)})
            size = (number * 7919) % 200_000
            await _put(store, f"a-{os.getpid()}-{number}", os.urandom(8) + bytes(size))
            if number % 3 == 0:
                await _delete(store, f"a-{os.getpid()}-{number}")

    async with asyncio.TaskGroup() as writers:
        for _ in range(8):
            writers.create_task(writer())


async def main(root: Path, mode: str) -> None:
    """Opens the store and works on it."""
    faults.arm_from_environment()
    clock = Clock()
    store = await LocalArtifactStore.open(root, "alpha", settings(), clock=clock)
    await store.settled()
    say("open")
    if mode == "storm":
        await _storm(store)
    elif mode == "steps":
        for number in range(2):
            await _round(store, clock, number, root.parent / "out")
    elif mode == "filed":
        for number in range(2):
            await _put_all(store, {f"filed-{number}-{each}": os.urandom(1 + each * 999) for each in range(9)})
    await store.close()
    say("done")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
