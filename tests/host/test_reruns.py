"""Turns that are run again for the same request id, and had to do with artifacts."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from paglets.artifacts.store import ArtifactWrite
from paglets.client.client import Client
from paglets.errors import AlreadyExistsError, InvalidArgumentError, UnavailableError
from paglets.values import ArtifactRef, HostRef
from paglets.wire.metadata import REQUEST_ID_KEY
from tests.host.conftest import Mesh, Site
from tests.host.porter import Porter
from tests.host.porter_service import PORTER, PorterStub
from tests.host.support import call, refused

CONTENT = b"0123456789" * 100_000
UPLOAD = f"/{PORTER.full_name}/Upload"


class Twice:
    """Between the first run of a porter's handler and the second something may happen; the first is rolled back."""

    def __init__(self, meanwhile: Callable[[str], Awaitable[object]]) -> None:
        self.runs: list[str] = []
        self._meanwhile = meanwhile

    async def ended(self, artifact_id: str) -> StringValue:
        """What the handler ends with."""
        self.runs.append(artifact_id)
        if len(self.runs) == 1:
            await self._meanwhile(artifact_id)
            raise UnavailableError("HOST_UNREACHABLE", "somebody is away")
        return StringValue(value=artifact_id)


async def nothing(_: str) -> None:
    """Happens."""


@pytest.mark.parametrize("host", ["alpha", "beta"])
@pytest.mark.parametrize("more", [ArtifactWrite(), ArtifactWrite(artifact_id="report")])
async def test_one_artifact(mesh: Mesh, monkeypatch: pytest.MonkeyPatch, host: str, more: ArtifactWrite) -> None:
    """An upload of a turn that is run again makes the artifact that it made before."""
    twice = Twice(nothing)
    await _upload(mesh, monkeypatch, twice, host, more)
    assert twice.runs == [twice.runs[0]] * 2
    assert await _artifacts(_site(mesh, host)) == [twice.runs[0]]


