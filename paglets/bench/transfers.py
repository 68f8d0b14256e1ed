"""What a client that moves bytes is told and answers, whatever it moves them by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Transfer", "TransferCommand"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferCommand:
    """Moves `size_bytes`: a put from the file at `path`, a get into it; raw, nobody reads, hashes or writes them.

    `name` is what the other side knows the bytes by; `overlap` is for the plain-socket program.
    """

    action: Literal["put", "get", "delete"]
    address: str
    name: str
    path: str = ""
    size_bytes: int = 0
    raw: bool = False
    overlap: bool = False
    direct: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """What came of it. `syncs` is how often the plain program waited for the disk, 0 where nobody counted."""

    seconds: float
    size_bytes: int
    digest: str = ""
    syncs: int = 0
