"""One file to another host, at its target: what is refused, saved and told, and what later moves do."""

from __future__ import annotations

import logging

import pytest

from paglet.v1 import transfer_pb2
from paglets.core.events import MobilityEvent
from paglets.errors import AlreadyExistsError, PagletError
from paglets.patterns.file_mobility import SingleFileTransferPaglet
from tests.fake_home import FakeHome
from tests.patterns.file_support import (
    CONTENT,
    MODIFIED_NS,
    Grounds,
    Target,
    arrive,
    asked,
    failure,
    left,
    notes,
    paglet,
    ran,
    result,
    travelled,
)
from tests.patterns.task_support import get

MOVE = transfer_pb2.FILE_MODE_MOVE


@pytest.mark.parametrize(
    ("destination", "saved"),
    [("", "data.bin"), (".", "data.bin"), ("new/", "new/data.bin"), ("there", "there/data.bin"), ("a/b", "a/b")],
)
async def test_fm_5_final_path(grounds: Grounds, destination: str, saved: str) -> None:
    """The target's rules say where the file ends: its name, inside a folder, or exactly there."""
    (grounds.beta / "there").mkdir()
    there = await travelled(await ran(grounds, asked(destination_path=destination)), grounds)
    assert grounds.saved() == {saved: CONTENT}
    assert (await result(there)).destination.path == str(grounds.beta / saved)


async def test_fm_6_overwrite(grounds: Grounds) -> None:
    """A destination that exists is replaced when that was asked for."""
    grounds.write("in/copy.bin", b"old")
    await travelled(await ran(grounds, asked(overwrite=True)), grounds)
    assert grounds.saved() == {"in/copy.bin": CONTENT}


async def test_fm_7_later_moves_do_nothing(grounds: Grounds, caplog: pytest.LogCaptureFixture) -> None:
    """A finished task that is moved on neither saves again nor takes the file along, and stays finished."""
    there = await travelled(await ran(grounds, asked()), grounds)
    done = await get(there)
    assert paglet(there).current_transfer_arrival() is None
    (grounds.beta / "in/copy.bin").unlink()
    caplog.clear()
    await there.hook(there.paglet.on_dispatching, MobilityEvent("beta", "gamma", "t-2"))
    assert there.files == {}
    SingleFileTransferPaglet.check_arrival(there.cell.view, Target(grounds.beta, host="gamma"))
    further = FakeHome(SingleFileTransferPaglet, host="gamma", root=grounds.beta, state=there.cell.latest)
    await arrive(further)
    assert grounds.saved() == {}
    assert (await get(further)).result == done.result
    assert notes(caplog) == []


async def test_fm_7_foreign_move_does_not_take_the_file(grounds: Grounds) -> None:
    """An operator's move of a transfer that failed leaves the file behind: a later success would delete the source."""
    home = await ran(grounds, asked(mode=MOVE))
    await home.hook(home.paglet.on_dispatch_aborted, AlreadyExistsError("DESTINATION_EXISTS", "there already"))
    there = await left(home, grounds)
    assert (there.host, there.files) == ("beta", {})


async def test_fm_10_arrival(grounds: Grounds, caplog: pytest.LogCaptureFixture) -> None:
    """The file is saved, the result tells both ends with the source's times, the task is COMPLETED at the target."""
    there = await travelled(await ran(grounds, asked(mode=MOVE)), grounds)
    found = await result(there)
    status = (grounds.alpha / "data.bin").stat()
    assert grounds.saved() == {"in/copy.bin": CONTENT}
    assert (found.mode, found.dry_run, found.size_bytes) == (MOVE, False, len(CONTENT))
    assert (found.source.host, found.source.path) == ("alpha", str(grounds.alpha / "data.bin"))
    assert found.source.modify_time.ToNanoseconds() == MODIFIED_NS
    assert found.source.create_time.ToNanoseconds() == status.st_ctime_ns
    assert (found.destination.host, found.destination.path) == ("beta", str(grounds.beta / "in/copy.bin"))
    assert not found.destination.HasField("modify_time")
    assert (await get(there)).host == "beta"
    assert notes(caplog)[-1] == "File transfer saved file"