@pytest.mark.parametrize("host", ["alpha", "beta"])
async def test_another_file(mesh: Mesh, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """If the file is another one by then, that is stored."""

    async def written_again(_: str) -> None:
        (mesh.alpha.files / "a.bin").write_bytes(CONTENT[::-1])

    twice = Twice(written_again)
    await _upload(mesh, monkeypatch, twice, host)
    async with _site(mesh, host).client.artifacts.open_reader(twice.runs[1]) as reader:
        assert b"".join([piece async for piece in reader]) == CONTENT[::-1]


@pytest.mark.parametrize("host", ["alpha", "beta"])
async def test_deleted_meanwhile(mesh: Mesh, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """If the artifact is gone by then, the file is stored again."""
    at = _site(mesh, host)
    twice = Twice(at.client.artifacts.delete)
    await _upload(mesh, monkeypatch, twice, host)
    assert await _artifacts(at) == [twice.runs[1]]
    assert twice.runs[0] != twice.runs[1]


async def test_uploads_beside_each_other(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """Uploads that are begun together are told apart by their order, whichever is the first to reach the store."""
    twice, passed = Twice(nothing), asyncio.Event()
    peers, asked = mesh.alpha.host.parts.peers, list[str]()
    online = peers.online

    async def other_one_first(host: str) -> HostRef:
        asked.append(host)
        if len(asked) == 1:
            await passed.wait()
        found = await online(host)
        passed.set()
        return found

    async def upload(found: Porter, _: StringValue) -> StringValue:
        refs = await asyncio.gather(*(found.upload_artifact("a.bin", host="beta", name=name) for name in ("1", "2")))
        return await twice.ended(" ".join(ref.artifact_id for ref in refs))

    monkeypatch.setattr(peers, "online", other_one_first)
    monkeypatch.setattr(Porter, "upload", upload)
    await _porters(mesh)
    await mesh.alpha.client.proxy("at-alpha").stub(PorterStub).Upload(StringValue(), metadata=((REQUEST_ID_KEY, "r"),))
    assert twice.runs == [twice.runs[0]] * 2
    assert sorted(await _artifacts(mesh.beta)) == sorted(twice.runs[0].split())


async def test_without_a_request_id(mesh: Mesh) -> None:
    """Without one every upload is an artifact of its own."""
    await _porters(mesh)
    stub = mesh.alpha.client.proxy("at-alpha")
    porter = mesh.alpha.host.residents.get("at-alpha")
    assert porter is not None
    assert isinstance(porter.paglet, Porter)
    first, second = [await porter.paglet.upload_artifact("a.bin") for _ in range(2)]
    assert first.artifact_id != second.artifact_id
    made = [(await stub.stub(PorterStub).Upload(StringValue(value="a.bin"))).value for _ in range(2)]
    assert sorted(await _artifacts(mesh.alpha)) == sorted([first.artifact_id, second.artifact_id, *made])


@pytest.mark.parametrize("how", ["Note", "Take"])
@pytest.mark.parametrize("is_gone", [False, True])
async def test_a_call_with_an_artifact(mesh: Mesh, monkeypatch: pytest.MonkeyPatch, how: str, *, is_gone: bool) -> None:
    """A call that an artifact went along with is answered as before, and not run again: also if that is used up."""
    twice = Twice(mesh.beta.client.artifacts.delete if is_gone else nothing)

    async def pass_on(found: Porter, _: StringValue) -> StringValue:
        async with found.send_artifact("at-beta", "a.bin") as artifact, Client(found.context.address) as client:
            stub = client.proxy("at-beta").stub(PorterStub)
            reply = await (stub.Note(artifact) if how == "Note" else stub.Take(artifact))
        return await twice.ended(reply.value)

    monkeypatch.setattr(Porter, "pass_on", pass_on)
    await _porters(mesh)
    await mesh.alpha.client.proxy("at-alpha").stub(PorterStub).PassOn(StringValue(), metadata=((REQUEST_ID_KEY, "r"),))
    assert twice.runs == [twice.runs[0]] * 2
    assert await _artifacts(mesh.beta) == ([] if is_gone else [twice.runs[0]])
    receiver = mesh.beta.host.residents.get("at-beta")
    assert receiver is not None
    assert receiver.runner.cell.view.kept == [twice.runs[0]]


async def test_a_moved_file(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was sent to stay there is gone when the turn is run again; its call is made as before."""
    twice = Twice(nothing)

    async def pass_on(found: Porter, _: StringValue) -> StringValue:
        sending = found.send_artifact("at-beta", "a.bin", move=True)
        async with sending as artifact, Client(found.context.address) as client:
            reply = await client.proxy("at-beta").stub(PorterStub).Take(artifact)
        assert not (mesh.alpha.files / "a.bin").exists()
        return await twice.ended(reply.value)

    monkeypatch.setattr(Porter, "pass_on", pass_on)
    await _porters(mesh)
    await mesh.alpha.client.proxy("at-alpha").stub(PorterStub).PassOn(StringValue(), metadata=((REQUEST_ID_KEY, "r"),))
    assert twice.runs == [twice.runs[0]] * 2
    assert await _artifacts(mesh.beta) == [twice.runs[0]]


async def test_a_file_that_was_never_there(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what was sent by a run before need not be there."""

    async def pass_on(found: Porter, request: StringValue) -> StringValue:
        async with found.send_artifact("at-beta", "b.bin", move=True):
            pytest.fail("nothing was sent")
        return request

    monkeypatch.setattr(Porter, "pass_on", pass_on)
    await _porters(mesh)
    stub = mesh.alpha.client.proxy("at-alpha").stub(PorterStub)
    with pytest.raises(InvalidArgumentError, match=r"b\.bin"):
        await stub.PassOn(StringValue(), metadata=((REQUEST_ID_KEY, "r"),))


@pytest.mark.parametrize("host", ["alpha", "beta"])
@pytest.mark.parametrize("move", [False, True])
async def test_a_download(mesh: Mesh, monkeypatch: pytest.MonkeyPatch, host: str, *, move: bool) -> None:
    """What was written by the run before is found, and not missed where it came from if it was moved."""
    ref = await _stored(_site(mesh, host))
    path = await _downloaded(mesh, monkeypatch, Twice(nothing), ref, move=move)
    assert path.read_bytes() == CONTENT
    assert await _artifacts(_site(mesh, host)) == ([] if move else [ref.artifact_id])


@pytest.mark.parametrize("is_larger", [False, True])
async def test_a_download_onto_another_file(mesh: Mesh, monkeypatch: pytest.MonkeyPatch, *, is_larger: bool) -> None:
    """A file that is not the one to be written is somebody else's, and stays."""
    other = CONTENT[::-1] + b"x" * is_larger

    async def written_over(_: str) -> None:
        (mesh.alpha.files / "b.bin").write_bytes(other)

    ref = await _stored(mesh.beta)
    with pytest.raises(AlreadyExistsError) as caught:
        await _downloaded(mesh, monkeypatch, Twice(written_over), ref)
    assert caught.value.reason == "DESTINATION_EXISTS"
    assert (mesh.alpha.files / "b.bin").read_bytes() == other
    assert await _artifacts(mesh.beta) == [ref.artifact_id]


async def test_a_download_without_a_request_id(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn that nobody can ask for again is told of any file in the way."""
    await _downloaded(mesh, monkeypatch, Twice(nothing), await _stored(mesh.beta))
    refusal = await refused(call(mesh.alpha.channel, UPLOAD, b"", metadata=[("paglet-id", "at-alpha")]))
    assert refusal.reason == "DESTINATION_EXISTS"


async def test_a_saved_file(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that came along is saved once by a turn that is run again."""
    twice = Twice(nothing)

    async def upload(found: Porter, _: StringValue) -> StringValue:
        await found.save_file("a.bin", "b.bin")
        return await twice.ended("")

    await _porters(mesh)
    porter = mesh.alpha.host.residents.get("at-alpha")
    assert porter is not None
    await porter.paglet.register_file("a.bin")
    await mesh.alpha.client.dispatch("at-alpha", "beta")
    monkeypatch.setattr(Porter, "upload", upload)
    stub = mesh.alpha.client.proxy("at-alpha").stub(PorterStub)
    await stub.Upload(StringValue(), metadata=((REQUEST_ID_KEY, "r"),))
    assert len(twice.runs) == 2
    assert (mesh.beta.files / "b.bin").read_bytes() == CONTENT
    (mesh.beta.files / "b.bin").write_bytes(b"another")
    with pytest.raises(AlreadyExistsError):
        await stub.Upload(StringValue(), metadata=((REQUEST_ID_KEY, "r-2"),))


async def _stored(at: Site) -> ArtifactRef:
    return (await at.client.artifacts.create_from_stream(ArtifactWrite(), io.BytesIO(CONTENT))).ref


async def _downloaded(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch, twice: Twice, ref: ArtifactRef, *, move: bool = False
) -> Path:
    """Has a porter of alpha download an artifact, in a turn that is run twice; gives where to."""

    async def upload(found: Porter, _: StringValue) -> StringValue:
        await found.download_artifact(ref, "b.bin", move=move)
        return await twice.ended("")

    monkeypatch.setattr(Porter, "upload", upload)
    await _porters(mesh)
    await mesh.alpha.client.proxy("at-alpha").stub(PorterStub).Upload(StringValue(), metadata=((REQUEST_ID_KEY, "r"),))
    return mesh.alpha.files / "b.bin"


async def _porters(mesh: Mesh) -> None:
    (mesh.alpha.files / "a.bin").write_bytes(CONTENT)
    for at in (mesh.alpha, mesh.beta):
        await at.client.create(Porter, paglet_id=f"at-{at.host.name}")


async def _upload(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch, twice: Twice, host: str, more: ArtifactWrite | None = None
) -> None:
    """Has a porter of alpha upload a file, in a turn that is run twice."""

    async def upload(found: Porter, _: StringValue) -> StringValue:
        ref = await found.upload_artifact("a.bin", host=host, more=more or ArtifactWrite())
        return await twice.ended(ref.artifact_id)

    monkeypatch.setattr(Porter, "upload", upload)
    await _porters(mesh)
    await mesh.alpha.client.proxy("at-alpha").stub(PorterStub).Upload(StringValue(), metadata=((REQUEST_ID_KEY, "r"),))


def _site(mesh: Mesh, host: str) -> Site:
    return mesh.beta if host == "beta" else mesh.alpha


async def _artifacts(at: Site) -> list[str]:
    return [ref.artifact_id for ref in (await at.client.artifacts.list()).refs]
