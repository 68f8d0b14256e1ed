"""Takes posts for the paglets of this host: durable when they are acknowledged, once for each request id."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from paglets.core.paglet import Paglet
from paglets.errors import InvalidArgumentError, PagletError
from paglets.faults import point
from paglets.host.desk import Desk, Desks
from paglets.host.dormant import Dormant
from paglets.host.gate import is_elsewhere
from paglets.host.parsing import parse_request
from paglets.host.parts import HostParts
from paglets.host.post_records import MAX_POST_BYTES, StoredPost, post_id_of
from paglets.host.postbox import PostBox
from paglets.host.replies import ReplyBook
from paglets.values import new_id

__all__ = ["POSTING_POINTS", "PostRequest", "Posting"]

_log = logging.getLogger(__name__)

POSTING_POINTS = ("post.keep.before", "post.keep.after")
"""The named points of a post that is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostRequest:
    """What is posted, and who posts it: rpc path, encoded request and its type as `Any` has it, request id if any."""

    path: str
    type_url: str
    request: bytes
    principal: str = ""
    request_id: str = ""


class Posting:
    """The posts of one host's paglets, as they come. `started` starts a resident service that nobody has started."""

    def __init__(
        self, parts: HostParts, dormant: Dormant, desks: Desks, started: Callable[[str], Awaitable[object]]
    ) -> None:
        self._parts = parts
        self._dormant = dormant
        self._desks = desks
        self._started = started

    async def post(self, paglet_id: str, request: PostRequest, deadline: float | None) -> str | None:
        """Takes a post for a paglet; returns its id when it is durable, None when the paglet is not here.

        It brings an inactive paglet back if its policy says so, else it waits if that says so. A paglet on a journey
        takes none: the post waits until it is known where that leads, until `deadline`, a time of the loop's clock.
        Raises OPERATION_NOT_FOUND, OPERATION_STREAMS, MALFORMED_REQUEST, REQUEST_ID_REUSED, POSTS_FULL, ARRIVAL_FAILED,
        PAGLET_INACTIVE, DEADLINE_BEFORE_RUN, or why the paglet is not here any more.
        """
        came = True
        if await self._dormant.holds(paglet_id):
            came = await self._wake(paglet_id)
        else:
            await self._started(paglet_id)
        try:
            async with self._desks.open(paglet_id, deadline) as desk:
                return None if desk is None else await self._keep(desk, request)
        finally:
            if not came:  # said last: whoever looks before the post is kept finds nothing to bring it back for
                self._dormant.wake_for_posts_later(paglet_id)

    async def _keep(self, desk: Desk, request: PostRequest) -> str:
        """Without a pause before the write: whoever closes the paglet's gate finds the post in the box."""
        post = _checked(desk.paglet_type, desk.paglet_id, request)
        desk.require_sound()
        taken = _take(post, desk.box, desk.book)
        if taken is None:
            await self._parts.journal.posts.settled()  # it is here, and perhaps not durable yet
            return post.post_id
        point("post.keep.before")
        kept = self._parts.journal.posts.put(desk.paglet_id, [taken])
        desk.look()
        await asyncio.shield(kept)
        point("post.keep.after")
        return post.post_id

    async def _wake(self, paglet_id: str) -> bool:
        """Brings a paglet back for a post, unless that can wait; False when it could not come, and is to come later.

        Raises PAGLET_INACTIVE, or as waking does.
        """
        policy = await self._parts.journal.dormant.policy(paglet_id)
        if policy.activate_on_message or not policy.queue_posts:
            try:
                await self._dormant.wake_for_message(paglet_id, awake_only=False)
            except PagletError as error:
                if not policy.queue_posts or is_elsewhere(error, paglet_id):
                    raise
                _log.warning("paglet %s was not brought back by a post, which waits: %s", paglet_id, error)
                return False
        return True


def _take(post: StoredPost, box: PostBox, book: ReplyBook) -> StoredPost | None:
    """Puts a post among the others; None when it is there already, or has run."""
    if book.knows(post.key, post.fingerprint) or box.find(post) is not None:
        return None
    return box.add(post)


def _checked(paglet_type: type[Paglet[object]], paglet_id: str, request: PostRequest) -> StoredPost:
    """The post, if the paglet's type has such an operation that takes such a request."""
    parsed = parse_request(paglet_id, paglet_type, request.path, request.request, request.type_url)
    if parsed.is_read_only:
        raise _malformed("operation", f"{request.path[1:]} has no side effects, and nobody would get its reply")
    if len(request.request) > MAX_POST_BYTES:
        raise _malformed("request", f"a post has at most {MAX_POST_BYTES} bytes; send more as an artifact")
    request_id = request.request_id or new_id()
    return StoredPost(
        post_id=post_id_of(paglet_id, request.principal, request_id),
        number=0,
        principal=request.principal,
        request_id=request_id,
        path=request.path,
        type_url=request.type_url,
        request=request.request,
        fingerprint=parsed.fingerprint(),
        create_ms=time.time_ns() // 1_000_000,
    )


def _malformed(field: str, message: str) -> InvalidArgumentError:
    return InvalidArgumentError("MALFORMED_REQUEST", message, field=field)