async def test_fm_10_failed_arrival(grounds: Grounds, caplog: pytest.LogCaptureFixture) -> None:
    """A file that cannot be saved fails the arrival, so that the source stays; the task FAILED, an error is noted."""
    there = await left(await ran(grounds, asked(mode=MOVE)), grounds)
    grounds.write("in/copy.bin", b"somebody was faster")
    with pytest.raises(AlreadyExistsError, match="destination already exists"):
        await arrive(there)
    assert (await failure(there)).startswith("Transfer to beta failed: destination already exists: ")
    assert grounds.saved() == {"in/copy.bin": b"somebody was faster"}
    assert notes(caplog)[-1] == "File transfer failed"
    assert caplog.records[-1].levelno == logging.ERROR


async def test_fm_11_existing_destination_is_refused_before_anything_moves(
    grounds: Grounds, caplog: pytest.LogCaptureFixture
) -> None:
    """The target refuses at once: the task FAILED at the source with the reason, the destination is untouched."""
    grounds.write("in/copy.bin", b"old")
    home = await ran(grounds, asked(mode=MOVE))
    assert await left(home, grounds) is home
    wanted = f"Transfer to beta failed: destination already exists: {grounds.beta / 'in/copy.bin'}"
    assert await failure(home) == wanted
    status = await get(home)
    assert (status.error_code, status.error_reason) == (6, "DESTINATION_EXISTS")
    assert grounds.saved() == {"in/copy.bin": b"old"}
    assert (grounds.alpha / "data.bin").read_bytes() == CONTENT
    assert notes(caplog)[-1] == "File transfer failed"
    assert caplog.messages[-1].endswith(wanted)


@pytest.mark.parametrize(
    ("target", "destination", "reason"),
    [
        ("gamma", "in/copy.bin", "ARRIVAL_REFUSED"),
        ("beta", "../elsewhere", "PATH_OUTSIDE_ROOTS"),
        ("beta", "folder", "DESTINATION_EXISTS"),
        ("beta", "x" * 256, "DESTINATION_UNWRITABLE"),
    ],
)
async def test_check_arrival_refuses(grounds: Grounds, target: str, destination: str, reason: str) -> None:
    """Another host, a path outside the roots and a folder in the way are refused before anything moves."""
    (grounds.beta / "folder" / "data.bin").mkdir(parents=True)
    home = await ran(grounds, asked(destination_path=destination, overwrite=destination == "folder"))
    with pytest.raises(PagletError) as refused:
        SingleFileTransferPaglet.check_arrival(home.cell.view, Target(grounds.beta, host=target))
    assert refused.value.reason == reason


@pytest.mark.parametrize("overwrite", [True, False])
async def test_arrival_again_after_a_crash(grounds: Grounds, *, overwrite: bool) -> None:
    """A file that an earlier attempt saved before the crash is a success."""
    there = await left(await ran(grounds, asked(overwrite=overwrite)), grounds)
    grounds.write("in/copy.bin", CONTENT)
    await arrive(there, attempt=2)
    assert (await result(there)).destination.path == str(grounds.beta / "in/copy.bin")
    assert grounds.saved() == {"in/copy.bin": CONTENT}


@pytest.mark.parametrize(("attempt", "content"), [(1, CONTENT), (2, CONTENT[::-1]), (2, CONTENT[:-1])])
async def test_destination_of_somebody_else(grounds: Grounds, attempt: int, content: bytes) -> None:
    """A destination that this transfer did not write is a failure, and stays as it is."""
    there = await left(await ran(grounds, asked()), grounds)
    grounds.write("in/copy.bin", content)
    with pytest.raises(AlreadyExistsError):
        await arrive(there, attempt=attempt)
    assert grounds.saved() == {"in/copy.bin": content}
