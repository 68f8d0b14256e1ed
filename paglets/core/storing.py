"""Files that become artifacts: in a turn that is run again for the same request, the same ones.

It must never know how a store is reached, nor who is to have the artifact.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from paglets.artifacts.store import ArtifactStore, ArtifactWrite
from paglets.core.turn import repeatable_id
from paglets.errors import PagletError
from paglets.values import ArtifactRef, derived_id

__all__ = ["store_file", "store_file_for_call"]

_GONE = "ARTIFACT_NOT_FOUND"
_ANOTHER_FILE = frozenset({"REQUEST_ID_REUSED", "PREFIX_MISMATCH"})


async def store_file(store: ArtifactStore, write: ArtifactWrite, source: Path) -> ArtifactRef:
    """Stores a file. A turn that has a request id and is run again gets what it has stored before, and no second one.

    Unless that was deleted since, or the file is another one by now: then it is stored anew. A `write` with an upload
    id is taken at its word. Raises as `ArtifactStore.create_from_path`.
    """
    upload_id = write.upload_id or repeatable_id()
    while True:
        try:
            return (await store.create_from_path(replace(write, upload_id=upload_id), source)).ref
        except PagletError as error:
            if upload_id in ("", write.upload_id) or error.reason not in _ANOTHER_FILE | {_GONE}:
                raise
        upload_id = _next_id(upload_id)


async def store_file_for_call(store: ArtifactStore, write: ArtifactWrite, source: Path) -> ArtifactRef:
    """Stores a file as `store_file` does, for a request that a rerun must make again to the letter.

    So it gives the artifact as it was stored, whatever became of it since, even if it is gone: the call of the run
    before may have reached somebody who has made use of it.
    """
    upload_id = repeatable_id()
    if not upload_id:
        return (await store.create_from_path(write, source)).ref
    while True:
        try:
            await store.create_from_path(replace(write, upload_id=upload_id), source)
            break
        except PagletError as error:
            if error.reason == _GONE:
                break
            if error.reason not in _ANOTHER_FILE:
                raise
        upload_id = _next_id(upload_id)
    made = (await store.upload(upload_id)).ref
    if made is None:
        raise LookupError(f"upload {upload_id} was finished, and is not")
    return replace(made, updated_at=made.created_at)


def _next_id(upload_id: str) -> str:
    return derived_id("upload", upload_id)
