"""Posts as the journal keeps them: operations that were left with a paglet."""

from __future__ import annotations

from dataclasses import dataclass

from paglets.core.cause import OutgoingPost
from paglets.values import derived_id

__all__ = ["MAX_POST_BYTES", "StoredPost", "caller_of", "outgoing_id_of", "post_id_of"]

MAX_POST_BYTES = 1024 * 1024
"""How large the request of a post may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPost:
    """An operation that was acknowledged and has not run to its end.

    `number` is its place among the paglet's posts, `principal` who posted it; `create_ms` is in milliseconds since the
    epoch. It has failed `failures` times, at last with the encoded google.rpc.Status `status`. One that is `dead` is
    run only if somebody asks for it.
    """

    post_id: str
    number: int
    principal: str
    request_id: str
    path: str
    type_url: str
    request: bytes
    fingerprint: bytes
    create_ms: int
    failures: int = 0
    status: bytes = b""
    dead: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """What its outcome is kept under."""
        return self.principal, self.request_id


def post_id_of(paglet_id: str, principal: str, request_id: str) -> str:
    """The name of a post: the same for the same caller, paglet and request id."""
    return derived_id("post", paglet_id, principal, request_id)


def caller_of(paglet_id: str) -> str:
    """How a paglet is called that asks for something in a turn."""
    return f"paglet:{paglet_id}"


def outgoing_id_of(sender: str, post: OutgoingPost) -> str:
    """The name of a post that a paglet made: the one that it has, or would have, at its receiver."""
    return post_id_of(post.paglet_id, caller_of(sender), post.request_id)
