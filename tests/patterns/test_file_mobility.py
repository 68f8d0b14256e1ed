"""One file to another host, at its source: what is planned, refused and told before it leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest

from paglet.v1 import task_pb2, transfer_pb2
from paglets.patterns.file_mobility import FileMobilityMixin, SingleFileTransferPaglet
from paglets.patterns.file_plan import FileTransferState
from paglets.patterns.tasks import TaskPaglet
from paglets.values import FileMode, TaskPhase
from tests.patterns.file_support import (
    CONTENT,
    MODIFIED_NS,
    Grounds,
    asked,
    failure,
    notes,
    ran,
    result,
    travelled,
)
from tests.patterns.task_support import get

MOVE = transfer_pb2.FILE_MODE_MOVE


@pytest.mark.parametrize("dry_run", [True, False])
async def test_fm_1_target_is_required(grounds: Grounds, *, dry_run: bool) -> None:
    """A transfer to nowhere fails with a sentence, in a dry run too, and touches nothing."""
    home = await ran(grounds, asked(target_host=" ", dry_run=dry_run))
    assert await failure(home) == "target_host is required"
    assert (home.files, home.departures) == ({}, [])
    home = await ran(grounds, asked(target_host="no host", dry_run=dry_run))
    assert "target_host must match" in await failure(home)
    assert (home.files, home.departures) == ({}, [])


@pytest.mark.parametrize("source", ["gone.bin", ".", ""])
async def test_fm_2_source_must_be_a_file(grounds: Grounds, source: str) -> None:
    """A source that is missing or a folder fails the task, with its path."""
    home = await ran(grounds, asked(source_path=source))
    assert await failure(home) == f"source is not a file: {grounds.alpha / source}"
    assert [getattr(error, "reason", "") for error in home.mishaps] == ["SOURCE_NOT_A_FILE"]


async def test_fm_2_link_is_followed(grounds: Grounds) -> None:
    """A link to a file below the roots is that file."""
    (grounds.alpha / "link").symlink_to(grounds.alpha / "data.bin")
    there = await travelled(await ran(grounds, asked(source_path="link")), grounds)
    assert grounds.saved() == {"in/copy.bin": CONTENT}
    assert (await result(there)).source.path == str(grounds.alpha / "data.bin")


@pytest.mark.parametrize("source", ["../elsewhere", "/etc/hostname", "way-out"])
async def test_w_58_source_outside_the_roots(grounds: Grounds, source: str) -> None:
    """No path and no link leads to a file that is not below the roots of the source."""
    (grounds.alpha / "way-out").symlink_to("/etc/hostname")
    home = await ran(grounds, asked(source_path=source))
    assert "is not below" in await failure(home)
    assert home.files == {}


async def test_fm_3_plan_is_remembered(grounds: Grounds) -> None:
    """Everything that was planned is in the state before the paglet leaves."""
    home = await ran(grounds, asked(destination_path="in/", mode=MOVE, overwrite=True))
    state: FileTransferState = home.cell.view
    found = (grounds.alpha / "data.bin").stat()
    assert (state.transfer_id, state.mode, state.dry_run, state.overwrite) == ("ft-1", FileMode.MOVE, False, True)
    assert (state.source_host, state.source_path) == ("alpha", str(grounds.alpha / "data.bin"))
    assert (state.source_modified_ns, state.source_created_ns) == (found.st_mtime_ns, found.st_ctime_ns)
    assert (state.file_name, state.size_bytes) == ("data.bin", len(CONTENT))
    assert (state.destination_host, state.destination_path, state.final_path) == ("beta", "in/", "in/data.bin")


async def test_fm_3_transfer_id_is_made(grounds: Grounds) -> None:
    """A request without an id gets one of its own."""
    request = asked(dry_run=True)
    request.transfer_id = ""
    ids = {(await result(await ran(grounds, request))).transfer_id for _ in range(2)}
    assert len(ids) == 2
    assert all(found.startswith("file-transfer-") for found in ids)


async def test_fm_3_unknown_mode_fails(grounds: Grounds) -> None:
    """A mode that this version does not know is no copy."""
    request = asked()
    request.mode = 77  # pyright: ignore[reportAttributeAccessIssue] - what a newer client might send
    assert "mode is no mode of a file: 77" in await failure(await ran(grounds, request))


async def test_fm_8_names_can_be_overridden(grounds: Grounds, caplog: pytest.LogCaptureFixture) -> None:
    """A class may call the travelling file and its notes otherwise."""

    class Grabber(SingleFileTransferPaglet):
        """Has names of its own."""

        registered_file_name = "grabbed-file"
        notification_title = "File grabber"

    home = await ran(grounds, asked(), Grabber)
    assert list(home.files) == ["grabbed-file"]
    await travelled(home, grounds)
    assert grounds.saved() == {"in/copy.bin": CONTENT}
    assert notes(caplog) == ["File grabber found file", "File grabber dispatching", "File grabber saved file"]


@pytest.mark.parametrize(("mode", "verb"), [(transfer_pb2.FILE_MODE_UNSPECIFIED, "copy"), (MOVE, "move")])
async def test_fm_9_dry_run(
    grounds: Grounds, caplog: pytest.LogCaptureFixture, mode: transfer_pb2.FileMode.ValueType, verb: str
) -> None:
    """A dry run tells what would be done and ends; nothing is registered and nobody is asked."""
    home = await ran(grounds, asked(mode=mode, dry_run=True))
    found = await result(home)
    assert (found.dry_run, found.transfer_id, found.file_name) == (True, "ft-1", "data.bin")
    assert (found.size_bytes, found.size) == (3000, "2.9 KB")
    assert found.source.modify_time.ToNanoseconds() == MODIFIED_NS
    assert found.source.create_time.ToNanoseconds() == (grounds.alpha / "data.bin").stat().st_ctime_ns
    assert (found.source.host, found.source.path) == ("alpha", str(grounds.alpha / "data.bin"))
    assert (found.destination.host, found.destination.path) == ("beta", "in/copy.bin")
    assert (home.files, home.departures, grounds.saved()) == ({}, [], {})
    assert notes(caplog) == ["File transfer found file", "File transfer dry run"]
    assert caplog.messages[-1].endswith(f"Would {verb} {grounds.alpha / 'data.bin'} (2.9 KB) to beta:in/copy.bin")


async def test_fm_9_order(grounds: Grounds, caplog: pytest.LogCaptureFixture) -> None:
    """The file is registered, the task waits durably, and only then the paglet asks for the move; steps are noted."""
    request = asked(mode=MOVE)
    request.destination_label = "the lab"
    home = await ran(grounds, request)
    assert (await get(home)).phase == task_pb2.TASK_PHASE_WAITING_FOR_ARRIVAL
    assert {name: file.mode for name, file in home.files.items()} == {"file": FileMode.MOVE}
    assert home.departures == ["beta"]
    assert notes(caplog) == ["File transfer found file", "File transfer dispatching"]
    assert caplog.messages[-1].endswith("to the lab:in/copy.bin")
    assert {vars(record)["job_id"] for record in caplog.records} == {"ft-1"}


async def test_fm_9_each_note_tells_what_is_durable(grounds: Grounds) -> None:
    """A dry run is over when that is noted, and a transfer waits for its arrival when the dispatch is noted."""

    class Watched(SingleFileTransferPaglet):
        """Looks at the durable phase when a note is given."""

        seen: ClassVar[list[tuple[str, TaskPhase]]] = []

        async def notify_transfer_info(self, title: str, message: str) -> bool:
            """Looks."""
            self.seen.append((title, self.state.phase))
            return await super().notify_transfer_info(title, message)

    await ran(grounds, asked(dry_run=True), Watched)
    await ran(grounds, asked(), Watched)
    assert Watched.seen == [
        ("found file", TaskPhase.RUNNING),
        ("dry run", TaskPhase.COMPLETED),
        ("found file", TaskPhase.RUNNING),
        ("dispatching", TaskPhase.WAITING_FOR_ARRIVAL),
    ]


def test_parts_serve_other_tasks() -> None:
    """The parts are for any task whose state derives from FileTransferState."""

    @dataclass
    class GrabberState(FileTransferState):
        """Keeps more."""

        label: str = ""

    class Grabber(FileMobilityMixin[GrabberState], TaskPaglet[task_pb2.TaskStatus, task_pb2.TaskStatus, GrabberState]):
        """A task of its own."""

    assert Grabber.State is GrabberState
    assert set(Grabber.handlers) == set(SingleFileTransferPaglet.handlers)
