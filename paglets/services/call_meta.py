"""What the metadata of a call say of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from paglets.errors import InvalidArgumentError
from paglets.host.post_records import caller_of
from paglets.services.outlet import ServerContext
from paglets.values import check_id
from paglets.wire.metadata import (
    CHAIN_KEY,
    HOPS_KEY,
    PAGLET_ID_KEY,
    PEER_KEY,
    REQUEST_ID_KEY,
    REQUIRE_ACTIVE_KEY,
    TO_KEY,
)

__all__ = ["MAX_HOPS", "CallMeta", "RawMetadata", "check_request_id", "remaining_s"]

MAX_HOPS = 2
"""How often a call is passed on at most."""

_MAX_REQUEST_ID = 128
_KEPT_BACK = frozenset({"user-agent", HOPS_KEY, PEER_KEY, TO_KEY, "grpc-trace-bin", "te", "content-type"})

RawMetadata: TypeAlias = tuple[tuple[str, str | bytes], ...]


@dataclass(frozen=True, slots=True)
class CallMeta:
    """What the metadata of a call say: paglet, request id, hops so far; and the seconds that are left for it.

    `to` is the uid of the host that the one before means; empty when a client calls. With `awake_only` an inactive
    paglet is left alone. `chain` names the paglets whose turns wait, the caller last;
    `peer` is the connection by which the call came to the first host. Without a deadline `timeout_s` is a default.
    """

    paglet_id: str
    request_id: str
    hops: int
    to: str
    awake_only: bool
    chain: tuple[str, ...]
    peer: str
    timeout_s: float
    has_deadline: bool
    metadata: RawMetadata

    @classmethod
    def of(cls, context: ServerContext, default_timeout_s: float, paglet_id: str = "") -> CallMeta:
        """Reads the metadata of a call. Raises INVALID_ID, MALFORMED_REQUEST."""
        metadata: RawMetadata = tuple(context.invocation_metadata() or ())
        found = dict(metadata)
        _require_once(metadata, PAGLET_ID_KEY, REQUEST_ID_KEY, REQUIRE_ACTIVE_KEY, CHAIN_KEY)
        request_id = check_request_id(str(found.get(REQUEST_ID_KEY, "")), REQUEST_ID_KEY)
        hops = _hops(str(found.get(HOPS_KEY, "0")))
        return cls(
            paglet_id=check_id(paglet_id or str(found.get(PAGLET_ID_KEY, "")), "paglet_id"),
            request_id=request_id,
            hops=hops,
            to=str(found.get(TO_KEY, "")),
            awake_only=_is_true(str(found.get(REQUIRE_ACTIVE_KEY, "false"))),
            peer=str(found.get(PEER_KEY, "")) if hops else context.peer(),
            chain=_chain(str(found.get(CHAIN_KEY, ""))),
            timeout_s=remaining_s(context, default_timeout_s),
            has_deadline=_has_deadline(context),
            metadata=metadata,
        )

    @property
    def caller(self) -> str:
        """The paglet that asks for this in a turn; empty for anybody else."""
        return caller_of(self.chain[-1]) if self.chain else ""

    @property
    def own(self) -> RawMetadata:
        """What the caller says for himself, beside what gRPC and hosts use among themselves."""
        return tuple((key, value) for key, value in self.onward() if not key.startswith(("grpc-", "paglet-")))

    def onward(self) -> RawMetadata:
        """The metadata to forward the call with."""
        passed = ((key, value) for key, value in self.metadata if key not in _KEPT_BACK and not key.startswith(":"))
        return (*passed, (HOPS_KEY, str(self.hops + 1)), (PEER_KEY, self.peer))


def check_request_id(text: str, field: str) -> str:
    """Returns a request id that is not too long; raises MALFORMED_REQUEST naming `field` otherwise."""
    if len(text) > _MAX_REQUEST_ID:
        raise InvalidArgumentError(
            "MALFORMED_REQUEST", f"a request id has at most {_MAX_REQUEST_ID} characters, got {len(text)}", field=field
        )
    return text


def remaining_s(context: ServerContext, default_s: float) -> float:
    """How long a call may take yet, in seconds; `default_s` for one without a deadline."""
    remaining: object = context.time_remaining()  # None without a deadline, whatever the stubs say
    return remaining if isinstance(remaining, float) else default_s


def _has_deadline(context: ServerContext) -> bool:
    return isinstance(context.time_remaining(), float)


def _require_once(metadata: RawMetadata, *keys: str) -> None:
    """Refuses a key that comes twice: whoever added the second does not know of the first, and one of them is wrong."""
    for key in keys:
        if sum(found == key for found, _ in metadata) > 1:
            raise InvalidArgumentError("MALFORMED_REQUEST", f"the metadata name {key} more than once", field=key)


def _is_true(text: str) -> bool:
    if text not in {"true", "false"}:
        raise InvalidArgumentError(
            "MALFORMED_REQUEST", f"{REQUIRE_ACTIVE_KEY} is true or false, got {text!r}", field=REQUIRE_ACTIVE_KEY
        )
    return text == "true"


def _chain(text: str) -> tuple[str, ...]:
    return tuple(check_id(paglet_id, CHAIN_KEY) for paglet_id in text.split(",")) if text else ()


def _hops(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 3 else MAX_HOPS
