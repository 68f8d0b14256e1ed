"""The posts of a paglet as messages, and back: they go along when it moves."""

from __future__ import annotations

from collections.abc import Iterable

from paglet.v1 import transfer_pb2
from paglets.core.cause import OutgoingPost
from paglets.host.post_records import StoredPost

__all__ = ["outgoing_of", "outgoing_to_messages", "posts_of", "posts_to_messages"]


def posts_to_messages(posts: Iterable[StoredPost]) -> list[transfer_pb2.KeptPost]:
    """Posts as a snapshot carries them."""
    return [
        transfer_pb2.KeptPost(
            post_id=post.post_id,
            number=post.number,
            principal=post.principal,
            request_id=post.request_id,
            path=post.path,
            type_url=post.type_url,
            request=post.request,
            fingerprint=post.fingerprint,
            create_ms=post.create_ms,
            failures=post.failures,
            status=post.status,
            dead=post.dead,
        )
        for post in posts
    ]


def posts_of(snapshot: transfer_pb2.Snapshot) -> list[StoredPost]:
    """The posts that a snapshot carries."""
    return [
        StoredPost(
            post_id=post.post_id,
            number=post.number,
            principal=post.principal,
            request_id=post.request_id,
            path=post.path,
            type_url=post.type_url,
            request=post.request,
            fingerprint=post.fingerprint,
            create_ms=post.create_ms,
            failures=post.failures,
            status=post.status,
            dead=post.dead,
        )
        for post in snapshot.posts
    ]


def outgoing_to_messages(posts: Iterable[OutgoingPost]) -> list[transfer_pb2.OutgoingPost]:
    """What the paglet posted, as a snapshot carries it."""
    return [
        transfer_pb2.OutgoingPost(
            number=post.number,
            request_id=post.request_id,
            paglet_id=post.paglet_id,
            operation=post.operation,
            type_url=post.type_url,
            request=post.request,
            create_ms=post.create_ms,
            status=post.status,
            dead=post.dead,
        )
        for post in posts
    ]


def outgoing_of(snapshot: transfer_pb2.Snapshot) -> list[OutgoingPost]:
    """What the paglet of a snapshot posted, and was not acknowledged."""
    return [
        OutgoingPost(
            number=post.number,
            request_id=post.request_id,
            paglet_id=post.paglet_id,
            operation=post.operation,
            type_url=post.type_url,
            request=post.request,
            create_ms=post.create_ms,
            status=post.status,
            dead=post.dead,
        )
        for post in snapshot.outgoing
    ]
