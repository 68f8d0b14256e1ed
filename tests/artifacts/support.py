"""What the store's tests share: a clock that is moved by hand, bytes, a look at what is on disk, and waiting."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterable
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from paglets import faults
from paglets.artifacts.catalogue import insert_artifact
from paglets.artifacts.local import LocalArtifactStore
from paglets.artifacts.quota import Limits
from paglets.artifacts.references import Blob, hold, make_current
from paglets.artifacts.store import ArtifactStore, ArtifactWrite
from paglets.config import StoreSettings
from paglets.digest import Digest
from paglets.errors import PagletError
from paglets.values import ArtifactRef

__all__ = [
    "INLINE_BYTES",
    "PATIENCE_S",
    "Clock",
    "armed",
    "assert_consistent",
    "bytes_on_disk",
    "cancel_all",
    "eventually",
    "fill",
    "is_empty",
    "names_in",
    "opened",
    "pieces",
    "put",
    "read_all",
    "refused",
    "settings",
]

PATIENCE_S = 20.0
INLINE_BYTES = 16 * 1024


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.123456

    def __call__(self) -> float:
        """The time."""
        return self.now


def settings(
    *,
    max_artifact_bytes: int | None = None,
    quota_bytes: int | None = None,
    max_open_uploads: int = 64,
    keep_events: int = 10_000,
    reserve_step_bytes: int = 64 * 1024**2,
    sync_step_bytes: int = 256 * 1024**2,
    max_partials: int = 1024,
    partial_ttl_s: float = 86_400.0,
    scrub_bytes_per_s: float | None = 1024.0**3,
    inline_bytes: int = 0,
) -> StoreSettings:
    """Settings that do not depend on how full the machine's disk is, and keep each blob in a file."""
    return StoreSettings(
        max_artifact_bytes=max_artifact_bytes,
        quota_bytes=quota_bytes,
        min_free_bytes=0,
        max_open_uploads=max_open_uploads,
        keep_events=keep_events,
        reserve_step_bytes=reserve_step_bytes,
        sync_step_bytes=sync_step_bytes,
        max_partials=max_partials,
        partial_ttl_s=partial_ttl_s,
        scrub_bytes_per_s=scrub_bytes_per_s,
        inline_bytes=inline_bytes,
    )


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    """The chunks, one by one."""
    for chunk in chunks:
        yield chunk


async def read_all(store: ArtifactStore, artifact_id: str, *, offset: int = 0, length: int | None = None) -> bytes:
    """An artifact's bytes, or a range of them."""
    async with store.open_reader(artifact_id, offset=offset, length=length) as reader:
        return b"".join([piece async for piece in reader])


async def refused(call: Awaitable[object]) -> PagletError:
    """The error that a call must raise."""
    with pytest.raises(PagletError) as caught:
        await call
    return caught.value


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    """Returns once it holds; fails when that takes too long."""
    async with asyncio.timeout(PATIENCE_S):
        while not await holds():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


def names_in(folder: Path) -> set[str]:
    """What lies in a folder."""
    return {path.name for path in folder.iterdir()}


@contextmanager
def armed(action: Callable[[str], None]) -> Generator[None, None, None]:
    """Calls `action` with every fault point that is passed inside."""
    faults.arm(action)
    try:
        yield
    finally:
        faults.arm(None)


def bytes_on_disk(root: Path) -> int:
    """How many bytes lie in parts and blobs at one moment, at least: what was there before that moment and after."""
    before, after = _sizes(root), _sizes(root)
    return sum(min(size, after[inode]) for inode, size in before.items() if inode in after)


def is_empty(root: Path) -> bool:
    """Whether no file of parts or blobs is left."""
    return not _files(root / "parts") and not _files(root / "blobs")


