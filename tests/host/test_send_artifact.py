"""Artifacts that go along with an operation, from clients and from paglets to paglets."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from paglets.errors import NotFoundError, PreconditionError
from paglets.values import OwnerPolicy
from tests.host.conftest import Mesh, Site
from tests.host.porter import Porter
from tests.host.porter_service import PorterStub

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
        assert (await porter.stub(PorterStub).Keep(artifact)).value == artifact.artifact_id
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
        await porter.stub(PorterStub).Keep(artifact)
    await porter.dispose()
    assert await _artifacts(mesh.beta) == []


async def _artifacts(at: Site) -> list[tuple[str, str]]:
    return [(ref.artifact_id, ref.owner) for ref in (await at.client.artifacts.list()).refs]
