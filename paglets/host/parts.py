"""What the rooms of one host share; joined and owned by `server.py`, never changed but for the address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from paglets.artifacts.store import ServedStore
from paglets.config import HostSettings
from paglets.core.paglet import Paglet
from paglets.directory.contract import Directory
from paglets.host.discovery import Discovery
from paglets.host.files import FileRoots
from paglets.host.journal.journal import Journal
from paglets.host.peers import Peers
from paglets.host.registry import TypeRegistry
from paglets.host.storage import Storages
from paglets.host.threads import Pool
from paglets.host.work import WorkFolders
from paglets.values import ArtifactRef

__all__ = ["HostParts", "HostStore"]

_HANDLER_THREADS = 64


class HostStore(ServedStore, Protocol):
    """A store on this host's disk."""

    async def blob_path(self, artifact_id: str) -> Path:
        """Where the bytes of an artifact lie: to read, never to write. Raises ARTIFACT_NOT_FOUND."""
        ...

    async def stored_files(self, artifact_ids: Sequence[str]) -> dict[str, tuple[ArtifactRef, Path | None]]:
        """Those of the artifacts that are here, each with where its bytes lie, if they have a file."""
        ...

    async def delete_all(self, artifact_ids: Sequence[str]) -> None:
        """Deletes those of the artifacts that are here, many by one wait for the disk. Safe to repeat."""
        ...


@dataclass(kw_only=True)
class HostParts:
    """The parts of one host. `address` is where it listens, known once it does."""

    settings: HostSettings
    journal: Journal
    store: HostStore
    directory: Directory
    registry: TypeRegistry
    peers: Peers
    discovery: Discovery
    roots: FileRoots
    storages: Storages
    work: WorkFolders
    address: str = ""
    pool: Pool = field(default_factory=lambda: Pool(_HANDLER_THREADS))

    @property
    def name(self) -> str:
        """The host's name."""
        return self.settings.name

    def state_limit(self, paglet_type: type[Paglet[Any]]) -> int:
        """How many bytes an encoded state of a type may have."""
        settings = self.settings
        return settings.max_saved_state_bytes if paglet_type.durability == "lifecycle" else settings.max_state_bytes
