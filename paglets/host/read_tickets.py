"""Read tickets: leave to read one artifact of this host for a time, which can be checked without remembering it.

A ticket is what it grants, in clear, behind a MAC by a key that never leaves the data folder. This file must never know
who brings one: a caller is who he says he is.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable

import msgspec

from paglets.errors import InvalidArgumentError, PermissionDeniedError, Resource
from paglets.host.journal.journal import Journal
from paglets.values import ArtifactRef, check_id

__all__ = ["TICKET_TTL_S", "ReadTickets"]

TICKET_TTL_S = 3600.0
"""How long a ticket is valid unless its maker says otherwise."""

_LEAST_TTL_S, _MOST_TTL_S = 0.001, 7 * 24 * 3600.0
_KEY = "read_ticket_key"
_MAC_BYTES = 32
_CONTEXT = b"paglets read ticket 1:"


class _Grant(msgspec.Struct, frozen=True, array_like=True):
    artifact_id: str
    digest: bytes
    size_bytes: int
    audience: str
    expires_at: float


class ReadTickets:
    """Makes and checks tickets by a secret `key`. `clock` gives seconds since the epoch."""

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._clock = clock

    @classmethod
    async def of(cls, journal: Journal) -> ReadTickets:
        """Those of a host, by the key that it made at its first start: they outlive its restarts."""
        key = await journal.meta(_KEY)
        if not key:
            key = secrets.token_hex(_MAC_BYTES)
            await journal.set_meta(_KEY, key)
        return cls(bytes.fromhex(key))

    @classmethod
    def passing(cls) -> ReadTickets:
        """Tickets by a key that nobody keeps."""
        return cls(secrets.token_bytes(_MAC_BYTES))

    def create(self, ref: ArtifactRef, audience: str, ttl_s: float = TICKET_TTL_S) -> tuple[bytes, float]:
        """A ticket for the bytes that the artifact has, for the host `audience`, and when it ceases to be valid.

        Raises INVALID_ID, MALFORMED_REQUEST.
        """
        check_id(audience, "audience_host")
        if not _LEAST_TTL_S <= ttl_s <= _MOST_TTL_S:
            raise InvalidArgumentError(
                "MALFORMED_REQUEST", f"a ticket lives from 1 ms to 7 days, got {ttl_s:g} s", field="ttl"
            )
        expires_at = self._clock() + ttl_s
        grant = _Grant(ref.artifact_id, ref.digest.value, ref.size_bytes, audience, expires_at)
        payload = msgspec.msgpack.encode(grant)
        return self._mac(payload) + payload, expires_at

    def check(self, ticket: bytes, ref: ArtifactRef, reader: str) -> None:
        """Raises TICKET_INVALID unless this is a ticket with which `reader` may read the artifact as it is now."""
        cause = self._fault(ticket, ref, reader)
        if cause:
            raise PermissionDeniedError(
                "TICKET_INVALID",
                f"the read ticket is not valid for artifact {ref.artifact_id} and reader {reader!r}: {cause}",
                resource=Resource("artifact", ref.artifact_id),
                metadata={"cause": cause},
            )

    def _fault(self, ticket: bytes, ref: ArtifactRef, reader: str) -> str:
        mac, payload = ticket[:_MAC_BYTES], ticket[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(payload)):
            return "tampered"
        grant = msgspec.msgpack.decode(payload, type=_Grant)
        if grant.artifact_id != ref.artifact_id:
            return "artifact"
        if (grant.digest, grant.size_bytes) != (ref.digest.value, ref.size_bytes):
            return "digest"
        if grant.audience != reader:
            return "audience"
        return "expired" if self._clock() >= grant.expires_at else ""

    def _mac(self, payload: bytes) -> bytes:
        return hmac.digest(self._key, _CONTEXT + payload, "sha256")
