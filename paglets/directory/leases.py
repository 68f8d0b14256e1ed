"""The hosts of a SQLite directory and their leases, each function inside one transaction.

A lease tells that a host was heard of lately and nothing more: this file must never decide who owns a paglet.
"""

from __future__ import annotations

import json
import sqlite3
from typing import NamedTuple

from paglets.directory.contract import HostRegistration
from paglets.errors import AlreadyExistsError, NotFoundError, Resource
from paglets.values import HostRef

__all__ = ["Renewal", "keep_alive", "list_hosts", "list_leases", "register", "resume", "revoke"]

_LEFT = 0.0


class Renewal(NamedTuple):
    """When a lease would have ended, and when it ends now, in seconds since the epoch; whether its host says news."""

    former_end: float
    end: float
    has_news: bool


def resume(connection: sqlite3.Connection, now: float) -> None:
    """Gives the leases that were live when the directory was last written to what they had left then.

    While it was away nobody could renew one: without this its restart would call every host offline.
    """
    ((last,),) = connection.execute("SELECT max(seen_at) FROM hosts").fetchall()
    if last is not None and last < now:
        connection.execute("UPDATE hosts SET expires_at = expires_at + ? WHERE expires_at > ?", (now - last, last))


def register(connection: sqlite3.Connection, host: HostRegistration, now: float, ttl_s: float) -> None:
    """Writes a host and its lease; HOST_NAME_TAKEN when another folder's host still has the name."""
    found = connection.execute("SELECT uid, expires_at FROM hosts WHERE name = ?", (host.name,)).fetchone()
    if found and found["uid"] != host.uid:
        _check_free(connection, host.name, is_live=found["expires_at"] > now)
    connection.execute(
        "REPLACE INTO hosts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
        (
            host.name,
            host.uid,
            host.address,
            host.version,
            json.dumps(host.types),
            json.dumps(host.tags),
            json.dumps(dict(host.properties)),
            now,
            now + ttl_s,
        ),
    )


def keep_alive(connection: sqlite3.Connection, name: str, uid: str, now: float, ttl_s: float, load: float) -> Renewal:
    """Renews a lease, also one that ran out; HOST_NOT_FOUND when the name is not this folder's."""
    found = connection.execute("SELECT expires_at, load FROM hosts WHERE name = ? AND uid = ?", (name, uid)).fetchone()
    if found is None:
        raise NotFoundError(
            "HOST_NOT_FOUND", f"no host {name} with uid {uid} is registered", resource=Resource("host", name)
        )
    connection.execute(
        "UPDATE hosts SET seen_at = ?, expires_at = ?, load = ? WHERE name = ?", (now, now + ttl_s, load, name)
    )
    return Renewal(found["expires_at"], now + ttl_s, found["load"] != load)


def revoke(connection: sqlite3.Connection, name: str, uid: str, now: float) -> None:
    """Ends a lease; nothing happens when the name is not this folder's."""
    connection.execute(
        "UPDATE hosts SET seen_at = ?, expires_at = ? WHERE name = ? AND uid = ?", (now, _LEFT, name, uid)
    )


def list_hosts(connection: sqlite3.Connection, now: float) -> list[HostRef]:
    """All hosts by name; their paglets are counted in the index of owners."""
    query = """
        SELECT *, (SELECT count(*) FROM paglets WHERE owner = name AND state <> 'disposed') AS number
        FROM hosts ORDER BY name
    """
    return [_host(found, now, found["number"]) for found in connection.execute(query)]


def list_leases(connection: sqlite3.Connection, now: float) -> tuple[list[HostRef], float | None]:
    """All hosts by name, without their paglets, and when the next lease ends, None for never."""
    found = connection.execute("SELECT * FROM hosts ORDER BY name").fetchall()
    ends = [row["expires_at"] for row in found if row["expires_at"] > now]
    return [_host(row, now, 0) for row in found], min(ends, default=None)


def _host(found: sqlite3.Row, now: float, paglet_count: int) -> HostRef:
    return HostRef(
        name=found["name"],
        address=found["address"],
        online=found["expires_at"] > now,
        version=found["version"],
        types=tuple(json.loads(found["types"])),
        seen_at=found["seen_at"],
        paglet_count=paglet_count,
        uid=found["uid"],
        has_left=found["expires_at"] == _LEFT,
        tags=tuple(json.loads(found["tags"])),
        properties=json.loads(found["properties"]),
        load=found["load"],
    )


def _check_free(connection: sqlite3.Connection, name: str, *, is_live: bool) -> None:
    """A name is free once its lease is dead and no paglet is at the host, or on its way to what it has staged."""
    owns = "SELECT 1 FROM paglets WHERE owner = ? AND state <> 'disposed' LIMIT 1"
    awaits = "SELECT 1 FROM paglets WHERE target = ? AND target <> '' LIMIT 1"
    if is_live:
        why = "its lease is live"
    elif connection.execute(owns, (name,)).fetchone():
        why = "paglets are on it"
    elif connection.execute(awaits, (name,)).fetchone():
        why = "a paglet is on its way to it"
    else:
        return
    raise AlreadyExistsError(
        "HOST_NAME_TAKEN",
        f"another host of the mesh is named {name}, and {why}; start with that host's data folder, or another name",
        resource=Resource("host", name),
    )
