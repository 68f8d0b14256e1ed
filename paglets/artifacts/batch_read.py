"""Many small artifacts read at once, each proven against its digest.

This file must never know where files lie.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence

from paglets.artifacts import refusals
from paglets.artifacts.rooms import StoreRooms
from paglets.artifacts.store import SMALL_BYTES, SmallArtifact
from paglets.digest import Digest
from paglets.errors import PagletError
from paglets.offloop import off_loop
from paglets.values import ArtifactRef, check_id

__all__ = ["read_batch", "require_small"]


async def read_batch(
    rooms: StoreRooms, artifact_ids: Sequence[str], read_alone: Callable[[str], Awaitable[SmallArtifact]]
) -> list[SmallArtifact | PagletError]:
    """Reads each, or says why not. What is not as it should be is read once more alone, which finds out why."""
    found = await rooms.catalogue.find_inline(_well_formed(artifact_ids))
    sound = await off_loop(_sound, found.items())
    results: list[SmallArtifact | PagletError] = []
    for artifact_id in artifact_ids:
        if artifact_id in sound:
            results.append(sound[artifact_id])
            continue
        try:
            results.append(await read_alone(artifact_id))
        except PagletError as error:
            results.append(error)
    return results


def require_small(ref: ArtifactRef) -> None:
    """Raises ARTIFACT_TOO_LARGE for what must be read by a stream."""
    if ref.size_bytes > SMALL_BYTES:
        raise refusals.too_large_for_batch(SMALL_BYTES, ref.size_bytes)


def _well_formed(artifact_ids: Iterable[str]) -> list[str]:
    found: list[str] = []
    for artifact_id in artifact_ids:
        try:
            found.append(check_id(artifact_id, "artifact_id"))
        except PagletError:
            continue
    return found


def _sound(found: Iterable[tuple[str, SmallArtifact]]) -> dict[str, SmallArtifact]:
    """Those whose bytes are right."""
    return {name: artifact for name, artifact in found if Digest.of(artifact.data) == artifact.ref.digest}
