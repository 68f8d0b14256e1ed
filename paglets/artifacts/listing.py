"""Lists of artifacts: which rows meet a query, and in which order.

A page begins after a row, not after a number of rows, so that what comes and goes before it moves nothing.
"""

from __future__ import annotations

import sqlite3

from paglets.artifacts.paging import Position
from paglets.artifacts.store import ArtifactOrder, ArtifactQuery

__all__ = ["page_statement", "read_page"]

_ORDERS = {
    ArtifactOrder.ID: ("artifact_id",),
    ArtifactOrder.CREATE_TIME: ("created_at", "artifact_id"),
    ArtifactOrder.SIZE: ("size", "artifact_id"),
    ArtifactOrder.NAME: ("name", "artifact_id"),
}
_ALIVE = "(expires_at IS NULL OR expires_at > :now)"
# No byte of a text is FF, so it comes after whatever goes on from the prefix.
_PREFIX = {">": "name >= :prefix", "<": "name < :prefix || CAST(x'FF' AS TEXT)"}
# The health of the bytes is looked up for the rows of the page alone; it is no part of how they are found.
_SELECT = """SELECT *, (SELECT corrupt FROM blobs b WHERE b.number = artifacts.blob) AS corrupt,
(SELECT last_verified_at FROM blobs b WHERE b.number = artifacts.blob) AS last_verified_at FROM artifacts WHERE"""
_LABEL = "EXISTS (SELECT 1 FROM json_each(labels) WHERE key = :key{0} AND :value{0} IN ('', value))"


def read_page(
    connection: sqlite3.Connection, query: ArtifactQuery, start: Position | None, now: float, limit: int
) -> list[sqlite3.Row]:
    """Up to `limit` rows that have not expired, from the one after `start`, or from the first."""
    text, values = page_statement(query, start)
    return connection.execute(text, {**values, "now": now, "limit": limit}).fetchall()


def page_statement(query: ArtifactQuery, start: Position | None) -> tuple[str, dict[str, object]]:
    """The statement that reads a page, and its values but for `now` and `limit`."""
    columns = _ORDERS[query.order_by]
    way, beyond = ("DESC", "<") if query.descending else ("ASC", ">")
    values: dict[str, object] = {"owner": query.owner, "prefix": query.name_prefix}
    terms = [_ALIVE]
    if query.owner is not None:
        terms.append("owner = :owner")
    if query.name_prefix:
        # By name, where a page starts is a bound itself, and SQLite goes by one on each side, not always the nearer.
        passed = beyond if start is not None and query.order_by is ArtifactOrder.NAME else ""
        terms += [bound for side, bound in _PREFIX.items() if side != passed]
    for number, (key, value) in enumerate(query.labels.items()):
        terms.append(_LABEL.format(number))
        values |= {f"key{number}": key, f"value{number}": value}
    if start is not None:
        values |= {"after_artifact_id": start.artifact_id, f"after_{columns[0]}": start.key}
        terms.append(f"({', '.join(columns)}) {beyond} ({', '.join(f':after_{column}' for column in columns)})")
    order = ", ".join(f"{column} {way}" for column in columns)
    parts = (_SELECT, " AND ".join(terms), "ORDER BY", order, "LIMIT :limit")
    return " ".join(parts), values
