"""Artifacts that go along with an operation, from clients and from paglets to paglets."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from paglet.v1.artifact_pb2 import Artifact
from paglets.client.proxy import PagletProxy
from paglets.errors import NotFoundError, PagletError, PreconditionError
from paglets.testing import eventually
from paglets.values import OwnerPolicy
from tests.host.conftest import Mesh, Site
from tests.host.porter import Porter
from tests.host.porter_service import PorterStub
from tests.host.stage import STAGE

CONTENT = b"0123456789" * 100_000


@dataclass(frozen=True)
class Report:
    """A file of a client's."""

    path: Path


@pytest.fixture
async def report(mesh: Mesh, tmp_path: Path) -> Report:
    """A file of the client's, and a porter on each host."""
    for at in (mesh.alpha, mesh.beta):
        await at.client.create(Porter, paglet_id=f"at-{at.host.name}")
    (tmp_path / "report.bin").write_bytes(CONTENT)
    return Report(tmp_path / "report.bin")


async def test_client_sends_an_artifact(mesh: Mesh, report: Report) -> None:
    """The file is on the paglet's host before the call, the paglet's own, and stays an hour unless it is taken."""
    porter = mesh.alpha.client.proxy("at-beta")
    async with porter.send_artifact(report.path, move=True) as artifact:
        assert (await porter.stub(PorterStub).Note(artifact)).value == artifact.artifact_id
    found = await mesh.beta.client.artifacts.ref(artifact.artifact_id)
    assert (found.host, found.owner, found.name, found.size_bytes) == ("beta", "at-beta", "report.bin", len(CONTENT))
    assert found.owner_policy is OwnerPolicy.DELETE_WITH_OWNER
    assert found.expires_at is not None
    assert found.expires_at == pytest.approx(time.time() + 3600, abs=60)
    assert not report.path.exists()


async def test_refused_artifact_is_taken_back(mesh: Mesh, report: Report) -> None:
    """An operation that fails leaves neither its turn's changes nor the artifact behind; the file stays."""
    porter = mesh.alpha.client.proxy("at-beta")
    with pytest.raises(PreconditionError) as refused:
        async with porter.send_artifact(report.path, move=True) as artifact:
            await porter.stub(PorterStub).Refuse(artifact)
    assert refused.value.reason == "TASK_RUNNING"
    assert await _artifacts(mesh.beta) == []
    assert report.path.read_bytes() == CONTENT


async def test_nobody_to_send_to(mesh: Mesh, report: Report) -> None:
    """For a paglet that does not exist nothing is stored."""
    with pytest.raises(NotFoundError) as refused:
        async with mesh.alpha.client.proxy("nobody").send_artifact(report.path):
            pytest.fail("nothing was sent")
    assert refused.value.reason == "PAGLET_NOT_FOUND"
    assert [await _artifacts(at) for at in (mesh.alpha, mesh.beta)] == [[], []]


@pytest.mark.parametrize("receiver", ["alpha", "beta"])
async def test_paglet_sends_an_artifact(mesh: Mesh, report: Report, receiver: str) -> None:
    """A paglet sends a file of its host to a paglet on any host."""
    report.path.replace(mesh.alpha.files / "report.bin")
    await mesh.alpha.client.create(Porter, paglet_id="sender")
    stub = mesh.beta.client.proxy("sender").stub(PorterStub)
    sent = await stub.PassOn(StringValue(value=f"at-{receiver} report.bin"))
    home = mesh.beta if receiver == "beta" else mesh.alpha
    assert await _artifacts(home) == [(sent.value, f"at-{receiver}")]
    with pytest.raises(NotFoundError) as refused:
        await stub.PassOn(StringValue(value="nobody report.bin"))
    assert refused.value.reason == "PAGLET_NOT_FOUND"


