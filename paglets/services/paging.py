"""Pages of lists, by AIP-158: sizes with a default and a cap, and tokens that callers hand back unread."""

from __future__ import annotations

import base64
import binascii

from paglets.errors import InvalidArgumentError

__all__ = ["DEFAULT_PAGE_SIZE", "MAX_PAGE_SIZE", "page_number", "page_size", "page_start", "page_token"]

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000
_MARK = b"1:"
_MAX_NUMBER = 2**63 - 1  # what a database counts to


def page_size(requested: int, field: str = "page_size") -> int:
    """How many items a page gets: 100 for 0, never more than 1000; MALFORMED_REQUEST naming `field` for less than 0."""
    if requested < 0:
        raise InvalidArgumentError("MALFORMED_REQUEST", f"{field} must be 0 or more, got {requested}", field=field)
    return min(requested or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def page_token(last: str) -> str:
    """The token of the page after the item with the key `last`."""
    return base64.urlsafe_b64encode(_MARK + last.encode()).decode().rstrip("=")


def page_start(token: str) -> str:
    """The key that a token's page comes after, empty for no token; MALFORMED_REQUEST for a token that is not ours."""
    if not token:
        return ""
    try:
        decoded = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        key = decoded.removeprefix(_MARK).decode()
    except (binascii.Error, ValueError) as error:
        raise _foreign_token() from error
    if not decoded.startswith(_MARK):
        raise _foreign_token()
    return key


def page_number(token: str) -> int:
    """The key of a token whose keys are numbers, 0 for no token; MALFORMED_REQUEST for a token that is not ours."""
    key = page_start(token) or "0"
    if not (key.isascii() and key.isdecimal() and len(key) < 20) or int(key) > _MAX_NUMBER:
        raise _foreign_token()
    return int(key)


def _foreign_token() -> InvalidArgumentError:
    return InvalidArgumentError(
        "MALFORMED_REQUEST", "page_token must be the next_page_token of the page before", field="page_token"
    )
