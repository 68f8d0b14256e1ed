"""The rules that every directory keeps: what may be written, and what a write makes of a row. Plain functions.

This file must never know where rows are kept. Together the rules hold `epoch <= revision` for every row, and an epoch
begins at its row's revision: that is why an id that is used again never meets an epoch of its earlier life.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

from paglets.directory.contract import Guard, HostRegistration, JourneyRecord, PagletRow, PagletState, RowWrite
from paglets.discovery import ServiceRecord
from paglets.errors import ConflictError, InvalidArgumentError, Resource
from paglets.values import check_id

__all__ = [
    "MAX_BATCH",
    "MAX_ERROR_CHARS",
    "MAX_PAGE",
    "check_batch",
    "check_load",
    "check_page",
    "check_record",
    "check_registration",
    "check_ttl",
    "fenced",
    "holds",
    "next_version",
]

MAX_BATCH = 1000
MAX_PAGE = 1000
MAX_ERROR_CHARS = 500
_MAX_TYPE_CHARS = 256
_MAX_OF_HOST = {"types": 1000, "tags": 64, "properties": 64, "services": 1000}
_MAX_VALUE_CHARS = 256
_MAX_STATUS_BYTES = 64 * 1024
_MAX_ABOVE = 2**62
_MAX_TTL_S = 24 * 3600.0
_SERVICE = re.compile(r"\w+(\.\w+)*", re.ASCII)
_OPERATION = re.compile(r"\w{1,128}", re.ASCII)
_MAX_OPERATIONS = 1000
_MAX_LOAD = 2**20
_CAUSE = re.compile(r"[a-z][a-z-]{0,31}")


def check_batch(
    writes: Sequence[RowWrite], journeys: Sequence[JourneyRecord], forget: Sequence[str], above: int = 0
) -> None:
    """Refuses a batch that is malformed or too big, before anything is read."""
    size = len(writes) + len(journeys) + len(forget)
    if size > MAX_BATCH:
        raise _malformed("writes", f"a batch holds at most {MAX_BATCH} writes, journeys and forgets, got {size}")
    if not 0 <= above <= _MAX_ABOVE:
        raise _malformed("above", f"revisions begin above 0 to {_MAX_ABOVE}, got {above}")
    for write in writes:
        _check_write(write)
    for record in journeys:
        _check_journey(record)


def check_page(limit: int) -> None:
    """Refuses a page that is empty or too big."""
    if not 1 <= limit <= MAX_PAGE:
        raise _malformed("page_size", f"a page holds 1 to {MAX_PAGE} rows, got {limit}")


def check_registration(host: HostRegistration) -> None:
    """Refuses a host that cannot be named or has too much to say."""
    check_id(host.name, "host.name")
    check_id(host.uid, "host.uid")
    told = {
        "types": len(host.types),
        "tags": len(host.tags),
        "properties": len(host.properties),
        "services": len(host.services),
    }
    for what, number in told.items():
        if number > _MAX_OF_HOST[what]:
            raise _malformed(f"host.{what}", f"a host has at most {_MAX_OF_HOST[what]} {what}, got {number}")
    for tag in host.tags:
        check_id(tag, "host.tags")
    for key, value in host.properties.items():
        check_id(key, "host.properties")
        if len(value) > _MAX_VALUE_CHARS:
            raise _malformed("host.properties", f"property {key} has at most {_MAX_VALUE_CHARS} characters")
    for record in host.services:
        check_record(record)


def check_record(record: ServiceRecord) -> None:
    """Refuses the record of a service that is none, or has too much to say."""
    check_id(record.paglet_id, "paglet_id")
    check_id(record.advertiser, "advertiser")
    if len(record.service) > _MAX_TYPE_CHARS or not _SERVICE.fullmatch(record.service):
        raise _malformed("service", f"a service is named pkg.v1.Name, got {record.service!r}")
    if not 0 < len(record.operations) <= _MAX_OPERATIONS or not all(map(_OPERATION.fullmatch, record.operations)):
        raise _malformed("operations", f"a service has 1 to {_MAX_OPERATIONS} operations, by the names of their rpcs")
    if len(record.tags) > _MAX_OF_HOST["tags"]:
        raise _malformed("tags", f"a service has at most {_MAX_OF_HOST['tags']} tags, got {len(record.tags)}")
    for tag in record.tags:
        check_id(tag, "tags")


def check_ttl(ttl_s: float) -> None:
    """Refuses a lease that would be over at once, or would outlive a day."""
    if not (math.isfinite(ttl_s) and 0 < ttl_s <= _MAX_TTL_S):
        raise _malformed("ttl", f"a lease lasts more than 0 and at most {_MAX_TTL_S:.0f} seconds, got {ttl_s}")


def check_load(load: float) -> None:
    """Refuses a load that is none."""
    if not 0 <= load <= _MAX_LOAD:
        raise _malformed("load", f"a load is a number from 0 to {_MAX_LOAD}, got {load}")


def holds(guard: Guard, found: PagletRow | None) -> bool:
    """Whether the row found is as the guard wants it. A tombstone is no row, but an insert in its place names it."""
    live = found if found is not None and found.state is not PagletState.DISPOSED else None
    if guard.absent or live is None:
        return guard.absent and live is None and guard.epoch == (found.epoch if found is not None else 0)
    return guard == Guard.on(live)


def fenced(guard: Guard, found: PagletRow | None) -> ConflictError:
    """The error for a guard that does not hold."""
    ended = f"a tombstone of epoch {guard.epoch}" if guard.epoch else "no such paglet"
    wanted = ended if guard.absent else _described(guard.owner, guard.epoch, guard.transfer_id)
    if found is None:
        actual = "no such paglet"
    else:
        transfer = found.intent.transfer_id if found.intent else ""
        actual = f"{found.state} paglet with {_described(found.owner, found.epoch, transfer)}"
    return ConflictError(
        "EPOCH_FENCED",
        f"paglet {guard.paglet_id}: wanted {wanted}, found {actual}",
        resource=Resource("paglet", guard.paglet_id),
        metadata={"paglet_id": guard.paglet_id},
    )


def next_version(write: RowWrite, found: PagletRow | None, revision: int, now: float) -> PagletRow:
    """The row that a write makes, with what the directory itself sets."""
    row = replace(write.row, revision=revision, error=write.row.error[:MAX_ERROR_CHARS])
    if write.guard.absent or found is None:
        return replace(row, epoch=revision, created_at=now)
    return replace(row, created_at=found.created_at)


def _check_write(write: RowWrite) -> None:
    guard, row = write.guard, write.row
    check_id(row.paglet_id, "writes.row.paglet_id")
    check_id(row.owner, "writes.row.owner")
    if row.intent is not None:
        check_id(row.intent.transfer_id, "writes.row.intent.transfer_id")
        check_id(row.intent.target, "writes.row.intent.target")
    if guard.paglet_id != row.paglet_id:
        raise _malformed("writes.guard", f"the guard is on {guard.paglet_id!r}, the row is {row.paglet_id!r}")
    if not 1 <= len(row.type) <= _MAX_TYPE_CHARS:
        raise _malformed("writes.row.type", f"a type has 1 to {_MAX_TYPE_CHARS} characters, got {len(row.type)}")
    if not _CAUSE.fullmatch(write.cause):
        raise _malformed("writes.cause", f"a cause is one word of small letters, got {write.cause!r}")
    if not guard.absent:
        _check_epoch(guard, row)


def _check_epoch(guard: Guard, row: PagletRow) -> None:
    """An epoch stays or grows by one; it has to grow when the owner changes or the guarded intent goes."""
    transfer = row.intent.transfer_id if row.intent else ""
    must_grow = row.owner != guard.owner or guard.transfer_id not in {"", transfer}
    lowest = guard.epoch + must_grow
    if not lowest <= row.epoch <= guard.epoch + 1:
        raise _malformed(
            "writes.row.epoch",
            f"paglet {row.paglet_id}: epoch {guard.epoch} must become {lowest} to {guard.epoch + 1}, got {row.epoch}",
        )


def _check_journey(record: JourneyRecord) -> None:
    check_id(record.transfer_id, "journeys.transfer_id")
    check_id(record.paglet_id, "journeys.paglet_id")
    if len(record.status) > _MAX_STATUS_BYTES:
        raise _malformed("journeys.status", f"a status has at most {_MAX_STATUS_BYTES} bytes, got {len(record.status)}")


def _described(owner: str, epoch: int, transfer_id: str) -> str:
    return f"owner {owner}, epoch {epoch}, {f'intent {transfer_id}' if transfer_id else 'no intent'}"


def _malformed(field: str, message: str) -> InvalidArgumentError:
    return InvalidArgumentError("MALFORMED_REQUEST", message, field=field)
