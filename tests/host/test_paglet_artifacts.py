"""Artifacts from inside a paglet: files of its host into any store of the mesh, and back."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from paglets.artifacts.store import ArtifactChanges, ArtifactWrite
from paglets.digest import Digest
from paglets.errors import Code, ConflictError, DeadlineError, ExhaustedError, PagletError, UnavailableError
from paglets.host.stores import artifact_store
from paglets.testing import eventually
from paglets.values import OwnerPolicy
from paglets.wire.artifact import artifact_to_message
from tests.host.conftest import Mesh, Site, site
from tests.host.midway import Midway
from tests.host.porter import Porter
from tests.host.porter_service import PorterStub

CONTENT = b"0123456789" * 100_000


async def porter(at: Site, paglet_id: str = "porter") -> Porter:
    """A porter on a host, with a file to bring; the object itself."""
    (at.files / "a.bin").write_bytes(CONTENT)
    await at.client.create(Porter, paglet_id=paglet_id)
    resident = at.host.residents.get(paglet_id)
    assert resident is not None
    assert isinstance(resident.paglet, Porter)
    return resident.paglet


@pytest.mark.parametrize("host", ["", "alpha", "beta"])
async def test_upload_artifact(mesh: Mesh, host: str) -> None:
    """A file below the roots becomes the paglet's artifact on the own host, or on the one that is named."""
    paglet = await porter(mesh.alpha)
    more = ArtifactWrite(content_type="text/plain", labels={"kind": "test"}, owner_policy=OwnerPolicy.DELETE_WITH_OWNER)
    ref = await paglet.upload_artifact("a.bin", host=host, ttl_s=60, more=more)
    home = mesh.beta if host == "beta" else mesh.alpha
    assert await home.client.artifacts.ref(ref.artifact_id) == ref
    assert (ref.host, ref.owner, ref.name, ref.digest) == (home.host.name, "porter", "a.bin", Digest.of(CONTENT))
    assert (ref.content_type, ref.labels, ref.owner_policy) == ("text/plain", {"kind": "test"}, more.owner_policy)
    assert ref.expires_at is not None
    assert ref.expires_at == pytest.approx(time.time() + 60, abs=30)


async def test_upload_for_somebody_else(mesh: Mesh) -> None:
    """Owner and name are the paglet's to give; an upload id makes one artifact, however often it is used."""
    paglet = await porter(mesh.alpha)
    more = ArtifactWrite(upload_id="u-1")
    first = await paglet.upload_artifact("a.bin", owner="", name="mine", host="beta", more=more)
    assert (first.owner, first.name, first.expires_at) == ("", "mine", None)
    assert await paglet.upload_artifact("a.bin", owner="", name="mine", host="beta", more=more) == first


async def test_what_goes_with_a_paglet_goes_on_every_host(mesh: Mesh) -> None:
    """Artifacts that were to, and uploads that would have become such; what was to be kept stays."""
    paglet, with_it = await porter(mesh.alpha), ArtifactWrite(owner_policy=OwnerPolicy.DELETE_WITH_OWNER)
    kept: list[str] = []
    for host in ("alpha", "beta"):
        await paglet.upload_artifact("a.bin", host=host, more=with_it)
        kept.append((await paglet.upload_artifact("a.bin", host=host)).artifact_id)
    store, ended = mesh.beta.client.artifacts, asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield CONTENT
        await ended.wait()
        yield CONTENT

    write = replace(with_it, upload_id="u", owner="porter")
    on_its_way = asyncio.create_task(store.create_from_chunks(write, chunks()))
    await eventually(lambda: _are_open(mesh.beta, ["u"]))
    await mesh.alpha.client.dispose("porter")
    await eventually(lambda: _are_open(mesh.beta, []))
    ended.set()
    with pytest.raises(ConflictError) as caught:
        await on_its_way
    assert caught.value.reason == "UPLOAD_CANCELLED"
    await eventually(lambda: _are_kept(mesh, kept))


async def _are_open(at: Site, upload_ids: list[str]) -> bool:
    return [info.upload_id for info in (await at.client.artifacts.uploads()).uploads] == upload_ids


async def _are_kept(mesh: Mesh, artifact_ids: list[str]) -> bool:
    pages = [await at.client.artifacts.list() for at in (mesh.alpha, mesh.beta)]
    return [ref.artifact_id for page in pages for ref in page.refs] == artifact_ids


