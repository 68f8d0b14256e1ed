"""The tables of a SQLite directory and what is done to the rows of paglets and journeys, each inside one transaction.

This file decides nothing: the rules are in `rules`, and who may call when is in `sqlite`.

A journey's record is deleted by the host that the paglet left. Where that host never comes back the record stays: it is
read by its transfer id alone, so it costs its bytes and harms nobody.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from paglets.directory.contract import Intent, JourneyRecord, PagletRow, PagletState, RowWrite
from paglets.directory.events import event_of, note_events
from paglets.directory.rules import fenced, holds, next_version
from paglets.directory.services import end_services

__all__ = [
    "LAYOUT",
    "SCHEMA",
    "find_journey",
    "find_row",
    "list_rows",
    "prune_tombstones",
    "rows_after",
    "write_batch",
]

LAYOUT = 3

# `forgotten` is the last revision whose event is no longer kept; `changed_at` is for pruning alone. The indices leave
# tombstones out wherever no query asks for them; a query uses such an index only if it has the same condition, letter
# by letter. Owners are counted from their index alone, so it holds the state that the condition reads.
SCHEMA = """
CREATE TABLE counter (
    revision INTEGER NOT NULL,
    life TEXT NOT NULL,
    forgotten INTEGER NOT NULL
) STRICT;
INSERT INTO counter VALUES (0, lower(hex(randomblob(8))), 0);
CREATE TABLE events (
    revision INTEGER PRIMARY KEY,
    paglet_id TEXT NOT NULL,
    type TEXT NOT NULL,
    owner TEXT NOT NULL,
    former_owner TEXT NOT NULL,
    state TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    cause TEXT NOT NULL,
    transfer_id TEXT NOT NULL,
    target TEXT NOT NULL,
    error TEXT NOT NULL,
    happened_at REAL NOT NULL
) STRICT;
CREATE INDEX events_by_paglet ON events (paglet_id, revision);
CREATE TABLE paglets (
    paglet_id TEXT PRIMARY KEY,
    type TEXT NOT NULL,
    owner TEXT NOT NULL,
    state TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    transfer_id TEXT NOT NULL,
    target TEXT NOT NULL,
    revision INTEGER NOT NULL,
    request_id TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    created_at REAL NOT NULL,
    error TEXT NOT NULL,
    earlier_request_id TEXT NOT NULL,
    changed_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX paglets_by_revision ON paglets (revision);
CREATE INDEX paglets_by_owner ON paglets (owner, paglet_id, state) WHERE state <> 'disposed';
CREATE INDEX paglets_by_type ON paglets (type, paglet_id) WHERE state <> 'disposed';
CREATE INDEX paglets_by_target ON paglets (target) WHERE target <> '';
CREATE INDEX tombstones ON paglets (changed_at) WHERE state = 'disposed';
CREATE TABLE journeys (
    transfer_id TEXT PRIMARY KEY,
    paglet_id TEXT NOT NULL,
    source TEXT NOT NULL,
    target TEXT NOT NULL,
    state TEXT NOT NULL,
    status BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE hosts (
    name TEXT PRIMARY KEY,
    uid TEXT NOT NULL,
    address TEXT NOT NULL,
    version TEXT NOT NULL,
    types TEXT NOT NULL,
    tags TEXT NOT NULL,
    properties TEXT NOT NULL,
    seen_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    load REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE services (
    paglet_id TEXT NOT NULL,
    service TEXT NOT NULL,
    declared_by TEXT NOT NULL,
    advertiser TEXT NOT NULL,
    scope TEXT NOT NULL,
    operations TEXT NOT NULL,
    tags TEXT NOT NULL,
    expires_at REAL,
    PRIMARY KEY (paglet_id, service, declared_by)
) STRICT, WITHOUT ROWID;
CREATE INDEX services_by_end ON services (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX services_by_host ON services (declared_by) WHERE declared_by <> '';
"""


def find_row(connection: sqlite3.Connection, paglet_id: str) -> PagletRow | None:
    """The row of a paglet, a tombstone included."""
    found = connection.execute("SELECT * FROM paglets WHERE paglet_id = ?", (paglet_id,)).fetchone()
    return _row(found) if found else None


def list_rows(
    connection: sqlite3.Connection, after: str, limit: int, owner: str, type_name: str, *, awake: bool
) -> list[PagletRow]:
    """Live rows after an id, ordered by id; an empty `owner` or `type_name` stands for any."""
    conditions, values = ["paglet_id > ?", "state <> 'disposed'"], [after]
    if awake:
        conditions.append("state <> 'inactive'")
    for column, wanted in (("owner", owner), ("type", type_name)):
        if wanted:
            conditions.append(f"{column} = ?")
            values.append(wanted)
    query = f"SELECT * FROM paglets WHERE {' AND '.join(conditions)} ORDER BY paglet_id LIMIT ?"  # noqa: S608 - the conditions are the constants above
    return [_row(found) for found in connection.execute(query, (*values, limit))]


def rows_after(connection: sqlite3.Connection, revision: int, limit: int) -> list[PagletRow]:
    """Rows of greater revisions, lowest first, tombstones included."""
    (last,) = connection.execute("SELECT revision FROM counter").fetchone()
    query = "SELECT * FROM paglets WHERE revision > ? ORDER BY revision LIMIT ?"
    if revision > last:  # it is one of a directory that was lost: this one begins anew
        revision = 0
    return [_row(found) for found in connection.execute(query, (revision, limit))]


def write_batch(
    connection: sqlite3.Connection,
    writes: Sequence[RowWrite],
    now: float,
    journeys: Sequence[JourneyRecord] = (),
    above: int = 0,
) -> list[PagletRow]:
    """Makes the writes in order, each guard seeing the writes before it; EPOCH_FENCED at the first that does not hold.

    Their revisions are greater than `above`. Each leaves an event, which belongs to the journey whose record is written
    with it. The caller's transaction undoes what was written before the failure.
    """
    (last,) = connection.execute("SELECT revision FROM counter").fetchone()
    revision = max(last, above)
    written: list[PagletRow] = []
    for revision_of_write, write in enumerate(writes, start=revision + 1):
        found = find_row(connection, write.guard.paglet_id)
        if not holds(write.guard, found):
            raise fenced(write.guard, found)
        written.append(next_version(write, found, revision_of_write, now))
        _put_row(connection, written[-1], now)
        if written[-1].state is PagletState.DISPOSED:
            end_services(connection, written[-1].paglet_id)
    connection.execute("UPDATE counter SET revision = ?", (revision + len(written),))
    transfers = {record.paglet_id: record.transfer_id for record in journeys}
    note_events(connection, [event_of(*made, transfers, now) for made in zip(writes, written, strict=True)])
    return written


def find_journey(connection: sqlite3.Connection, transfer_id: str) -> JourneyRecord | None:
    """The record of a journey."""
    found = connection.execute("SELECT * FROM journeys WHERE transfer_id = ?", (transfer_id,)).fetchone()
    return _journey(found) if found else None


def write_journeys(connection: sqlite3.Connection, journeys: Sequence[JourneyRecord], forget: Sequence[str]) -> None:
    """Inserts records of journeys that begin, notes how others ended, then deletes those to be forgotten.

    An outcome that is told again, because its first answer was lost, must not bring back what its source has forgotten.
    """
    begun = [one for one in journeys if one.state is PagletState.ARRIVING]
    ended = [one for one in journeys if one.state is not PagletState.ARRIVING]
    connection.executemany(
        "REPLACE INTO journeys (transfer_id, paglet_id, source, target, state, status) VALUES (?, ?, ?, ?, ?, ?)",
        [(one.transfer_id, one.paglet_id, one.source, one.target, one.state.value, one.status) for one in begun],
    )
    connection.executemany(
        "UPDATE journeys SET state = ?, status = ? WHERE transfer_id = ?",
        [(one.state.value, one.status, one.transfer_id) for one in ended],
    )
    connection.executemany("DELETE FROM journeys WHERE transfer_id = ?", [(transfer_id,) for transfer_id in forget])


def prune_tombstones(connection: sqlite3.Connection, before: float) -> int:
    """Deletes tombstones older than a time; says how many. The counter stays, so no epoch comes twice."""
    return connection.execute("DELETE FROM paglets WHERE state = 'disposed' AND changed_at < ?", (before,)).rowcount


def _put_row(connection: sqlite3.Connection, row: PagletRow, now: float) -> None:
    intent = row.intent or Intent("", "")
    connection.execute(
        "REPLACE INTO paglets (paglet_id, type, owner, state, epoch, transfer_id, target, revision, request_id,"
        " fingerprint, created_at, error, earlier_request_id, changed_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(row.paglet_id, row.type, row.owner, row.state.value, row.epoch, intent.transfer_id, intent.target),
            *(row.revision, row.request_id, row.fingerprint, row.created_at, row.error, row.earlier_request_id, now),
        ),
    )


def _row(found: sqlite3.Row) -> PagletRow:
    return PagletRow(
        paglet_id=found["paglet_id"],
        type=found["type"],
        owner=found["owner"],
        state=PagletState(found["state"]),
        epoch=found["epoch"],
        intent=Intent(found["transfer_id"], found["target"]) if found["transfer_id"] else None,
        revision=found["revision"],
        request_id=found["request_id"],
        fingerprint=found["fingerprint"],
        created_at=found["created_at"],
        error=found["error"],
        earlier_request_id=found["earlier_request_id"],
    )


def _journey(found: sqlite3.Row) -> JourneyRecord:
    return JourneyRecord(
        transfer_id=found["transfer_id"],
        paglet_id=found["paglet_id"],
        source=found["source"],
        target=found["target"],
        state=PagletState(found["state"]),
        status=found["status"],
    )
