"""What a body tells of how far it is."""

from __future__ import annotations

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import BoolValue, Int64Value, StringValue

from paglets.patterns.task_state import TaskState
from paglets.patterns.tasks import TaskPaglet
from tests.fake_home import FakeHome
from tests.patterns.task_support import Outcome, Told, finished, get, number, start, told


class Detailed(TaskPaglet[StringValue, Int64Value, TaskState, BoolValue]):
    """Tells its progress with a message of its own."""

    async def run_task(self, request: StringValue) -> Int64Value:
        """Is half done, then done."""
        await self.report_progress(1, 2, "half", BoolValue(value=True))
        return Int64Value(value=2)


async def test_progress_is_durable_and_stays() -> None:
    """Counts, text and a message of the task's own are told with the time, and are kept when the task has ended."""
    home = FakeHome(Detailed)
    await start(home)
    await home.bodies_ended()
    status = await get(await home.restarted())
    progress, detail = status.progress, BoolValue()
    assert (progress.done, progress.total, progress.message) == (1, 2, "half")
    assert progress.detail.Unpack(detail)
    assert detail.value is True
    assert status.start_time.ToMicroseconds() <= progress.update_time.ToMicroseconds()
    assert progress.update_time.ToMicroseconds() <= status.complete_time.ToMicroseconds()
    assert number(status) == 2


async def test_progress_without_more() -> None:
    """A count alone is a progress: of unknown, without words; the next one forgets it, and so does another start."""
    home = FakeHome(Told)

    async def counts(_request: StringValue) -> Outcome:
        await told(home).report_progress(1, 10, "ten", StringValue(value="any message will do"))
        await told(home).report_progress(0)
        return None

    progress = (await finished(home, counts)).progress
    assert (progress.done, progress.total, progress.message, progress.HasField("detail")) == (0, 0, "", False)
    await told(home).complete_task(Int64Value())
    assert (await get(home)).HasField("progress")
    told(home).released.clear()
    assert not (await start(home)).HasField("progress")
    await home.quiesce()


async def test_task_not_under_way_has_no_progress() -> None:
    """Before a start and after the end there is nothing to tell."""
    home = FakeHome(Told)
    await told(home).report_progress(1)
    assert not (await get(home)).HasField("progress")
    await told(home).complete_task(Int64Value())
    revision = (await get(home)).revision
    await told(home).report_progress(1)
    status = await get(home)
    assert (status.HasField("progress"), status.revision) == (False, revision)


@pytest.mark.parametrize(("done", "total"), [(-1, None), (0, -1), (2**63, None), (0, 2**63)])
async def test_counts_that_cannot_be_sent_are_refused(done: int, total: int | None) -> None:
    """Counts are of 63 bits; a wrong one is the author's error, and changes nothing."""
    home = FakeHome(Told)
    await start(home)
    with pytest.raises(ValueError, match="must be between 0 and"):
        await told(home).report_progress(done, total)
    assert (await get(home)).revision == 2
    await home.quiesce()


async def test_words_are_cut_and_can_be_sent() -> None:
    """A text that is too long, or no text, is kept as well as it can be."""
    home = FakeHome(Told)
    await start(home)
    await told(home).report_progress(1, message="x" * 10_000)
    assert len((await get(home)).progress.message) == 4096
    await told(home).report_progress(1, message="\udc80")
    assert (await get(home)).progress.message == "\\udc80"
    await home.quiesce()


async def test_detail_of_another_class_is_refused() -> None:
    """A class that says of which message its details are takes no other; one that does not takes any message."""
    detailed, home = FakeHome(Detailed).paglet, FakeHome(Told)
    assert isinstance(detailed, Detailed)
    with pytest.raises(TypeError, match=r"Detailed must be google\.protobuf\.BoolValue, got StringValue"):
        await detailed.report_progress(1, detail=StringValue())  # pyright: ignore[reportArgumentType] - the mistake
    await start(home)
    for detail in (Struct(), AnyMessage()):
        await told(home).report_progress(1, detail=detail)
        assert (await get(home)).progress.detail.Is(detail.DESCRIPTOR)
    with pytest.raises(TypeError, match="must be a protobuf message, got str"):
        await told(home).report_progress(1, detail="no")  # pyright: ignore[reportArgumentType] - the mistake
    await home.quiesce()


def test_ways_to_declare_progress() -> None:
    """The fourth type argument and the class attribute say the same; a class that says nothing takes any message."""
    by_attribute = type("ByAttribute", (Told,), {"Progress": BoolValue})
    inherits = type("Inherits", (Detailed,), {})
    classes = (Detailed, by_attribute, inherits, Told)
    assert [each.progress_class() for each in classes] == [BoolValue, BoolValue, BoolValue, Message]
