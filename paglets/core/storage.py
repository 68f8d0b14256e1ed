"""What the paglets of one class keep together on a host, beside their states. A host keeps these promises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Storage", "StorageStatus"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageStatus:
    """How much is kept, in bytes; a quota of None is none."""

    used_bytes: int
    quota_bytes: int | None

    @property
    def available_bytes(self) -> int | None:
        """What there is room for."""
        return None if self.quota_bytes is None else max(0, self.quota_bytes - self.used_bytes)


class Storage(Protocol):
    """Small files, by name, that all paglets of one class on one host share; it stays when they leave, end or restart.

    What is written is durable on return and never seen in part; of two writers of one name the later one wins. It is
    done at once and no part of a turn: it stays if the turn is rolled back, and all of it is safe to repeat. A name is
    a label of 1 to 80 bytes, which may have any letters, slashes and dots: no path is made of it. Malformed ones raise
    MALFORMED_REQUEST.
    """

    async def read_bytes(self, name: str) -> bytes:
        """What is kept under a name. Raises FILE_NOT_FOUND."""
        ...

    async def read_text(self, name: str) -> str:
        """As `read_bytes`, decoded as UTF-8. Raises UnicodeDecodeError when it is none."""
        ...

    async def write_bytes(self, name: str, data: bytes) -> None:
        """Keeps bytes under a name, in place of what was there; only the difference counts.

        Raises STORAGE_QUOTA_EXCEEDED, DISK_FULL; what was there is there still then.
        """
        ...

    async def write_text(self, name: str, text: str) -> None:
        """As `write_bytes`, encoded as UTF-8."""
        ...

    async def delete(self, name: str) -> bool:
        """Forgets a name; says whether it was there."""
        ...

    async def clear(self) -> None:
        """Forgets everything."""
        ...

    async def names(self) -> Sequence[str]:
        """All names, sorted."""
        ...

    async def status(self) -> StorageStatus:
        """How much is kept, and how much there may be."""
        ...