async def test_receiver_that_ends_takes_its_artifacts_along(mesh: Mesh, report: Report) -> None:
    """What was sent to a paglet is deleted when the paglet is disposed of."""
    porter = mesh.alpha.client.proxy("at-beta")
    async with porter.send_artifact(report.path) as artifact:
        await porter.stub(PorterStub).Note(artifact)
    await porter.dispose()
    assert await _artifacts(mesh.beta) == []


async def test_receiver_takes_it(mesh: Mesh, report: Report) -> None:
    """An artifact that was taken is the receiver's for good; to take it again changes nothing."""
    porter = mesh.alpha.client.proxy("at-beta")
    async with porter.send_artifact(report.path) as artifact:
        await porter.stub(PorterStub).Take(artifact)
    taken = await mesh.beta.client.artifacts.ref(artifact.artifact_id)
    assert (taken.owner, taken.expires_at) == ("at-beta", None)
    await porter.stub(PorterStub).Take(artifact)
    assert (await mesh.beta.client.artifacts.ref(artifact.artifact_id)).etag == taken.etag


async def test_it_is_taken_where_it_is(mesh: Mesh, report: Report) -> None:
    """A receiver that is elsewhere by the time of the call takes it from there; so does another paglet."""
    porter = mesh.alpha.client.proxy("at-beta")
    async with porter.send_artifact(report.path) as artifact:
        await porter.dispatch("alpha")
        await porter.stub(PorterStub).Take(artifact)
    other = mesh.beta.client.proxy("at-alpha")
    await other.stub(PorterStub).Take(artifact)
    found = await mesh.beta.client.artifacts.ref(artifact.artifact_id)
    assert (found.host, found.owner, found.expires_at) == ("beta", "at-alpha", None)


async def test_call_that_was_given_up_loses_nothing(mesh: Mesh, report: Report) -> None:
    """A caller who gives up while the receiver is at work leaves it the artifact."""
    porter = mesh.alpha.client.proxy("at-beta")
    STAGE.hold("take")
    with pytest.raises(asyncio.CancelledError):
        await _send_and_give_up(porter, report)
    STAGE.release("take")
    await eventually(lambda: _kept(mesh.beta))
    (ref,) = (await mesh.beta.client.artifacts.list()).refs
    assert (ref.owner, ref.expires_at) == ("at-beta", None)
    assert report.path.exists()


async def test_what_cannot_be_taken(mesh: Mesh, report: Report) -> None:
    """What has expired, has other bytes, is on no host of the mesh or is no artifact at all is refused."""
    porter = mesh.alpha.client.proxy("at-beta")
    async with porter.send_artifact(report.path, ttl_s=0.001) as gone:
        pass
    async with porter.send_artifact(report.path) as artifact:
        pass
    other, nowhere = Artifact(), Artifact()
    other.CopyFrom(artifact)
    other.digest.size_bytes += 1
    nowhere.CopyFrom(artifact)
    nowhere.host = "gamma"
    reasons = {
        "ARTIFACT_NOT_FOUND": (gone, other),
        "HOST_NOT_FOUND": (nowhere,),
        "MALFORMED_REQUEST": (Artifact(host="beta", artifact_id=artifact.artifact_id),),
        "INVALID_ID": (Artifact(host="beta", artifact_id="no id", digest=artifact.digest),),
    }
    for reason, artifacts in reasons.items():
        for each in artifacts:
            with pytest.raises(PagletError) as refused:
                await porter.stub(PorterStub).Take(each)
            assert refused.value.reason == reason


async def _send_and_give_up(porter: PagletProxy, report: Report) -> None:
    async with porter.send_artifact(report.path, move=True) as artifact:
        call = porter.stub(PorterStub).Take(artifact)
        await STAGE.reached("take")
        call.cancel()
        await call


async def _kept(at: Site) -> bool:
    resident = at.host.residents.get("at-beta")
    return resident is not None and bool(resident.runner.cell.view.kept)


async def _artifacts(at: Site) -> list[tuple[str, str]]:
    return [(ref.artifact_id, ref.owner) for ref in (await at.client.artifacts.list()).refs]
