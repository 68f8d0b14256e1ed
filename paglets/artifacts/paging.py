"""Page tokens: where the next page begins, and of which list it is.

Opaque to all others. A token is bound to its list's filter; it grants nothing, so it is not signed.
"""

from __future__ import annotations

import base64
import binascii

from paglets.artifacts import refusals
from paglets.digest import Digest
from paglets.errors import InvalidArgumentError
from paglets.values import check_id

__all__ = ["position_in", "token_after"]

_TAG_BYTES = 8
_MAX_TOKEN = 256


def token_after(after: str, owner: str | None) -> str:
    """A token for the page that begins after the id `after` in the list of `owner`."""
    return base64.urlsafe_b64encode(_tag(owner) + after.encode()).decode().rstrip("=")


def position_in(token: str, owner: str | None) -> str:
    """The id after which the page begins; empty for the first page.

    Raises MALFORMED_REQUEST for what is no token, or another list's.
    """
    if not token:
        return ""
    if len(token) > _MAX_TOKEN:
        raise _not_ours()
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        after = check_id(raw[_TAG_BYTES:].decode("ascii"), "page_token")
    except (binascii.Error, ValueError, InvalidArgumentError) as error:
        raise _not_ours() from error
    if raw[:_TAG_BYTES] != _tag(owner):
        raise refusals.malformed("the page token belongs to a list with another filter", "page_token")
    return after


def _tag(owner: str | None) -> bytes:
    text = "all" if owner is None else f"owner={owner}"
    return Digest.of(text.encode("utf-8", "surrogatepass")).value[:_TAG_BYTES]


def _not_ours() -> InvalidArgumentError:
    return InvalidArgumentError("MALFORMED_REQUEST", "the page token is none of this host's", field="page_token")
