"""What paglets do with artifacts: files below the host's roots go into a store of the mesh, and come out of it.

It must never know how a store is reached.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeAlias

from paglet.v1 import artifact_pb2
from paglets.artifacts.kept import is_kept
from paglets.artifacts.store import ArtifactChanges, ArtifactStore, ArtifactWrite
from paglets.core.context import Context
from paglets.core.sending import sent_artifact
from paglets.core.sources import not_a_file, safe_name
from paglets.core.storing import store_file
from paglets.core.turn import is_repeatable, repeatable_id
from paglets.digest import Digest
from paglets.errors import NotFoundError, Resource
from paglets.offloop import off_loop
from paglets.values import ArtifactRef
from paglets.wire.artifact import artifact_from_message

__all__ = ["AnyArtifact", "delete", "download", "send", "take", "upload", "written_before"]

AnyArtifact: TypeAlias = ArtifactRef | artifact_pb2.Artifact
"""An artifact as the SDK returns it, or as it came in a request."""


async def upload(context: Context, path: str, write: ArtifactWrite, host: str) -> ArtifactRef:
    """Stores a file on a host of the mesh."""
    # Before anything is waited for: uploads beside each other are told apart by their order.
    upload_id = repeatable_id()
    source = context.resolve_source(path)
    async with context.artifact_store(host) as store:
        try:
            return await store_file(store, write, source, upload_id)
        except OSError as error:
            raise not_a_file(source, error.strerror or "cannot be read") from error


async def download(context: Context, artifact: AnyArtifact, target: str, *, move: bool, overwrite: bool) -> Path:
    """Writes an artifact to a file of this host. What a rerun finds written it takes for the run before's."""
    ref = _ref_of(artifact)
    destination = context.resolve_destination(target, safe_name(ref.name))
    async with context.artifact_store(ref.host) as store:
        if not overwrite and await written_before(destination, ref.digest):
            with suppress(NotFoundError):  # it is moved
                if move:
                    await store.delete(ref.artifact_id, etag=(await _found(store, ref)).etag)
            return destination
        await _found(store, ref)
        written = await store.export_to_path(
            ref.artifact_id, destination, overwrite=overwrite, expected_digest=ref.digest
        )
        if move:
            await store.delete(ref.artifact_id, etag=written.etag)
    return destination


async def written_before(destination: Path, digest: Digest) -> bool:
    """Whether a turn that may be a rerun finds the very file that it is to write, which is durable then."""
    if not is_repeatable():
        return False
    try:
        return await off_loop(is_kept, destination, digest)
    except OSError:  # what cannot be read is another one
        return False


async def delete(context: Context, artifact: AnyArtifact) -> bool:
    """Deletes an artifact; says whether it was there."""
    ref = _ref_of(artifact)
    async with context.artifact_store(ref.host) as store:
        return await store.delete(ref.artifact_id)


@asynccontextmanager
async def send(
    context: Context, path: str, write: ArtifactWrite, *, move: bool
) -> AsyncGenerator[artifact_pb2.Artifact]:
    """Stores a file on the host of the paglet that is to own it, for the call inside the block."""
    source = context.resolve_source(path)
    host = await context.paglet_host(write.owner)
    async with sent_artifact(lambda: context.artifact_store(host), write, source, move=move) as artifact:
        yield artifact


async def take(context: Context, artifact: AnyArtifact) -> ArtifactRef:
    """Makes an artifact a paglet's own, to stay; one that is so already is left as it is."""
    ref = _ref_of(artifact)
    async with context.artifact_store(ref.host) as store:
        found = await _found(store, ref)
        if found.owner == context.paglet_id and found.expires_at is None:
            return found
        return await store.update(ref.artifact_id, ArtifactChanges(owner=context.paglet_id, expires_at=math.inf))


async def _found(store: ArtifactStore, ref: ArtifactRef) -> ArtifactRef:
    """The artifact as it is now. Raises ARTIFACT_NOT_FOUND, also when another one has taken its id."""
    found = await store.ref(ref.artifact_id)
    if found.digest != ref.digest:
        raise NotFoundError(
            "ARTIFACT_NOT_FOUND",
            f"artifact {ref.artifact_id} of host {found.host} has other bytes by now: {found.digest}, not {ref.digest}",
            resource=Resource("artifact", ref.artifact_id),
            metadata={"artifact_id": ref.artifact_id},
        )
    return found


def _ref_of(artifact: AnyArtifact) -> ArtifactRef:
    return artifact if isinstance(artifact, ArtifactRef) else artifact_from_message(artifact)
