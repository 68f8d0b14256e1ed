"""What was written to the rows of a SQLite directory: each write leaves an event, in its own transaction.

Events have the revisions of the writes, so they are counted without gaps. The last are kept, bounded in number and age;
what is forgotten is always the oldest. This file must never decide whether a write is made.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from paglets.cursors import Kept
from paglets.directory.contract import Intent, PagletRow, RowEvent, RowWrite
from paglets.values import PagletState

__all__ = ["EventFilter", "event_of", "events_after", "forget_events", "history", "kept", "note_events"]

_NOTE = """
INSERT INTO events (revision, paglet_id, type, owner, former_owner, state, epoch, cause, transfer_id, target, error,
    happened_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_AFTER = "SELECT * FROM events WHERE revision > ? ORDER BY revision LIMIT ?"
_HISTORY = "SELECT * FROM events WHERE paglet_id = ? AND revision > ? ORDER BY revision LIMIT ?"
_KEPT = "SELECT life, revision, forgotten FROM counter"
_OLDEST = "SELECT revision, happened_at FROM events ORDER BY revision LIMIT ?"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events are of interest; empty fields stand for any."""

    owner: str = ""
    type_name: str = ""
    paglet_id: str = ""

    def takes(self, event: RowEvent) -> bool:
        """Whether all that is asked for is so. A host cares for what it owns, and for what it owned until then."""
        return (
            self.owner in {"", event.owner, event.former_owner}
            and self.type_name in {"", event.type}
            and self.paglet_id in {"", event.paglet_id}
        )


def event_of(write: RowWrite, made: PagletRow, transfers: Mapping[str, str], now: float) -> RowEvent:
    """The event of a write that was made; `transfers` are the journeys of paglets told of in the same batch."""
    intent = made.intent or Intent("", "")
    guarded = "" if write.guard.absent else write.guard.transfer_id
    return RowEvent(
        revision=made.revision,
        paglet_id=made.paglet_id,
        type=made.type,
        owner=made.owner,
        former_owner="" if write.guard.absent else write.guard.owner,
        state=made.state,
        epoch=made.epoch,
        cause=write.cause,
        transfer_id=intent.transfer_id or guarded or transfers.get(made.paglet_id, ""),
        target=intent.target,
        error=made.error,
        happened_at=now,
    )


def note_events(connection: sqlite3.Connection, events: Sequence[RowEvent]) -> None:
    """Keeps events of new revisions."""
    connection.executemany(
        _NOTE,
        [
            (
                *(event.revision, event.paglet_id, event.type, event.owner, event.former_owner, event.state.value),
                *(event.epoch, event.cause, event.transfer_id, event.target, event.error, event.happened_at),
            )
            for event in events
        ],
    )


def forget_events(connection: sqlite3.Connection, last: int, new: int, keep: int, before: float) -> None:
    """Forgets the oldest events: those beyond the `keep` up to `last`, and those from before a time.

    The time must have come for each of them in turn, so that what is kept never has a gap. It is not worth a look after
    each of the `new` events, only once in a thousandth of `keep`: by so many more may be kept.
    """
    at_once = max(1, keep // 1000)
    if last % at_once >= new:
        return
    limit = 2 * max(at_once, new)  # more than have come: where fewer are kept from now on, the rest goes bit by bit
    forgotten = 0
    for row in connection.execute(_OLDEST, (limit,)):
        if row["revision"] > last - keep and row["happened_at"] >= before:
            break
        forgotten = row["revision"]
    if forgotten:
        connection.execute("DELETE FROM events WHERE revision <= ?", (forgotten,))
        connection.execute("UPDATE counter SET forgotten = ?", (forgotten,))


def kept(connection: sqlite3.Connection) -> Kept:
    """What is kept now."""
    row = connection.execute(_KEPT).fetchone()
    return Kept(row["life"], row["revision"], row["forgotten"])


def events_after(connection: sqlite3.Connection, revision: int, limit: int) -> tuple[list[RowEvent], Kept]:
    """Up to `limit` events in order, and what is kept.

    That is read last: if nothing after `revision` is forgotten by then, nothing was when the events were read.
    """
    found = [_event(row) for row in connection.execute(_AFTER, (revision, limit))]
    return found, kept(connection)


def history(connection: sqlite3.Connection, paglet_id: str, after: int, limit: int) -> list[RowEvent]:
    """What became of one id after a revision, in order."""
    return [_event(row) for row in connection.execute(_HISTORY, (paglet_id, after, limit))]


def _event(row: sqlite3.Row) -> RowEvent:
    return RowEvent(
        revision=row["revision"],
        paglet_id=row["paglet_id"],
        type=row["type"],
        owner=row["owner"],
        former_owner=row["former_owner"],
        state=PagletState(row["state"]),
        epoch=row["epoch"],
        cause=row["cause"],
        transfer_id=row["transfer_id"],
        target=row["target"],
        error=row["error"],
        happened_at=row["happened_at"],
    )