@pytest.mark.parametrize(
    ("path", "host", "code", "reason"),
    [
        ("/etc/hostname", "", Code.PERMISSION_DENIED, "PATH_OUTSIDE_ROOTS"),
        ("missing", "", Code.INVALID_ARGUMENT, "SOURCE_NOT_A_FILE"),
        (".", "beta", Code.INVALID_ARGUMENT, "SOURCE_NOT_A_FILE"),
        ("x" * 300, "beta", Code.INVALID_ARGUMENT, "SOURCE_NOT_A_FILE"),
        ("a.bin", "gamma", Code.NOT_FOUND, "HOST_NOT_FOUND"),
    ],
)
async def test_upload_is_refused(mesh: Mesh, path: str, host: str, code: Code, reason: str) -> None:
    """What is no file below the roots, or for no host of the mesh, is refused."""
    paglet = await porter(mesh.alpha)
    with pytest.raises(PagletError) as refused:
        await paglet.upload_artifact(path, host=host)
    assert (refused.value.code, refused.value.reason) == (code, reason)


async def test_host_that_is_gone(tmp_path: Path) -> None:
    """A host that has ended is HOST_UNREACHABLE to whoever wants its artifacts."""
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        paglet = await porter(alpha)
        async with AsyncExitStack() as short:
            await site(short, tmp_path, "beta", join=alpha.running.address)
            ref = await paglet.upload_artifact("a.bin", host="beta")
        for work in (paglet.upload_artifact("a.bin", host="beta"), paglet.download_artifact(ref, "b.bin")):
            with pytest.raises(PagletError) as refused:
                await work
            assert (refused.value.code, refused.value.reason) == (Code.UNAVAILABLE, "HOST_UNREACHABLE")
            assert refused.value.metadata["host"] == "beta"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UnavailableError("TRANSPORT", "broken"), "HOST_UNREACHABLE"),
        (DeadlineError("DEADLINE_EXCEEDED", "too slow"), "HOST_UNREACHABLE"),
        (UnavailableError("SHUTTING_DOWN", "ending"), "HOST_UNREACHABLE"),
        (ExhaustedError("QUOTA_EXCEEDED", "full"), "QUOTA_EXCEEDED"),
    ],
)
async def test_host_that_does_not_answer(mesh: Mesh, error: PagletError, reason: str) -> None:
    """What keeps a host from answering is HOST_UNREACHABLE, and it is looked up again; what it says is said on."""
    parts = mesh.alpha.host.parts
    await parts.peers.hosts()
    with pytest.raises(PagletError) as refused:
        async with artifact_store(parts, "beta"):
            raise error
    assert refused.value.reason == reason
    assert (parts.peers.known_address("beta") == "") is (reason == "HOST_UNREACHABLE")


@pytest.mark.parametrize("host", ["alpha", "beta"])
async def test_download_artifact(mesh: Mesh, host: str) -> None:
    """An artifact of any host becomes a file below the roots: named after it in a folder, never over another one."""
    paglet = await porter(mesh.alpha)
    ref = await paglet.upload_artifact("a.bin", host=host, name="../a b.bin")
    assert await paglet.download_artifact(ref, "in/") == mesh.alpha.files / "in" / "a_b.bin"
    assert (mesh.alpha.files / "in" / "a_b.bin").read_bytes() == CONTENT
    with pytest.raises(PagletError) as refused:
        await paglet.download_artifact(ref, "in")
    assert refused.value.reason == "DESTINATION_EXISTS"
    (mesh.alpha.files / "in" / "a_b.bin").write_bytes(b"old")
    await paglet.download_artifact(artifact_to_message(ref), "in", overwrite=True)
    assert (mesh.alpha.files / "in" / "a_b.bin").read_bytes() == CONTENT
    with pytest.raises(PagletError) as refused:
        await paglet.download_artifact(ref, "../out")
    assert refused.value.reason == "PATH_OUTSIDE_ROOTS"


@pytest.mark.parametrize("host", ["alpha", "beta"])
async def test_download_can_move(mesh: Mesh, host: str) -> None:
    """A moved artifact is gone once the file is there, and is not while it is not."""
    paglet = await porter(mesh.alpha)
    ref = await paglet.upload_artifact("a.bin", host=host)
    with pytest.raises(PagletError):
        await paglet.download_artifact(ref, "a.bin", move=True)
    path = await paglet.download_artifact(ref, "b.bin", move=True)
    assert path.read_bytes() == CONTENT
    with pytest.raises(PagletError) as refused:
        await paglet.download_artifact(ref, "c.bin")
    assert refused.value.reason == "ARTIFACT_NOT_FOUND"
    assert await paglet.delete_artifact(ref) is False


