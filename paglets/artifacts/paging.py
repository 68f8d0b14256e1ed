"""Page tokens: after which artifact the next page begins, and of which list it is.

Opaque to all others. A token is bound to its list's query; it grants nothing, so it is not signed.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import asdict, dataclass
from typing import Annotated, TypeAlias

import msgspec

from paglets.artifacts import refusals
from paglets.artifacts.store import ArtifactOrder, ArtifactQuery
from paglets.digest import Digest
from paglets.errors import InvalidArgumentError
from paglets.values import ArtifactRef, check_id

__all__ = ["Position", "position_in", "token_after"]

_TAG_BYTES = 8
_MAX_TOKEN = 1024

Key: TypeAlias = str | float | Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


@dataclass(frozen=True, slots=True)
class Position:
    """An artifact's place in an order: what it is sorted by, then its id; and the cursor of its list."""

    key: Key
    artifact_id: str
    cursor: str


def token_after(ref: ArtifactRef, query: ArtifactQuery, cursor: str) -> str:
    """A token for the page that begins after an artifact, of a list with this cursor."""
    place = msgspec.msgpack.encode(Position(_key_of(ref, query.order_by), ref.artifact_id, cursor))
    return base64.urlsafe_b64encode(_tag(query) + place).decode().rstrip("=")


def position_in(token: str, query: ArtifactQuery) -> Position | None:
    """The place after which the page begins; None for the first page.

    Raises MALFORMED_REQUEST for what is no token, or another list's.
    """
    if not token:
        return None
    if len(token) > _MAX_TOKEN:
        raise _not_ours()
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        place = msgspec.msgpack.decode(raw[_TAG_BYTES:], type=Position)
        check_id(place.artifact_id, "page_token")
    except (binascii.Error, ValueError, msgspec.DecodeError, InvalidArgumentError) as error:
        raise _not_ours() from error
    if raw[:_TAG_BYTES] != _tag(query):
        raise refusals.malformed("the page token belongs to a list with another filter or order", "page_token")
    return place


def _key_of(ref: ArtifactRef, order: ArtifactOrder) -> Key:
    match order:
        case ArtifactOrder.ID:
            return ref.artifact_id
        case ArtifactOrder.CREATE_TIME:
            return ref.created_at
        case ArtifactOrder.SIZE:
            return ref.size_bytes
        case ArtifactOrder.NAME:
            return ref.name


def _tag(query: ArtifactQuery) -> bytes:
    text = json.dumps({**asdict(query), "labels": dict(query.labels)}, sort_keys=True)
    return Digest.of(text.encode()).value[:_TAG_BYTES]


def _not_ours() -> InvalidArgumentError:
    return InvalidArgumentError("MALFORMED_REQUEST", "the page token is none of this host's", field="page_token")
