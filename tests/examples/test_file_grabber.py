"""The file grabber fetches files, and brings them."""

from __future__ import annotations

import pytest

from paglet.examples.file_grabber.v1.file_grabber_pb2 import GrabRequest
from paglet.v1.transfer_pb2 import FILE_MODE_COPY, FILE_MODE_MOVE
from paglets.client.tasks import TaskClient
from paglets.examples.file_grabber import FileGrabber
from paglets.values import TaskPhase
from tests.examples.conftest import Mesh

CONTENT = b"worth having" * 1000


@pytest.mark.parametrize(
    ("source", "target", "wanted"),
    [("beta", "", "alpha"), ("", "beta", "beta"), ("beta", "gamma", "gamma"), ("alpha", "gamma", "gamma")],
    ids=["pull", "push", "from one to another", "push by name"],
)
async def test_file_comes_where_it_is_wanted(mesh: Mesh, source: str, target: str, wanted: str) -> None:
    """Whole, and the source is gone after a move."""
    origin = mesh.files[source or "alpha"] / "thing.bin"
    origin.write_bytes(CONTENT)
    task = TaskClient.for_paglet(await mesh.client.create(FileGrabber), FileGrabber)
    done = await task.start_and_wait(
        GrabRequest(
            source_host=source,
            source_path="thing.bin",
            target_host=target,
            destination_path="in/",
            mode=FILE_MODE_MOVE,
        ),
        timeout_s=30.0,
    )
    assert (done.phase, done.error) == (TaskPhase.COMPLETED, "")
    assert done.result is not None
    assert (done.result.source.host, done.result.destination.host) == (source or "alpha", wanted)
    assert (mesh.files[wanted] / "in" / "thing.bin").read_bytes() == CONTENT
    assert (await mesh.client.get(task.proxy.paglet_id)).host == wanted


async def test_destination_that_is_there_stays(mesh: Mesh) -> None:
    """The task has failed where the file is, which is still there."""
    (mesh.files["beta"] / "thing.bin").write_bytes(CONTENT)
    (mesh.files["alpha"] / "thing.bin").write_bytes(b"precious")
    task = TaskClient.for_paglet(await mesh.client.create(FileGrabber), FileGrabber)
    done = await task.start_and_wait(
        GrabRequest(source_host="beta", source_path="thing.bin", mode=FILE_MODE_COPY), timeout_s=30.0
    )
    assert done.phase is TaskPhase.FAILED
    assert "destination already exists" in done.error
    assert (mesh.files["alpha"] / "thing.bin").read_bytes() == b"precious"
    assert (await mesh.client.get(task.proxy.paglet_id)).host == "beta"


@pytest.mark.parametrize(("source", "told"), [("nowhere", "nowhere"), ("beta", "not a file")])
async def test_file_that_is_not_there_fails_the_task(mesh: Mesh, source: str, told: str) -> None:
    """With what is wrong."""
    task = TaskClient.for_paglet(await mesh.client.create(FileGrabber), FileGrabber)
    done = await task.start_and_wait(
        GrabRequest(source_host=source, source_path="no-thing.bin", mode=FILE_MODE_COPY), timeout_s=30.0
    )
    assert done.phase is TaskPhase.FAILED
    assert told in done.error
