"""The stored outcomes of one paglet's requests: how a request id runs once."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from blake3 import blake3
from google.protobuf.message import Message

from paglets.errors import PreconditionError, Resource
from paglets.host.records import StoredReply

__all__ = ["ReplyBook", "ReplyLimits", "fingerprint_of", "raw_fingerprint_of", "require_same"]


@dataclass(frozen=True, slots=True)
class ReplyLimits:
    """How long (seconds), how many and how many bytes of replies are kept for one paglet."""

    keep_s: float
    max_replies: int
    max_bytes: int


class ReplyBook:
    """What is kept, oldest first, within the limits."""

    def __init__(self, paglet_id: str, limits: ReplyLimits, replies: Iterable[StoredReply]) -> None:
        self._paglet_id = paglet_id
        self._limits = limits
        self._replies: OrderedDict[tuple[str, str], StoredReply] = OrderedDict()
        self._bytes = 0
        for reply in replies:
            self._put(reply)

    def all(self) -> tuple[StoredReply, ...]:
        """Everything kept, oldest first."""
        return tuple(self._replies.values())

    def knows(self, key: tuple[str, str], fingerprint: bytes) -> bool:
        """Whether this request has run, whatever is kept of its outcome. Raises REQUEST_ID_REUSED."""
        found = self._replies.get(key)
        if found is not None:
            require_same(found.fingerprint, fingerprint, key, self._paglet_id)
        return found is not None

    def find(self, key: tuple[str, str], fingerprint: bytes) -> StoredReply | None:
        """The outcome of this request; None when it has not run. Raises REQUEST_ID_REUSED, REPLY_NOT_KEPT."""
        found = self._replies.get(key)
        if found is None:
            return None
        require_same(found.fingerprint, fingerprint, key, self._paglet_id)
        if found.dropped:
            raise PreconditionError(
                "REPLY_NOT_KEPT",
                f"request {key[1]} ran, but its reply was too large to keep; it is never run again",
                resource=Resource("paglet", self._paglet_id),
                metadata={"request_id": key[1]},
            )
        return found

    def make(self, key: tuple[str, str], fingerprint: bytes, *, reply: bytes = b"", status: bytes = b"") -> StoredReply:
        """An outcome as it will be kept: without its bytes when they are too many."""
        dropped = len(reply) + len(status) > self._limits.max_bytes
        return StoredReply(
            principal=key[0],
            request_id=key[1],
            fingerprint=fingerprint,
            create_ms=time.time_ns() // 1_000_000,
            reply=b"" if dropped else reply,
            status=b"" if dropped else status,
            dropped=dropped,
        )

    def add(self, reply: StoredReply) -> list[tuple[str, str]]:
        """Keeps an outcome; returns the keys of those that had to go for it."""
        self._put(reply)
        oldest_ms = time.time_ns() // 1_000_000 - int(self._limits.keep_s * 1000)
        evicted: list[tuple[str, str]] = []
        while (oldest := next(iter(self._replies.values()))) is not reply:
            full = len(self._replies) > self._limits.max_replies or self._bytes > self._limits.max_bytes
            if not full and oldest.create_ms >= oldest_ms:
                break
            self._remove(oldest.key)
            evicted.append(oldest.key)
        return evicted

    def keep(self, key: tuple[str, str], fingerprint: bytes) -> tuple[StoredReply | None, list[tuple[str, str]]]:
        """Keeps that a request without a reply has run, if it has an id; also the keys of those that had to go."""
        if not key[1]:
            return None, []
        made = self.make(key, fingerprint)
        return made, self.add(made)

    def drop(self, key: tuple[str, str]) -> None:
        """Forgets what was kept of a request, if anything was: it came to nothing, and may be run anew."""
        self._remove(key)

    def _put(self, reply: StoredReply) -> None:
        self._remove(reply.key)
        self._replies[reply.key] = reply
        self._bytes += len(reply.reply) + len(reply.status)

    def _remove(self, key: tuple[str, str]) -> None:
        found = self._replies.pop(key, None)
        if found is not None:
            self._bytes -= len(found.reply) + len(found.status)


def fingerprint_of(path: str, request: Message) -> bytes:
    """What makes two requests the same: the method, and the request re-encoded deterministically."""
    return raw_fingerprint_of(path, request.SerializeToString(deterministic=True))


def raw_fingerprint_of(path: str, request: bytes) -> bytes:
    """As `fingerprint_of`, of a request that nobody can re-encode: its bytes as they came."""
    return blake3(path.encode() + b"\0" + request).digest()


def require_same(kept: bytes, fingerprint: bytes, key: tuple[str, str], paglet_id: str) -> None:
    """Raises REQUEST_ID_REUSED when two requests share an id but are not the same."""
    if kept != fingerprint:
        raise PreconditionError(
            "REQUEST_ID_REUSED",
            f"request id {key[1]} was used for another request; take a new id for a new request",
            resource=Resource("paglet", paglet_id),
            metadata={"request_id": key[1]},
        )
