"""Page tokens: after what the next page begins, and of which list it is.

Opaque to all others. A token is bound to its list, and to the query of that; it grants nothing, so it is not signed.
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

__all__ = ["Position", "id_in", "position_in", "token_after", "token_after_id"]

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
    place = Position(_key_of(ref, query.order_by), ref.artifact_id, cursor)
    return _token(_text_of(query), msgspec.msgpack.encode(place))


def position_in(token: str, query: ArtifactQuery) -> Position | None:
    """The place after which the page begins; None for the first page.

    Raises MALFORMED_REQUEST for what is no token, or another list's.
    """
    if not token:
        return None
    try:
        place = msgspec.msgpack.decode(_place_in(token, _text_of(query)), type=Position)
        check_id(place.artifact_id, "page_token")
    except (msgspec.DecodeError, UnicodeDecodeError, InvalidArgumentError) as error:
        raise _not_ours() from error
    return place


def token_after_id(found: str, of_list: str) -> str:
    """A token for the page that begins after an id, of a list that has nothing but an order of ids."""
    return _token(of_list, found.encode())


def id_in(token: str, of_list: str) -> str:
    """The id after which the page begins; empty for the first page. Raises MALFORMED_REQUEST as `position_in` does."""
    if not token:
        return ""
    try:
        return check_id(_place_in(token, of_list).decode(), "page_token")
    except (UnicodeDecodeError, InvalidArgumentError) as error:
        raise _not_ours() from error


def _token(of_list: str, place: bytes) -> str:
    return base64.urlsafe_b64encode(_tag(of_list) + place).decode().rstrip("=")


def _place_in(token: str, of_list: str) -> bytes:
    if len(token) > _MAX_TOKEN:
        raise _not_ours()
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise _not_ours() from error
    if len(raw) < _TAG_BYTES:
        raise _not_ours()
    if raw[:_TAG_BYTES] != _tag(of_list):
        raise refusals.malformed("the page token belongs to a list with another filter or order", "page_token")
    return raw[_TAG_BYTES:]


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


def _text_of(query: ArtifactQuery) -> str:
    return json.dumps({**asdict(query), "labels": dict(query.labels)}, sort_keys=True)


def _tag(of_list: str) -> bytes:
    return Digest.of(of_list.encode()).value[:_TAG_BYTES]


def _not_ours() -> InvalidArgumentError:
    return InvalidArgumentError("MALFORMED_REQUEST", "the page token is none of this host's", field="page_token")
