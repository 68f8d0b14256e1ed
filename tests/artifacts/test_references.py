"""Blobs are found by their whole digests, by way of an index of the digests' beginnings."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from paglets.artifacts import references, rows
from paglets.artifacts.catalogue import insert_artifact, remove_artifact
from paglets.artifacts.quota import Limits
from paglets.artifacts.references import Blob
from paglets.digest import Digest
from paglets.values import ArtifactRef
from tests.artifacts.support import opened

BEGINNING = bytes(range(8))
ONE, OTHER = BEGINNING + bytes(24), BEGINNING + b"\1" * 24


@pytest.fixture
async def catalogue(root: Path) -> AsyncIterator[sqlite3.Connection]:
    """The rows of an empty store, which is closed."""
    async with opened(root):
        pass
    connection = sqlite3.connect(root / "artifacts.db")
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys=ON")
    yield connection
    connection.close()


def add(connection: sqlite3.Connection, digest: bytes, artifact_id: str, generation: int) -> Blob:
    """Adds an artifact of ten bytes, and their blob, with a file that is not there."""
    blob = Blob(digest, generation, 10)
    assert references.make_current(connection, blob, now=1.0) == []
    ref = ArtifactRef(host="alpha", artifact_id=artifact_id, digest=Digest(digest, 10), owner=f"of-{artifact_id}")
    insert_artifact(connection, ref, Limits())
    return blob


async def test_digests_that_begin_alike(catalogue: sqlite3.Connection) -> None:
    """Each has a blob, readers, a health and an end of its own."""
    one, other = add(catalogue, ONE, "one", 1), add(catalogue, OTHER, "other", 2)
    assert references.find_readable(catalogue, ONE, "of-one", 2.0) == one
    assert references.find_readable(catalogue, OTHER, "of-other", 2.0) == other
    assert references.find_readable(catalogue, ONE, "of-other", 2.0) is None
    assert references.distrust(catalogue, other)
    assert references.find_readable(catalogue, OTHER, "of-other", 2.0) is None
    assert references.find_readable(catalogue, ONE, "of-one", 2.0) == one
    references.prove(catalogue, one, 7.0)
    assert _column(catalogue, "last_verified_at") == {ONE: 7.0, OTHER: 1.0}
    references.hold(catalogue, OTHER)
    assert _column(catalogue, "refs") == {ONE: 1, OTHER: 2}
    assert remove_artifact(catalogue, "one", 3.0) == [one]
    assert _column(catalogue, "refs") == {OTHER: 2}


async def test_copy_that_is_nobodys_is_passed_over(catalogue: sqlite3.Connection) -> None:
    """What was found of an earlier copy says nothing of the one that is there now."""
    add(catalogue, ONE, "one", 2)
    references.prove(catalogue, Blob(ONE, 1, 10), 7.0)
    assert not references.distrust(catalogue, Blob(ONE, 1, 10))
    assert not references.distrust(catalogue, Blob(OTHER, 1, 10))
    assert (_column(catalogue, "last_verified_at"), _column(catalogue, "corrupt")) == ({ONE: 1.0}, {ONE: 0})
    assert references.distrust(catalogue, Blob(ONE, 2, 10))
    assert not references.distrust(catalogue, Blob(ONE, 2, 10))


async def test_reference_to_a_blob_that_is_not_there(catalogue: sqlite3.Connection) -> None:
    """It is refused: no artifact is ever without its bytes."""
    with pytest.raises(LookupError):
        references.hold(catalogue, ONE)
    ref = ArtifactRef(host="alpha", artifact_id="one", digest=Digest(ONE, 10))
    with pytest.raises(sqlite3.IntegrityError):
        insert_artifact(catalogue, ref, Limits())


async def test_blobs_are_found_by_the_index(catalogue: sqlite3.Connection) -> None:
    """No statement that starts from a digest goes through all blobs."""
    statements: list[str] = []
    add(catalogue, OTHER, "other", 9)
    catalogue.set_trace_callback(statements.append)
    add(catalogue, ONE, "one", 1)
    references.find_readable(catalogue, ONE, "", 2.0)
    catalogue.set_trace_callback(None)
    by_digest = [statement for statement in statements if "substr(digest" in statement]
    assert len(by_digest) == 3
    assert any(statement.startswith(rows.INSERT.split(":", maxsplit=1)[0]) for statement in by_digest)
    for statement in by_digest:
        plan = [step["detail"] for step in catalogue.execute(f"EXPLAIN QUERY PLAN {statement}")]
        assert any("SEARCH blobs USING INDEX blobs_by_digest (<expr>=?)" in step for step in plan), plan


def _column(connection: sqlite3.Connection, name: str) -> dict[bytes, float]:
    return {row["digest"]: row[name] for row in connection.execute("SELECT * FROM blobs")}
