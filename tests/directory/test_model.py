"""`apply` against a model: a dict of rows, and the rules once more in the plainest words."""

import asyncio
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paglets.directory.contract import Guard, Intent, PagletRow, PagletState, RowWrite
from paglets.directory.sqlite import SqliteDirectory
from paglets.errors import ConflictError
from tests.directory.support import Clock, take

IDS = ("a", "b", "c")


@dataclass(frozen=True)
class Step:
    """A write as someone intends it who may have seen an old row: the model makes the guard from what is there."""

    paglet_id: str
    kind: str  # insert, change, move, freeze, dispose
    stale_by: int  # how far the guard's epoch is off
    wrong_owner: bool
    wrong_intent: bool


STEPS = st.builds(
    Step,
    paglet_id=st.sampled_from(IDS),
    kind=st.sampled_from(["insert", "insert", "change", "move", "freeze", "dispose"]),
    stale_by=st.sampled_from([0, 0, 0, 0, 1, -1]),
    wrong_owner=st.sampled_from([False, False, False, True]),
    wrong_intent=st.sampled_from([False, False, False, True]),
)
BATCHES = st.lists(st.lists(STEPS, min_size=1, max_size=4), min_size=1, max_size=12)


class Model:
    """What a directory is, without a file."""

    def __init__(self) -> None:
        self.rows: dict[str, PagletRow] = {}
        self.revision = 0

    def write(self, step: Step) -> RowWrite:
        """The write that the step stands for, given the rows there are before its batch."""
        found = self.rows.get(step.paglet_id)
        row = found or PagletRow(paglet_id=step.paglet_id, type="shop.Cart", owner="alpha", state=PagletState.ACTIVE)
        if step.kind == "insert":
            inserted = replace(row, owner="alpha", state=PagletState.ACTIVE, intent=None)
            ended = row.epoch if row.state is PagletState.DISPOSED else 0
            guard = Guard(step.paglet_id, epoch=max(0, ended + step.stale_by), absent=True)
            return RowWrite(guard, inserted, step.kind)
        owner = "nobody" if step.wrong_owner else row.owner
        transfer_id = row.intent.transfer_id if row.intent else ""
        if step.wrong_intent:
            transfer_id = "" if transfer_id else "x-wrong"
        guard = Guard(step.paglet_id, owner, row.epoch + step.stale_by, transfer_id)
        after = replace(row, epoch=guard.epoch + 1, intent=None, state=PagletState.ACTIVE)
        match step.kind:
            case "move":
                after = replace(after, owner="beta" if row.owner == "alpha" else "alpha")
            case "freeze":
                after = replace(after, intent=Intent(f"x-{self.revision}", "beta"), state=PagletState.DEPARTING)
            case "dispose":
                after = replace(after, state=PagletState.DISPOSED)
            case _:
                after = replace(after, error=f"changed at {self.revision}")
        return RowWrite(guard, after, step.kind)

    def apply(self, writes: list[RowWrite], now: float) -> list[PagletRow] | str:
        """The rows written, or the id at which the batch fails."""
        rows, revision, written = dict(self.rows), self.revision, list[PagletRow]()
        for write in writes:
            guard, found = write.guard, rows.get(write.guard.paglet_id)
            live = found is not None and found.state is not PagletState.DISPOSED
            if guard.absent and (live or guard.epoch != (found.epoch if found is not None else 0)):
                return guard.paglet_id
            if not guard.absent:
                if found is None or not live:
                    return guard.paglet_id
                if (found.owner, found.epoch) != (guard.owner, guard.epoch):
                    return guard.paglet_id
                if (found.intent.transfer_id if found.intent else "") != guard.transfer_id:
                    return guard.paglet_id
            revision += 1
            made = replace(write.row, revision=revision)
            if guard.absent or found is None:
                made = replace(made, epoch=revision, created_at=now)
            else:
                made = replace(made, created_at=found.created_at)
            rows[made.paglet_id] = made
            written.append(made)
        self.rows, self.revision = rows, revision
        return written


async def follow(batches: list[list[Step]], folder: Path) -> None:
    """Runs the batches on a directory and on the model, and compares all there is to see."""
    clock, model = Clock(), Model()
    directory = await SqliteDirectory.open(folder / "directory.db", clock)
    for batch in batches:
        clock.now += 1
        writes = [model.write(step) for step in batch]
        expected = model.apply(writes, clock.now)
        if isinstance(expected, str):
            with pytest.raises(ConflictError) as caught:
                await directory.apply(writes)
            assert caught.value.metadata == {"paglet_id": expected}
        else:
            assert await directory.apply(writes) == expected
    for paglet_id in IDS:
        found = await directory.get(paglet_id)
        assert found == model.rows.get(paglet_id)
        assert found is None or found.epoch <= found.revision <= model.revision
    by_revision = sorted(model.rows.values(), key=lambda row: row.revision)
    assert await take(directory.watch(0), len(by_revision)) == by_revision
    by_id = [model.rows[paglet_id] for paglet_id in IDS if paglet_id in model.rows]
    assert await directory.list() == [row for row in by_id if row.state is not PagletState.DISPOSED]
    await directory.close()


@pytest.mark.slow
@settings(max_examples=60)
@given(batches=BATCHES)
def test_apply_is_as_the_model_says(batches: list[list[Step]]) -> None:
    """Whatever is written in whatever order, outcome, rows, list and watch are the model's."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(follow(batches, Path(folder)))
