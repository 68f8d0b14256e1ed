"""What a turn leaves behind for others."""

from __future__ import annotations

from paglets.core.cause import OutgoingPost, OutgoingPosts


def _post(request_id: str, request: bytes = b"", *, dead: bool = False) -> OutgoingPost:
    return OutgoingPost(
        number=1,
        request_id=request_id,
        paglet_id="taker",
        operation="shop.Cart/Add",
        type_url="",
        request=request,
        create_ms=0,
        dead=dead,
    )


def test_posts_know_their_bytes() -> None:
    """Whatever is taken in, replaced or let go, and however often: the count is that of those that are there."""
    posts = OutgoingPosts()
    steps = [
        lambda: posts.put(_post("a", b"xxx")),
        lambda: posts.put(_post("b", b"xx")),
        lambda: posts.put(_post("a", b"xxxxx", dead=True)),
        lambda: posts.remove("b"),
        lambda: posts.remove("b"),
        lambda: posts.put(_post("b")),
        lambda: posts.remove("a"),
    ]
    for step in steps:
        step()
        assert posts.size_bytes == sum(len(post.request) for post in posts)
    assert [post.request_id for post in posts] == ["b"]


def test_posts_keep_their_places() -> None:
    """One that is replaced, e.g. since it died or is sent again, stays where it was; a new one is the last."""
    posts = OutgoingPosts()
    for request_id in ("a", "b", "c"):
        posts.put(_post(request_id))
    posts.put(_post("a", dead=True))
    assert [(post.request_id, post.dead) for post in posts] == [("a", True), ("b", False), ("c", False)]
    assert ("a" in posts, "d" in posts, len(posts)) == (True, False, 3)