@pytest.mark.parametrize("host", ["alpha", "beta"])
async def test_art_22_what_has_taken_the_id_is_neither_fetched_nor_deleted(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """An artifact that is replaced while it is fetched, or changed before it is deleted, is left alone."""
    paglet = await porter(mesh.alpha)
    ref = await paglet.upload_artifact("a.bin", host=host, more=ArtifactWrite(artifact_id="mine"))
    store = (mesh.alpha if host == "alpha" else mesh.beta).host.parts.store
    looked = Midway(monkeypatch, store, "ref", after=True).hold()
    fetching = asyncio.ensure_future(paglet.download_artifact(ref, "b.bin", move=True))
    await looked.called()
    await store.delete("mine")
    await store.create_from_stream(ArtifactWrite(artifact_id="mine"), io.BytesIO(CONTENT[::-1]))
    looked.release()
    with pytest.raises(PagletError) as refused:
        await fetching
    assert refused.value.reason == "DIGEST_MISMATCH"
    assert not (mesh.alpha.files / "b.bin").exists()
    other = await store.ref("mine")
    deleting = Midway(monkeypatch, store, "delete").hold()
    fetching = asyncio.ensure_future(paglet.download_artifact(other, "b.bin", move=True))
    await deleting.called()
    await store.update("mine", ArtifactChanges(owner="somebody"))
    deleting.release()
    with pytest.raises(PagletError) as refused:
        await fetching
    assert refused.value.reason == "ETAG_MISMATCH"
    assert (await store.ref("mine")).owner == "somebody"
    assert (mesh.alpha.files / "b.bin").read_bytes() == CONTENT[::-1]


async def test_wrong_bytes_get_no_name(mesh: Mesh) -> None:
    """Neither rotten bytes nor those of another artifact of the same id come out under the file's name."""
    paglet = await porter(mesh.alpha)
    ref = await paglet.upload_artifact("a.bin", host="beta")
    other = replace(ref, digest=Digest.of(b"other"))
    blob = await mesh.beta.host.parts.store.blob_path(ref.artifact_id)
    blob.chmod(0o600)
    blob.write_bytes(b"x" + CONTENT[1:])
    for wanted, reason in ((other, "ARTIFACT_NOT_FOUND"), (ref, "STORED_BLOB_CORRUPT")):
        with pytest.raises(PagletError) as refused:
            await paglet.download_artifact(wanted, "in/b.bin")
        assert refused.value.reason == reason
        assert not (mesh.alpha.files / "in" / "b.bin").exists()


@pytest.mark.parametrize(
    ("target", "code", "reason"),
    [
        ("x" * 300, Code.PERMISSION_DENIED, "DESTINATION_UNWRITABLE"),
        ("a.bin/b", Code.PERMISSION_DENIED, "DESTINATION_UNWRITABLE"),
        ("circle/b", Code.INVALID_ARGUMENT, "MALFORMED_REQUEST"),
        ("~nobody-here/b", Code.INVALID_ARGUMENT, "MALFORMED_REQUEST"),
        ("a\0b", Code.INVALID_ARGUMENT, "MALFORMED_REQUEST"),
    ],
)
async def test_target_that_cannot_be(mesh: Mesh, target: str, code: Code, reason: str) -> None:
    """A target that can be no file is refused, and the artifact stays."""
    paglet = await porter(mesh.alpha)
    (mesh.alpha.files / "circle").symlink_to("circle")
    ref = await paglet.upload_artifact("a.bin")
    with pytest.raises(PagletError) as refused:
        await paglet.download_artifact(ref, target, move=True)
    assert (refused.value.code, refused.value.reason) == (code, reason)
    assert await paglet.delete_artifact(ref)


async def test_delete_artifact(mesh: Mesh) -> None:
    """An artifact of any host is deleted at once, and once."""
    paglet = await porter(mesh.alpha)
    for host in ("alpha", "beta"):
        ref = await paglet.upload_artifact("a.bin", host=host)
        assert await paglet.delete_artifact(ref) is True
        assert await paglet.delete_artifact(artifact_to_message(ref)) is False


async def test_def_handler(mesh: Mesh) -> None:
    """A handler in a worker thread waits for the same coroutines; the event loop refuses to."""
    paglet = await porter(mesh.alpha)
    stub = mesh.beta.client.proxy("porter").stub(PorterStub)
    reply = await stub.Upload(StringValue(value="a.bin"))
    assert (await mesh.alpha.client.artifacts.ref(reply.value)).owner == "porter"
    with pytest.raises(PagletError) as refused:
        await stub.Upload(StringValue(value="missing"))
    assert refused.value.reason == "SOURCE_NOT_A_FILE"
    with pytest.raises(PagletError, match="await") as refused:
        paglet.blocking(paglet.available_hosts())
    assert refused.value.reason == "WAIT_IN_TURN"
