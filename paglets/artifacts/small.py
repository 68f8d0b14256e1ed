"""The rows of artifacts that are written whole, in one transaction: no upload is ever open.

Each function is part of its caller's transaction. This file must never touch a file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from paglets.artifacts import quota, references, uploads
from paglets.artifacts.catalogue import insert_artifact
from paglets.artifacts.partials import find
from paglets.artifacts.quota import Limits
from paglets.artifacts.references import Blob
from paglets.artifacts.refusals import upload_in_progress, upload_reused
from paglets.artifacts.store import ArtifactWrite, ArtifactWriteResult, WriteOutcome
from paglets.artifacts.uploads import Moment
from paglets.digest import Digest
from paglets.errors import PagletError
from paglets.values import ArtifactRef, new_id

__all__ = ["ProvenWrite", "store_all", "told_again"]


@dataclass(frozen=True, slots=True)
class ProvenWrite:
    """A write that was checked, with its bytes and their digest; `is_named` if its upload id is its writer's own."""

    write: ArtifactWrite
    data: bytes
    digest: Digest
    is_named: bool


def store_all(
    connection: sqlite3.Connection, items: Sequence[ProvenWrite], moment: Moment
) -> tuple[list[ArtifactWriteResult | PagletError], list[Blob]]:
    """Stores each, or says why not: one that fails leaves nothing, and nothing of the others undone.

    Returns also which files are to be unlinked: rotten ones whose bytes have come anew.
    """
    room = _Room(connection, moment.limits, sum(len(item.data) for item in items))
    results: list[ArtifactWriteResult | PagletError] = []
    spare: list[Blob] = []
    for item in items:
        try:
            results.append(_store(connection, item, room, moment, spare))
        except PagletError as error:
            results.append(error)
    room.give_back()
    return results, spare


class _Room:
    """What is reserved at the host for the new bytes of all items, so that the quota is looked at once."""

    def __init__(self, connection: sqlite3.Connection, limits: Limits, size: int) -> None:
        self._connection = connection
        self._limits = limits
        self._left = quota.reserve(connection, limits, "", 0, size)

    def use(self, size: int) -> None:
        """Counts so many bytes as used. Raises QUOTA_EXCEEDED."""
        if size > self._left:
            self.give_back()
            self._left = quota.reserve(self._connection, self._limits, "", size, size)
        quota.settle(self._connection, "", size, size)
        self._left -= size

    def give_back(self) -> None:
        """Ends the reservation."""
        quota.settle(self._connection, "", self._left, 0)
        self._left = 0


def _store(
    connection: sqlite3.Connection, item: ProvenWrite, room: _Room, moment: Moment, spare: list[Blob]
) -> ArtifactWriteResult:
    """Raises as `ArtifactStore.create_from_chunks`, before anything is written: a savepoint an item would cost more."""
    write = item.write
    if item.is_named and (row := find(connection, write.upload_id)) is not None:
        return told_again(connection, row, item, moment)
    artifact_id = write.artifact_id or new_id(moment.now)
    if write.artifact_id:
        uploads.claim_artifact_id(connection, artifact_id, write.upload_id, moment, moment.writing)
    quota.require_room(connection, moment.limits, write.owner, len(item.data))
    blob = references.find_readable(connection, item.digest.value, write.owner, moment.now)
    held = blob is not None
    if blob is None:
        room.use(len(item.data))
        blob = Blob(item.digest.value, references.next_inline(connection), len(item.data))
        spare += references.make_current(connection, blob, moment.now, item.data)
    else:
        references.hold(connection, blob.digest)
    ref = insert_artifact(connection, _ref(item, artifact_id, moment), moment.limits)
    if item.is_named:
        uploads.insert_finished(connection, write, ref, blob, moment)
    return ArtifactWriteResult(ref, WriteOutcome.DEDUPLICATED if held else WriteOutcome.COMMITTED)


def told_again(
    connection: sqlite3.Connection, row: sqlite3.Row, item: ProvenWrite, moment: Moment
) -> ArtifactWriteResult:
    """What the upload of this id made. Raises UPLOAD_IN_PROGRESS for one that is not at its end."""
    if row["state"] != "done":
        raise upload_in_progress("upload", item.write.upload_id)
    ref = uploads.find_finished(connection, row, item.write, moment)
    if ref.digest != item.digest:
        raise upload_reused(item.write.upload_id)
    return ArtifactWriteResult(ref, WriteOutcome.ALREADY_COMMITTED)


def _ref(item: ProvenWrite, artifact_id: str, moment: Moment) -> ArtifactRef:
    write = item.write
    return ArtifactRef(
        host=moment.host,
        artifact_id=artifact_id,
        digest=item.digest,
        name=write.name,
        owner=write.owner,
        content_type=write.content_type,
        content_encoding=write.content_encoding,
        labels=write.labels,
        owner_policy=write.owner_policy,
        created_at=moment.now,
        expires_at=None if write.ttl_s is None else round(moment.now + write.ttl_s, 6),
    )
