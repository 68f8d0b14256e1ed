"""Files that become artifacts: in a turn that is run again for the same request, the same ones.

It must never know how a store is reached, nor which turn is running.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from paglets.artifacts.store import ArtifactStore, ArtifactWrite
from paglets.errors import NotFoundError, PagletError
from paglets.values import ArtifactRef, derived_id

__all__ = ["store_file", "store_file_for_call", "stored_before"]

_GONE = "ARTIFACT_NOT_FOUND"
_ANOTHER_FILE = frozenset({"REQUEST_ID_REUSED", "PREFIX_MISMATCH"})


async def store_file(store: ArtifactStore, write: ArtifactWrite, source: Path, upload_id: str) -> ArtifactRef:
    """Stores a file. A rerun, which has the same `upload_id`, gets what was stored before, and no second artifact.

    Unless that was deleted since, or the file is another one by now: then it is stored anew. Without `upload_id`, or
    with one of the `write` itself, a file is just stored. Raises as `ArtifactStore.create_from_path`.
    """
    if write.upload_id or not upload_id:
        return (await store.create_from_path(write, source)).ref
    while True:
        try:
            return (await store.create_from_path(replace(write, upload_id=upload_id), source)).ref
        except PagletError as error:
            if error.reason not in _ANOTHER_FILE | {_GONE}:
                raise
        upload_id = _next_id(upload_id)


async def store_file_for_call(store: ArtifactStore, write: ArtifactWrite, source: Path) -> ArtifactRef:
    """Stores a file for a request that a rerun, which has the same upload id, must make again to the letter.

    So it gives the artifact as it was stored, whatever became of it since, even if it is gone: the call of the run
    before may have reached somebody who has made use of it. A file that is another one by now is stored anew.
    """
    if not write.upload_id:
        return (await store.create_from_path(write, source)).ref
    while True:
        try:
            await store.create_from_path(write, source)
            break
        except PagletError as error:
            if error.reason == _GONE:
                break
            if error.reason not in _ANOTHER_FILE:
                raise
        write = replace(write, upload_id=_next_id(write.upload_id))
    made = await stored_before(store, write.upload_id)
    if made is None:
        raise LookupError(f"upload {write.upload_id} was finished, and is not")
    return made


async def stored_before(store: ArtifactStore, upload_id: str) -> ArtifactRef | None:
    """The artifact that an upload has made, as it was stored; None if there is none, or it is not finished."""
    try:
        made = (await store.upload(upload_id)).ref
    except NotFoundError:
        return None
    return None if made is None else replace(made, updated_at=made.created_at)


def _next_id(upload_id: str) -> str:
    return derived_id("upload", upload_id)
