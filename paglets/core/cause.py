"""What a turn is run for, and what it leaves behind for others."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from paglets.values import derived_id, new_id

__all__ = ["NO_CAUSE", "Cause", "OutgoingPost", "OutgoingPosts", "RequestIds"]


@dataclass(frozen=True, slots=True)
class Cause:
    """What a turn is run for.

    `origin` stands for paglet, caller and request id, empty for a request without an id. `chain` names the paglets
    whose turns wait for this one, the first caller first. `post` is the number of the post that it runs, 0 for none.
    `deadline`, a time of the loop's clock, is when whoever asked for it stops waiting; None for never.
    """

    origin: str = ""
    chain: tuple[str, ...] = ()
    post: int = 0
    deadline: float | None = None


NO_CAUSE = Cause()
"""Nobody asked for the turn: a hook, or the paglet's own background."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingPost:
    """What a turn posts to another paglet, kept with the turn until that paglet's host has acknowledged it.

    `number` is its place among the paglet's posts, `operation` a `pkg.Service/Method`, `create_ms` in milliseconds
    since the epoch. One that was refused for good, with the encoded google.rpc.Status `status`, is `dead`.
    """

    number: int
    request_id: str
    paglet_id: str
    operation: str
    type_url: str
    request: bytes
    create_ms: int
    status: bytes = b""
    dead: bool = False


class OutgoingPosts:
    """Posts by their request ids, in the order in which they came, and how many bytes of requests they have."""

    def __init__(self) -> None:
        self._posts: dict[str, OutgoingPost] = {}
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._posts)

    def __iter__(self) -> Iterator[OutgoingPost]:
        return iter(self._posts.values())

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._posts

    def put(self, post: OutgoingPost) -> None:
        """Takes a post in, as the last, or in the place of one of the same id."""
        replaced = self._posts.get(post.request_id)
        self.size_bytes += len(post.request) - (0 if replaced is None else len(replaced.request))
        self._posts[post.request_id] = post

    def remove(self, request_id: str) -> None:
        """Lets a post go. Safe to repeat."""
        found = self._posts.pop(request_id, None)
        if found is not None:
            self.size_bytes -= len(found.request)


class RequestIds:
    """The request ids of what a turn asks of others: the same again when the same request is run again."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._ordinals = itertools.count()

    def next(self) -> str:
        """The id of the next request; a random one in a turn that itself has none."""
        if not self._origin:
            return new_id()
        return derived_id("request", self._origin, str(next(self._ordinals)))
