"""The services that a SQLite directory knows of, each function inside one transaction.

A record names its paglet; which host that is on is read from the paglet's row. This file decides nothing.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from functools import lru_cache

from paglets.discovery import ServiceRecord, ServiceScope
from paglets.errors import InvalidArgumentError, NotFoundError, Resource

__all__ = ["advertise", "any_answered", "declare", "end_services", "list_services", "withdraw"]

_MAX_SERVICES = 100
_PUT = """
REPLACE INTO services (paglet_id, service, declared_by, advertiser, scope, operations, tags, expires_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_LIST = """
SELECT services.*, paglets.owner FROM services
LEFT JOIN paglets ON paglets.paglet_id = services.paglet_id AND paglets.state <> 'disposed'
WHERE (scope = 'mesh' OR advertiser = ?) AND (expires_at IS NULL OR expires_at > ?)
AND (paglets.state IS NULL OR paglets.state NOT IN ('failed', 'quarantined'))
"""


def advertise(
    connection: sqlite3.Connection, record: ServiceRecord, now: float, ttl_s: float | None
) -> tuple[str, float | None]:
    """Writes the record of a living paglet; its owner and when it ends. PAGLET_NOT_FOUND for one that is not there."""
    query = "SELECT owner FROM paglets WHERE paglet_id = ? AND state <> 'disposed'"
    found = connection.execute(query, (record.paglet_id,)).fetchone()
    if found is None:
        raise NotFoundError(
            "PAGLET_NOT_FOUND",
            f"no paglet {record.paglet_id} in this mesh, to answer {record.service}",
            resource=Resource("paglet", record.paglet_id),
        )
    connection.execute("DELETE FROM services WHERE expires_at <= ?", (now,))
    others = "SELECT count(*) FROM services WHERE paglet_id = ? AND service <> ? AND declared_by = ''"
    (number,) = connection.execute(others, (record.paglet_id, record.service)).fetchone()
    if number >= _MAX_SERVICES:
        raise InvalidArgumentError(
            "MALFORMED_REQUEST", f"a paglet advertises at most {_MAX_SERVICES} services", field="service"
        )
    expires_at = None if ttl_s is None else now + ttl_s
    connection.execute(_PUT, _values(record, "", expires_at))
    return found["owner"], expires_at


def withdraw(connection: sqlite3.Connection, service: str, paglet_id: str) -> None:
    """Deletes what a paglet advertised of one service."""
    connection.execute(
        "DELETE FROM services WHERE paglet_id = ? AND service = ? AND declared_by = ''", (paglet_id, service)
    )


def declare(connection: sqlite3.Connection, host: str, records: Iterable[ServiceRecord]) -> None:
    """Writes what a host declares, in place of what it declared before."""
    connection.execute("DELETE FROM services WHERE declared_by = ? AND declared_by <> ''", (host,))
    connection.executemany(_PUT, [_values(record, host, None) for record in records])


def end_services(connection: sqlite3.Connection, paglet_id: str) -> None:
    """Deletes all that a paglet advertised, which is no more; what hosts declare stays."""
    connection.execute("DELETE FROM services WHERE paglet_id = ? AND declared_by = ''", (paglet_id,))


def any_answered(connection: sqlite3.Connection, paglet_ids: Sequence[str]) -> bool:
    """Whether there is a record of one of these paglets."""
    query = "SELECT 1 FROM services WHERE paglet_id IN (SELECT value FROM json_each(?)) LIMIT 1"
    return connection.execute(query, (json.dumps(paglet_ids),)).fetchone() is not None


def list_services(connection: sqlite3.Connection, host: str, now: float) -> tuple[list[ServiceRecord], float | None]:
    """The records that a host may tell of, and when the next of them ends, None for never.

    Not those of a paglet that is FAILED or QUARANTINED, which answers reads at most: they count again when it does.
    """
    records = [_record(found) for found in connection.execute(_LIST, (host, now))]
    return records, min((found.expires_at for found in records if found.expires_at is not None), default=None)


def _values(record: ServiceRecord, declared_by: str, expires_at: float | None) -> tuple[str | float | None, ...]:
    return (
        *(record.paglet_id, record.service, declared_by, record.advertiser, record.scope.value),
        *(json.dumps(record.operations), json.dumps(record.tags), expires_at),
    )


@lru_cache(maxsize=1024)
def _texts(encoded: str) -> tuple[str, ...]:
    """Decodes a list; many paglets have the same."""
    return tuple(json.loads(encoded))


def _record(found: sqlite3.Row) -> ServiceRecord:
    return ServiceRecord(
        service=found["service"],
        paglet_id=found["paglet_id"],
        operations=_texts(found["operations"]),
        scope=ServiceScope(found["scope"]),
        host=found["owner"] or found["advertiser"],
        advertiser=found["advertiser"],
        tags=_texts(found["tags"]),
        expires_at=found["expires_at"],
        resident=bool(found["declared_by"]),
    )
