"""The faces of artifact stores: of a host's, and of one on this machine's disk."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from functools import partial
from pathlib import Path
from typing import TypeVar

from paglets.artifacts import local, store
from paglets.artifacts.store import ArtifactWrite, ArtifactWriteResult
from paglets.blocking.faces import Face, OpenFace, entering, iterating, waiting
from paglets.blocking.loop import pulled
from paglets.client import artifacts
from paglets.client.artifact_upload import Progress
from paglets.config import StoreSettings
from paglets.values import ArtifactRef

__all__ = ["ArtifactReader", "LocalArtifactStore", "RemoteArtifactStore"]


_PIECE_BYTES = 64 * 1024


def _pieces(chunks: Iterable[bytes]) -> Generator[bytes]:
    """The same bytes in pieces that are worth the way from thread to thread."""
    held = bytearray()
    for chunk in chunks:
        held += chunk
        if len(held) >= _PIECE_BYTES:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)


class ArtifactReader(Face[store.ArtifactReader]):
    """An artifact that is open: iterate over its bytes, once."""

    @property
    def ref(self) -> ArtifactRef:
        """What is read."""
        return self.inner.ref

    @property
    def byte_range(self) -> store.ByteRange:
        """Which of its bytes."""
        return self.inner.byte_range

    def __iter__(self) -> Generator[bytes]:
        return self.loop.iterate(self.inner.__aiter__)


StoreT = TypeVar("StoreT", bound=store.ArtifactStore)


class ArtifactStore(Face[StoreT]):
    """What all stores have: the contract `paglets.artifacts.store.ArtifactStore`."""

    def create_from_chunks(self, write: ArtifactWrite, chunks: Iterable[bytes]) -> ArtifactWriteResult:
        """Stores the bytes of an iterable, which is read by other threads than this one; its errors pass unchanged."""
        return self.loop.wait(partial(self.inner.create_from_chunks, write, pulled(_pieces(chunks))))

    create_from_stream = waiting(store.ArtifactStore.create_from_stream)
    create_from_path = waiting(store.ArtifactStore.create_from_path)
    create_batch = waiting(store.ArtifactStore.create_batch)
    read_batch = waiting(store.ArtifactStore.read_batch)
    upload = waiting(store.ArtifactStore.upload)
    uploads = waiting(store.ArtifactStore.uploads)
    cancel_upload = waiting(store.ArtifactStore.cancel_upload)
    usage = waiting(store.ArtifactStore.usage)
    ref = waiting(store.ArtifactStore.ref)
    list = waiting(store.ArtifactStore.list)
    watch = iterating(store.ArtifactStore.watch)
    open_reader = entering(store.ArtifactStore.open_reader, ArtifactReader)
    export_to_path = waiting(store.ArtifactStore.export_to_path)
    update = waiting(store.ArtifactStore.update)
    delete = waiting(store.ArtifactStore.delete)
    delete_owner = waiting(store.ArtifactStore.delete_owner)


class RemoteArtifactStore(ArtifactStore[artifacts.RemoteArtifactStore]):
    """The artifact store of a host: `client.artifacts`."""

    def create_from_chunks(
        self, write: ArtifactWrite, chunks: Iterable[bytes], *, progress: Progress | None = None
    ) -> ArtifactWriteResult:
        """Stores the bytes of an iterable, which is read by other threads than this one; its errors pass unchanged.

        It is asked for none before the host has accepted the artifact. So that a break of the connection does not end
        it, up to 16 MiB are held in memory until the host has them. `progress` is told how many are done so far.
        """
        return self.loop.wait(partial(self.inner.create_from_chunks, write, pulled(_pieces(chunks)), progress=progress))

    create_from_stream = waiting(artifacts.RemoteArtifactStore.create_from_stream)
    create_from_path = waiting(artifacts.RemoteArtifactStore.create_from_path)
    export_to_path = waiting(artifacts.RemoteArtifactStore.export_to_path)
    create_read_ticket = waiting(artifacts.RemoteArtifactStore.create_read_ticket)
    pull = waiting(artifacts.RemoteArtifactStore.pull)


class LocalArtifactStore(OpenFace[local.LocalArtifactStore], ArtifactStore[local.LocalArtifactStore]):
    """A store in a folder of its own, for one process at a time: `with LocalArtifactStore(root, "alpha") as store:`.

    `host` is the name that references bear. Raises as `paglets.artifacts.local.LocalArtifactStore.open`.
    """

    def __init__(self, root: Path, host: str, settings: StoreSettings | None = None) -> None:
        super().__init__(partial(local.LocalArtifactStore.open, root, host, settings))

    blob_path = waiting(local.LocalArtifactStore.blob_path)
    stored_files = waiting(local.LocalArtifactStore.stored_files)
    delete_all = waiting(local.LocalArtifactStore.delete_all)
    sweep = waiting(local.LocalArtifactStore.sweep)
    settled = waiting(local.LocalArtifactStore.settled)
