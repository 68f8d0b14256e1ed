"""What a paglet does with files: those that go along, artifacts, and what it keeps on a host."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from paglet.v1 import artifact_pb2
from paglets.artifacts.store import ArtifactWrite
from paglets.core import artifacts
from paglets.core.context import Context
from paglets.core.sending import SENT_TTL_S, sent_write
from paglets.core.sources import checked_mode, safe_name
from paglets.core.storage import Storage
from paglets.errors import AlreadyExistsError, NotFoundError, Resource
from paglets.values import ArtifactRef, FileMode, PagletFileRef

__all__ = ["OwnFiles"]

_NOTHING_MORE = ArtifactWrite()


class OwnFiles:
    """The files of a paglet, by way of its `context`."""

    context: Context
    """The host it is on; set before any hook runs."""

    async def register_file(self, path: str, name: str = "", mode: FileMode = FileMode.COPY) -> PagletFileRef:
        """Registers a file of this host to travel along, under a logical name (default: its own name).

        The digest is made now, and the registration is kept at once, also when the turn is rolled back. Registering a
        name again replaces it, so it is safe to repeat. Raises SOURCE_NOT_A_FILE, PATH_OUTSIDE_ROOTS, FILE_CHANGED
        (while it was read), and MALFORMED_REQUEST for a name of no or over 255 bytes or an unknown mode.
        """
        source = self.context.resolve_source(path)
        return await self.context.register_file(source, (name or source.name).strip(), checked_mode(mode))

    async def unregister_file(self, name: str) -> None:
        """Forgets a registration; the file itself stays. Safe to repeat."""
        await self.context.unregister_file(name)

    def registered_files(self) -> Sequence[PagletFileRef]:
        """The registered files, in the order of their names."""
        return self.context.registered_files()

    def file_path(self, name: str | PagletFileRef) -> Path:
        """Where a registered file's bytes are on this host: to read, never to write, until it is registered no more.

        What came along is a read-only file of the host's store, under a name of the store's; `save_file` makes a copy
        that is the paglet's own. Nobody looks whether a file that was registered here is there still. Raises
        FILE_NOT_FOUND.
        """
        wanted = name if isinstance(name, str) else name.name
        for found in self.registered_files():
            if found.name == wanted:
                return found.path
        raise NotFoundError(
            "FILE_NOT_FOUND",
            f"paglet {self.context.paglet_id} has no registered file {wanted!r}",
            resource=Resource("file", wanted),
        )

    async def save_file(self, name: str | PagletFileRef, destination: str = "", *, overwrite: bool = False) -> Path:
        """Writes a private copy of a file that came along, verified and durable, in one step; says where it is.

        `destination` is below the file roots, inside if that is a folder, by default named after the file. Safe to
        repeat with `overwrite`. In a turn for a request id, which may be run again, a file with these very bytes is a
        success. Raises FILE_NOT_FOUND, DESTINATION_EXISTS, PATH_OUTSIDE_ROOTS, DESTINATION_UNWRITABLE.
        """
        wanted = name if isinstance(name, str) else name.name
        path = self.context.resolve_destination(destination, safe_name(wanted))
        try:
            await self.context.save_file(wanted, path, overwrite=overwrite)
        except AlreadyExistsError:
            digests = [found.digest for found in self.registered_files() if found.name == wanted]
            if not digests or not await artifacts.written_before(path, digests[0]):
                raise
        return path

    async def upload_artifact(
        self,
        path: str,
        *,
        host: str = "",
        owner: str | None = None,
        name: str = "",
        ttl_s: float | None = None,
        more: ArtifactWrite = _NOTHING_MORE,
    ) -> ArtifactRef:
        """Stores a file below the file roots as an artifact of a host of the mesh, by default of this one.

        It is this paglet's unless `owner` says whose, named after the file, and stays until it is deleted, or for
        `ttl_s` seconds. `more` is what else is known of it; its `upload_id` makes the upload safe to repeat: the same
        artifact is returned then. So it is, without one, in a turn that is run again for the same request id, unless
        the file is another one by now. It stays if the turn is rolled back.

        Raises SOURCE_NOT_A_FILE, PATH_OUTSIDE_ROOTS, HOST_NOT_FOUND, HOST_UNREACHABLE, and as the store does.
        """
        write = dataclasses.replace(
            more,
            owner=self.context.paglet_id if owner is None else owner,
            name=name or more.name,
            ttl_s=more.ttl_s if ttl_s is None else ttl_s,
        )
        return await artifacts.upload(self.context, path, write, host)

    async def download_artifact(
        self, artifact: artifacts.AnyArtifact, target: str, *, move: bool = False, overwrite: bool = False
    ) -> Path:
        """Writes an artifact of any host of the mesh to a file below the file roots; says where that is.

        `target` is as in `save_file`, and so is the file: verified, durable, under its name in one step. With `move`
        the artifact is deleted thereafter; if that fails, the error is raised and the file stays: ETAG_MISMATCH, if
        somebody has taken or changed it meanwhile. Safe to repeat with `overwrite`, unless it was moved. In a turn
        for a request id, which may be run again, a file with these very bytes is a success, moved or not. Raises
        DESTINATION_EXISTS, PATH_OUTSIDE_ROOTS, DESTINATION_UNWRITABLE, ARTIFACT_NOT_FOUND, HOST_NOT_FOUND,
        HOST_UNREACHABLE, STORED_BLOB_CORRUPT, and SIZE_MISMATCH or DIGEST_MISMATCH if another one took its id just now.
        """
        return await artifacts.download(self.context, artifact, target, move=move, overwrite=overwrite)

    async def take_artifact(self, artifact: artifacts.AnyArtifact) -> ArtifactRef:
        """Makes an artifact that came with a call this paglet's own: it does not expire any more.

        It is taken at once, not when the turn is committed: a state never names what has expired, but if the turn is
        rolled back and the sender does not hear of it, the artifact stays until the paglet's end. It stays where it is,
        also when that is another host. Safe to repeat. Raises ARTIFACT_NOT_FOUND, also for one that has expired or has
        other bytes by now, MALFORMED_REQUEST, HOST_NOT_FOUND, HOST_UNREACHABLE.
        """
        return await artifacts.take(self.context, artifact)

    async def delete_artifact(self, artifact: artifacts.AnyArtifact) -> bool:
        """Deletes an artifact of any host of the mesh, at once; says whether it was there. Safe to repeat.

        Raises HOST_NOT_FOUND, HOST_UNREACHABLE.
        """
        return await artifacts.delete(self.context, artifact)

    def send_artifact(
        self, paglet_id: str, path: str, *, name: str = "", move: bool = False, ttl_s: float = SENT_TTL_S
    ) -> AbstractAsyncContextManager[artifact_pb2.Artifact]:
        """`async with self.send_artifact(paglet_id, path) as artifact:` is a file for one call of another paglet.

        It is stored on that paglet's host, as its own, before the block begins; make the call inside, with `artifact`
        in its request. Its receiver keeps it by `take_artifact`, else it expires after `ttl_s` seconds. An error of the
        call after which nothing can have changed deletes it; UNAVAILABLE, a deadline and a broken connection do not,
        nor does an error of another kind. With `move` the file is deleted after the call, if it is unchanged,
        whether the artifact was taken or not. Each block is a new artifact; in a turn that is run again for the same
        request id it is the one of the run before, so that the call inside is the same, too, and not made twice; a
        file that the run before has deleted is not missed.
        Raises as `upload_artifact`, and PAGLET_NOT_FOUND.
        """
        return artifacts.send(self.context, path, sent_write(paglet_id, name, ttl_s), move=move)

    @property
    def storage(self) -> Storage:
        """Small files that all paglets of this class on this host share, within a quota; they stay here for good."""
        return self.context.storage

    async def work_folder(self) -> Path:
        """This paglet's private folder on this host, made when first asked for: it may do there what it likes.

        It stays over rests and restarts, and goes when the paglet leaves or ends; nothing of it travels that is not a
        registered file. `register_file` and the others that take paths take absolute ones of it, too.
        """
        return await self.context.work_folder()
