"""The tables of a host's journal, and what is done to their rows inside a transaction. Plain functions.

This file must never know when anything is written.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from paglets.core.turn import OwnRequest
from paglets.errors import ConflictError, Resource
from paglets.host.files import RegisteredFile
from paglets.host.records import Arrival, StoredPaglet, StoredPull, StoredReply
from paglets.values import DeactivationPolicy

__all__ = [
    "LAYOUT",
    "SCHEMA",
    "drop_own_request",
    "forget_paglet",
    "not_kept",
    "pull_of",
    "put_arrival",
    "put_dormant",
    "put_files",
    "put_own_request",
    "put_paglet",
    "put_replies",
    "reply_of",
    "update_paglet",
]

LAYOUT = 5
SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE paglets (
    paglet_id TEXT PRIMARY KEY, type TEXT NOT NULL, epoch INTEGER NOT NULL,
    state BLOB NOT NULL, state_version INTEGER NOT NULL);
CREATE TABLE replies (
    paglet_id TEXT NOT NULL, principal TEXT NOT NULL, request_id TEXT NOT NULL, fingerprint BLOB NOT NULL,
    create_ms INTEGER NOT NULL, reply BLOB NOT NULL, status BLOB NOT NULL, dropped INTEGER NOT NULL,
    PRIMARY KEY (paglet_id, principal, request_id)) WITHOUT ROWID;
CREATE TABLE files (
    paglet_id TEXT NOT NULL, name TEXT NOT NULL, file BLOB NOT NULL, PRIMARY KEY (paglet_id, name)) WITHOUT ROWID;
CREATE TABLE own_requests (paglet_id TEXT PRIMARY KEY, request BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE posts (
    paglet_id TEXT NOT NULL, number INTEGER NOT NULL, dead INTEGER NOT NULL, post BLOB NOT NULL,
    PRIMARY KEY (paglet_id, number));
CREATE TABLE outbox (
    paglet_id TEXT NOT NULL, request_id TEXT NOT NULL, number INTEGER NOT NULL, post BLOB NOT NULL,
    PRIMARY KEY (paglet_id, request_id));
CREATE TABLE events (
    paglet_id TEXT NOT NULL, cursor INTEGER NOT NULL, total INTEGER NOT NULL, type_url TEXT NOT NULL,
    value BLOB NOT NULL, create_ms INTEGER NOT NULL, PRIMARY KEY (paglet_id, cursor));
CREATE TABLE dormant (
    paglet_id TEXT PRIMARY KEY, policy BLOB NOT NULL, on_startup INTEGER NOT NULL, activate_at REAL) WITHOUT ROWID;
CREATE INDEX dormant_by_time ON dormant (activate_at) WHERE activate_at IS NOT NULL;
CREATE INDEX dormant_on_startup ON dormant (paglet_id) WHERE on_startup;
CREATE TABLE departures (transfer_id TEXT PRIMARY KEY, departure BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE arrivals (
    transfer_id TEXT PRIMARY KEY, phase TEXT NOT NULL, attempt INTEGER NOT NULL,
    manifest BLOB NOT NULL, snapshot BLOB NOT NULL, status BLOB NOT NULL);
CREATE TABLE partings (
    paglet_id TEXT PRIMARY KEY, type TEXT NOT NULL, epoch INTEGER NOT NULL, target TEXT NOT NULL,
    parted_at REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX partings_by_time ON partings (parted_at);
CREATE TABLE pulls (pull_id TEXT PRIMARY KEY, ended_at REAL NOT NULL, pull BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX pulls_by_end ON pulls (ended_at);
"""


def not_kept(paglet_id: str, why: str) -> ConflictError:
    """What a write about a paglet that is not kept here raises."""
    return ConflictError("EPOCH_FENCED", f"paglet {paglet_id} {why}", resource=Resource("paglet", paglet_id))