def assert_consistent(root: Path) -> None:
    """Holds a quiet store's catalogue against its disk and its counters, and every blob against its name."""
    with sqlite3.connect(root / "artifacts.db") as rows:
        rows.row_factory = sqlite3.Row
        blobs = rows.execute("SELECT * FROM blobs").fetchall()
        wanted = {f"{row['digest'].hex()}.{row['generation']}" for row in blobs if row["generation"] > 0}
        small = {-row["generation"]: row["digest"] for row in blobs if row["generation"] < 0}
        inline = dict(rows.execute("SELECT number, data FROM inline_blobs").fetchall())
        (references,) = rows.execute("SELECT coalesce(sum(refs), 0) FROM blobs").fetchone()
        (artifacts,) = rows.execute("SELECT count(*) FROM artifacts").fetchone()
        (dangling,) = rows.execute(
            "SELECT count(*) FROM artifacts a LEFT JOIN blobs b ON b.number = a.blob"
            " WHERE b.digest IS NULL OR a.digest <> b.digest OR a.size <> b.size"
        ).fetchone()
        (tombstones,) = rows.execute("SELECT count(*) FROM tombstones").fetchone()
        (unfinished,) = rows.execute("SELECT count(*) FROM uploads WHERE state <> 'done' OR reserved > 0").fetchone()
        owned = dict(rows.execute("SELECT 'owner:' || owner, sum(size) FROM artifacts WHERE owner <> '' GROUP BY 1"))
        counted = dict(rows.execute("SELECT scope, used FROM usage WHERE scope <> 'host' AND used + reserved > 0"))
        (untold,) = rows.execute(
            "SELECT count(*) FROM artifacts a WHERE NOT EXISTS"
            " (SELECT 1 FROM events e WHERE e.etag = a.etag AND e.kind IN ('created', 'updated'))"
        ).fetchone()
        first, last, told = rows.execute("SELECT min(revision), max(revision), count(*) FROM events").fetchone()
        used, reserved = rows.execute("SELECT used, reserved FROM usage WHERE scope = 'host'").fetchone()
    rows.close()
    assert {scope: size for scope, size in owned.items() if size} == counted
    assert len({row["digest"] for row in blobs}) == len(blobs)
    assert untold == 0
    assert told == 0 or (first, told) == (1, last)
    found = {path.name: path for path in _files(root / "blobs")}
    assert set(found) == wanted
    assert not _files(root / "parts")
    assert (references, dangling, tombstones, unfinished, reserved) == (artifacts, 0, 0, 0, 0)
    assert used == sum(row["size"] for row in blobs) == bytes_on_disk(root) + sum(map(len, inline.values()))
    assert {number: Digest.of(data).value for number, data in inline.items()} == small
    for name, path in found.items():
        assert Digest.of(path.read_bytes()).hex == name.partition(".")[0]


async def cancel_all(store: ArtifactStore) -> int:
    """Cancels every unfinished upload; says how many there were."""
    found = (await store.uploads(page_size=1000)).uploads
    for info in found:
        assert await store.cancel_upload(info.upload_id)
    return len(found)


def fill(root: Path, refs: Iterable[ArtifactRef]) -> None:
    """Puts artifacts of a few bytes into the catalogue of a store, at once, however many; their blobs have no files."""
    with sqlite3.connect(root / "artifacts.db", timeout=30) as rows:
        rows.row_factory = sqlite3.Row
        for ref in refs:
            if rows.execute("SELECT 1 FROM blobs WHERE substr(digest, 1, 8) = ?", (ref.digest.value[:8],)).fetchone():
                hold(rows, ref.digest.value)
            else:
                make_current(rows, Blob(ref.digest.value, 0, ref.size_bytes), now=0)
            insert_artifact(rows, ref, Limits())
    rows.close()


async def put(store: ArtifactStore, data: bytes, *, artifact_id: str = "", ttl_s: float | None = None) -> str:
    """Stores bytes; gives the artifact's id."""
    write = ArtifactWrite(artifact_id=artifact_id, ttl_s=ttl_s)
    return (await store.create_from_chunks(write, pieces(data))).ref.artifact_id


@asynccontextmanager
async def opened(
    root: Path, clock: Clock | None = None, bounds: StoreSettings | None = None
) -> AsyncGenerator[LocalArtifactStore, None]:
    """The store in a folder, settled."""
    store = await LocalArtifactStore.open(root, "alpha", bounds or settings(), clock=clock or time.time)
    try:
        await store.settled()
        yield store
    finally:
        await store.close()


def _sizes(root: Path) -> dict[int, int]:
    """The size of each file by its number, which stays when the file is renamed meanwhile."""
    found: dict[int, int] = {}
    for folder in (root / "parts", *(root / "blobs").iterdir()):
        with os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat()
                    found[status.st_ino] = status.st_size
    return found


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
