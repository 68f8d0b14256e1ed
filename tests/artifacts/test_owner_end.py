"""The end of an owner: what goes with him goes, also what was on its way, and nothing of a later life of his id."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from paglets.artifacts.steps import Step
from paglets.artifacts.store import ArtifactQuery, ArtifactStore, ArtifactWrite
from paglets.errors import ConflictError
from paglets.values import OwnerPolicy, new_id
from tests.artifacts.support import (
    PATIENCE_S,
    Clock,
    armed,
    assert_consistent,
    cancel_all,
    is_empty,
    opened,
    pieces,
    refused,
)
from tests.artifacts.test_resume import begun, cut


def _his(upload_id: str = "", policy: OwnerPolicy = OwnerPolicy.DELETE_WITH_OWNER) -> ArtifactWrite:
    return ArtifactWrite(upload_id=upload_id, owner="ann", owner_policy=policy)


async def test_later_life_of_an_owner_is_spared(store: ArtifactStore, clock: Clock) -> None:
    """Up to a time means what was committed by then."""
    owner = f"o{new_id()}"
    write = ArtifactWrite(owner=owner, owner_policy=OwnerPolicy.DELETE_WITH_OWNER)
    first = (await store.create_from_chunks(write, pieces(b"1"))).ref
    clock.now += 1
    second = (await store.create_from_chunks(write, pieces(b"2"))).ref
    assert first.created_at < second.created_at
    assert await store.delete_owner(owner, created_until=first.created_at) == 1
    assert [ref.artifact_id for ref in (await store.list(ArtifactQuery(owner=owner))).refs] == [second.artifact_id]


async def test_uploads_go_with_their_owner(root: Path, clock: Clock) -> None:
    """Partials, and those that are written; not what is to stay, is another's, or was begun later."""
    async with opened(root, clock) as store:
        await cut(store, _his("rests"))
        await cut(store, _his("stays", OwnerPolicy.KEEP))
        await cut(store, ArtifactWrite(upload_id="bobs", owner="bob", owner_policy=OwnerPolicy.DELETE_WITH_OWNER))
        async with await begun(store, _his("open")) as writer:
            until, clock.now = clock.now, clock.now + 1
            await cut(store, _his("later"))
            assert await store.delete_owner("ann", created_until=until) == 0
            lost = await refused(writer.finish())
            assert (type(lost), lost.reason) == (ConflictError, "UPLOAD_CANCELLED")
        assert [info.upload_id for info in (await store.uploads()).uploads] == ["bobs", "later", "stays"]
        await store.delete_owner("ann")
        assert [info.upload_id for info in (await store.uploads()).uploads] == ["bobs", "stays"]
        await cancel_all(store)
    assert_consistent(root)


async def test_what_is_being_made_visible_goes_too(root: Path) -> None:
    """It cannot be stopped any more: it expires at once, and leaves nothing."""
    there, go_on = threading.Event(), threading.Event()

    def hold(name: str) -> None:
        if name == Step.RENAME_AFTER:  # passed in a thread
            there.set()
            go_on.wait(PATIENCE_S)

    async with opened(root) as store:
        with armed(hold):
            writing = asyncio.create_task(store.create_from_chunks(_his(), pieces(b"bytes")))
            await asyncio.to_thread(there.wait, PATIENCE_S)
            assert await store.delete_owner("ann") == 0
            go_on.set()
            assert (await writing).ref.expires_at is not None
        assert (await store.list(ArtifactQuery(owner="ann"))).refs == ()
        await store.sweep()
        assert is_empty(root)
    assert_consistent(root)
