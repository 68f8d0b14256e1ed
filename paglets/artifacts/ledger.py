"""The store's database: its tables, durable writes, and the news that there was one.

This file must never know what the rows mean; `references`, `uploads` and `catalogue` do.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from paglets.artifacts import refusals
from paglets.artifacts.disk import unbroken
from paglets.artifacts.spare import SpareRoom
from paglets.errors import ExhaustedError
from paglets.offloop import off_loop
from paglets.sqlite import Database

__all__ = ["Ledger"]

T = TypeVar("T")

LAYOUT = 3
# Digests come in no order, so a commit of new blobs writes pages all over an index of them: that one holds their first
# bytes alone, which makes it a fifth as large. All else is found by numbers, which come in order.
_SCHEMA = """
CREATE TABLE usage (
    scope TEXT PRIMARY KEY,
    used INTEGER NOT NULL CHECK (used >= 0),
    reserved INTEGER NOT NULL CHECK (reserved >= 0)
) WITHOUT ROWID;
INSERT INTO usage VALUES ('host', 0, 0);

CREATE TABLE generations (last INTEGER NOT NULL);
INSERT INTO generations VALUES (0);

CREATE TABLE history (life TEXT NOT NULL, last INTEGER NOT NULL, keep INTEGER NOT NULL);
INSERT INTO history VALUES (lower(hex(randomblob(8))), 0, 10000);

CREATE TABLE events (
    revision INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    happened_at REAL NOT NULL,
    artifact_id TEXT NOT NULL,
    digest BLOB NOT NULL,
    size INTEGER NOT NULL,
    name TEXT NOT NULL,
    owner TEXT NOT NULL,
    owner_policy TEXT NOT NULL,
    content_type TEXT NOT NULL,
    content_encoding TEXT NOT NULL,
    labels TEXT NOT NULL,
    created_at REAL NOT NULL,
    expires_at REAL,
    etag TEXT NOT NULL,
    updated_at REAL NOT NULL
);

CREATE TABLE blobs (
    number INTEGER PRIMARY KEY,
    digest BLOB NOT NULL,
    size INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    refs INTEGER NOT NULL CHECK (refs > 0),
    corrupt INTEGER NOT NULL DEFAULT 0,
    last_verified_at REAL NOT NULL
);
CREATE INDEX blobs_by_digest ON blobs (substr(digest, 1, 8));
CREATE INDEX blobs_by_proof ON blobs (last_verified_at, digest) WHERE NOT corrupt;

CREATE TABLE inline_blobs (number INTEGER PRIMARY KEY, data BLOB NOT NULL);

CREATE TABLE tombstones (
    digest BLOB NOT NULL,
    generation INTEGER NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY (digest, generation)
) WITHOUT ROWID;

CREATE TABLE artifacts (
    artifact_id TEXT PRIMARY KEY,
    blob INTEGER NOT NULL REFERENCES blobs (number),
    digest BLOB NOT NULL,
    size INTEGER NOT NULL,
    name TEXT NOT NULL,
    owner TEXT NOT NULL,
    owner_policy TEXT NOT NULL,
    content_type TEXT NOT NULL,
    content_encoding TEXT NOT NULL,
    labels TEXT NOT NULL,
    created_at REAL NOT NULL,
    expires_at REAL,
    etag TEXT NOT NULL,
    updated_at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX artifacts_of_owner ON artifacts (owner, artifact_id);
CREATE INDEX artifacts_of_owner_by_time ON artifacts (owner, created_at, artifact_id);
CREATE INDEX artifacts_by_time ON artifacts (created_at, artifact_id);
CREATE INDEX artifacts_by_size ON artifacts (size, artifact_id);
CREATE INDEX artifacts_by_name ON artifacts (name, artifact_id);
CREATE INDEX artifacts_by_expiry ON artifacts (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX artifacts_of_blob ON artifacts (blob, owner);

CREATE TABLE uploads (
    upload_id TEXT PRIMARY KEY,
    artifact_id TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'intent', 'done')),
    request TEXT NOT NULL,
    expected_size INTEGER,
    expected_digest BLOB,
    reserved INTEGER NOT NULL CHECK (reserved >= 0),
    writer_epoch INTEGER NOT NULL,
    durable INTEGER NOT NULL DEFAULT 0,
    boot TEXT NOT NULL,
    created_at REAL NOT NULL,
    touched_at REAL NOT NULL,
    digest BLOB,
    size INTEGER,
    generation INTEGER,
    held INTEGER NOT NULL DEFAULT 0,
    done_at REAL
) WITHOUT ROWID;
CREATE INDEX uploads_by_artifact ON uploads (artifact_id) WHERE state <> 'done';
CREATE INDEX uploads_unfinished ON uploads (upload_id) WHERE state <> 'done';
CREATE INDEX uploads_by_end ON uploads (done_at) WHERE state = 'done'
"""


class Ledger:
    """One database of a store. A write whose caller is cancelled is still made, and awaited."""

    def __init__(self, path: Path, spare: SpareRoom) -> None:
        self._database = Database(path, _SCHEMA, version=LAYOUT)
        self._spare = spare
        self._closed = False
        self._changed = asyncio.Event()

    @property
    def changed(self) -> asyncio.Event:
        """Set when a write is durable that is not yet, or by `wake`; take it before you read, then wait for it."""
        return self._changed

    def wake(self) -> None:
        """Sets the event that is waited for, and lays out the next."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Makes one durable write. Raises what `work` raises, DISK_FULL, SHUTTING_DOWN; then nothing was written.

        After any other `sqlite3.Error` it is unknown whether the write will be there after a restart.
        """
        self._check_open()
        try:
            written = self._database.submit(work)
            written.add_done_callback(lambda _: self.wake())
            return await unbroken(written)
        except sqlite3.Error as error:
            full = refusals.full_disk_in(error)
            if full is None:
                raise
            raise full from error

    async def free(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Makes a write that gives room back; on a full disk it may use the spare room. Raises as `write` does."""
        try:
            return await self.write(work)
        except ExhaustedError:
            if not await off_loop(self._spare.spend):
                raise
        return await self.write(work)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `work` on what is committed."""
        self._check_open()
        return await self._database.read(work)

    async def close(self) -> None:
        """Finishes what was submitted and closes the file."""
        self._closed = True
        await self._database.close()

    def _check_open(self) -> None:
        if self._closed:
            raise refusals.shutting_down()
