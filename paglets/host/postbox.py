"""The posts of one paglet, in memory: what waits, what is dead, and how much there may be. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from paglets.errors import ExhaustedError, Resource
from paglets.host.post_records import StoredPost
from paglets.host.replies import require_same

__all__ = ["PostBox", "PostLimits"]


@dataclass(frozen=True, slots=True)
class PostLimits:
    """How many posts there may be of one paglet, and how many bytes of requests, dead letters among them."""

    max_posts: int
    max_bytes: int


class PostBox:
    """Posts by their ids, in the order in which they came."""

    def __init__(self, paglet_id: str, limits: PostLimits, posts: Iterable[StoredPost] = ()) -> None:
        self._paglet_id = paglet_id
        self._limits = limits
        self._posts = {post.post_id: post for post in posts}
        self._bytes = sum(len(post.request) for post in self._posts.values())
        self._last = max((post.number for post in self._posts.values()), default=0)

    def __len__(self) -> int:
        return len(self._posts)

    def all(self) -> tuple[StoredPost, ...]:
        """Every post, in their order."""
        return tuple(self._posts.values())

    def waiting(self) -> Iterator[StoredPost]:
        """Those that are to be run, in their order."""
        return (post for post in self._posts.values() if not post.dead)

    def find(self, wanted: StoredPost) -> StoredPost | None:
        """The post that is here already by this id. Raises REQUEST_ID_REUSED when it is another request."""
        found = self._posts.get(wanted.post_id)
        if found is not None:
            require_same(found.fingerprint, wanted.fingerprint, wanted.key, self._paglet_id)
        return found

    def add(self, post: StoredPost) -> StoredPost:
        """Takes a post in, as the last; returns it with its number. Raises POSTS_FULL."""
        if len(self._posts) >= self._limits.max_posts or self._bytes + len(post.request) > self._limits.max_bytes:
            dead = sum(kept.dead for kept in self._posts.values())
            raise ExhaustedError(
                "POSTS_FULL",
                f"{len(self._posts)} posts with {self._bytes} bytes are kept for paglet {self._paglet_id}, {dead} of"
                f" them dead letters; it takes {self._limits.max_posts} posts and {self._limits.max_bytes} bytes",
                resource=Resource("paglet", self._paglet_id),
                retry_after_s=1.0,
            )
        self._last += 1
        numbered = replace(post, number=self._last)
        self._posts[post.post_id] = numbered
        self._bytes += len(post.request)
        return numbered

    def put(self, post: StoredPost) -> None:
        """Replaces a post, which keeps its place; one that is gone meanwhile stays so."""
        if post.post_id in self._posts:
            self._posts[post.post_id] = post

    def renew(self, post: StoredPost) -> StoredPost:
        """Has a dead letter wait again, as the last; returns it with its new number."""
        del self._posts[post.post_id]
        self._last += 1
        renewed = replace(post, number=self._last, failures=0, status=b"", dead=False)
        self._posts[post.post_id] = renewed
        return renewed

    def remove(self, post: StoredPost) -> None:
        """Lets a post go. Safe to repeat."""
        found = self._posts.pop(post.post_id, None)
        if found is not None:
            self._bytes -= len(found.request)