def forget_paglet(db: sqlite3.Connection, paglet_id: str) -> None:
    """Drops a paglet with all that belongs to it."""
    db.execute("DELETE FROM paglets WHERE paglet_id = ?", (paglet_id,))
    db.execute("DELETE FROM replies WHERE paglet_id = ?", (paglet_id,))
    db.execute("DELETE FROM files WHERE paglet_id = ?", (paglet_id,))
    db.execute("DELETE FROM own_requests WHERE paglet_id = ?", (paglet_id,))
    db.execute("DELETE FROM dormant WHERE paglet_id = ?", (paglet_id,))
    db.execute("DELETE FROM posts WHERE paglet_id = ?", (paglet_id,))
    db.execute("DELETE FROM events WHERE paglet_id = ?", (paglet_id,))


def put_paglet(db: sqlite3.Connection, paglet: StoredPaglet) -> bool:
    """Keeps a paglet that is not kept yet; False when one of its id is."""
    row = (paglet.paglet_id, paglet.type, paglet.epoch, paglet.state, paglet.state_version)
    return db.execute("INSERT INTO paglets VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", row).rowcount > 0


def update_paglet(db: sqlite3.Connection, paglet: StoredPaglet) -> bool:
    """Keeps a paglet that is kept already as it is now; False when it is not."""
    row = (paglet.epoch, paglet.state, paglet.state_version, paglet.paglet_id)
    statement = "UPDATE paglets SET epoch = ?, state = ?, state_version = ? WHERE paglet_id = ?"
    return db.execute(statement, row).rowcount > 0


def put_dormant(db: sqlite3.Connection, paglet_id: str, policy: DeactivationPolicy) -> None:
    """Keeps what is to bring an inactive paglet back."""
    row = (paglet_id, msgspec.msgpack.encode(policy), policy.activate_on_startup, policy.activate_at)
    db.execute("INSERT OR REPLACE INTO dormant VALUES (?, ?, ?, ?)", row)


def put_replies(
    db: sqlite3.Connection,
    paglet_id: str,
    replies: Sequence[StoredReply],
    evicted: Sequence[tuple[str, str]] = (),
) -> None:
    """Keeps outcomes of requests, replacing those of the same keys, and drops the evicted."""
    for key in evicted:
        db.execute("DELETE FROM replies WHERE paglet_id = ? AND principal = ? AND request_id = ?", (paglet_id, *key))
    rows = [
        (
            paglet_id,
            kept.principal,
            kept.request_id,
            kept.fingerprint,
            kept.create_ms,
            kept.reply,
            kept.status,
            kept.dropped,
        )
        for kept in replies
    ]
    db.executemany("INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)


def put_files(db: sqlite3.Connection, paglet_id: str, files: Sequence[RegisteredFile]) -> None:
    """Keeps registrations, replacing those of the same names."""
    rows = [(paglet_id, file.name, msgspec.msgpack.encode(file)) for file in files]
    db.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", rows)


def put_own_request(db: sqlite3.Connection, paglet_id: str, request: OwnRequest | None) -> None:
    """Keeps what a paglet asked to be done with itself, if it asked for anything."""
    if request is not None:
        row = (paglet_id, msgspec.msgpack.encode(request))
        db.execute("INSERT OR REPLACE INTO own_requests VALUES (?, ?)", row)


def drop_own_request(db: sqlite3.Connection, paglet_id: str, request: OwnRequest) -> None:
    """Drops what a paglet asked for, unless it asked for something else since."""
    row = (paglet_id, msgspec.msgpack.encode(request))
    db.execute("DELETE FROM own_requests WHERE paglet_id = ? AND request = ?", row)


def put_arrival(db: sqlite3.Connection, arrival: Arrival) -> None:
    """Keeps a transfer to this host as it is now."""
    row = (arrival.transfer_id, arrival.phase, arrival.attempt, arrival.manifest, arrival.snapshot, arrival.status)
    db.execute("INSERT OR REPLACE INTO arrivals VALUES (?, ?, ?, ?, ?, ?)", row)


def reply_of(row: sqlite3.Row) -> StoredReply:
    """The outcome of a request."""
    return StoredReply(
        principal=row["principal"],
        request_id=row["request_id"],
        fingerprint=row["fingerprint"],
        create_ms=row["create_ms"],
        reply=row["reply"],
        status=row["status"],
        dropped=bool(row["dropped"]),
    )


def pull_of(row: sqlite3.Row) -> StoredPull:
    """A pull."""
    return msgspec.msgpack.decode(row["pull"], type=StoredPull)
