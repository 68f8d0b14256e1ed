"""Hosts whose code is older or newer than a state: refused before a byte moves, or kept until somebody can read it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import grpc
import pytest

from paglets.state import StateCodec
from paglets.values import PagletState
from tests.artifacts.support import is_empty
from tests.host.conftest import Mesh, Site, site
from tests.host.probe import Probe, ProbeState
from tests.host.stage import STAGE
from tests.host.support import PROBE_TYPE, ask, refused
from tests.host.worker import SAVER_TYPE

_ILLEGAL = grpc.StatusCode.FAILED_PRECONDITION
_NEWER = StateCodec(ProbeState, 2, {1: dict})
_NEWEST = StateCodec(ProbeState, 3, {1: dict, 2: lambda fields: {**fields, "lines": [*fields["lines"], "raised"]}})


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Whatever a test starts ends with it."""
    async with AsyncExitStack() as opened:
        yield opened
        STAGE.clear()


@contextmanager
def _probes_of(codec: StateCodec[ProbeState]) -> Generator[None]:
    """For the block the class of probes has another version."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Probe, "codec", codec)
        yield


async def _newer_one(folder: Path, *, rests: bool) -> None:
    """A host of newer code leaves a probe behind, with a file and the outcome of a request."""
    with _probes_of(_NEWER):
        async with AsyncExitStack() as first:
            alpha = await site(first, folder, "alpha")
            await alpha.client.create(PROBE_TYPE, paglet_id="probe")
            (alpha.files / "file").write_bytes(b"bytes")
            await ask(alpha.channel, "probe", "Ask", "copy file")
            await ask(alpha.channel, "probe", "Append", "a", request_id="r-1")
            if rests:
                await alpha.client.deactivate("probe")


async def _is_whole(alpha: Site, lines: str) -> None:
    """Nothing of it was lost."""
    assert (await ask(alpha.channel, "probe", "Append", "a", request_id="r-1")).replayed
    assert (await ask(alpha.channel, "probe", "Append", "b")).text == lines
    assert [file.name for file in (await alpha.host.parts.journal.belongings("probe")).files] == ["file"]


async def test_quarantined_until_its_class_is_back(stack: AsyncExitStack, tmp_path: Path) -> None:
    """A host of older code keeps what it cannot read, says so, serves all others, and gives it back to newer code."""
    await _newer_one(tmp_path, rests=False)
    async with AsyncExitStack() as second:
        alpha = await site(second, tmp_path, "alpha")
        refusal = await refused(ask(alpha.channel, "probe", "Append", "b"))
        assert refusal.what == (_ILLEGAL, "STATE_UNREADABLE")
        assert "cannot read version 2" in refusal.message
        assert (await alpha.client.get("probe")).state is PagletState.QUARANTINED
        await alpha.client.create(PROBE_TYPE, paglet_id="other")
        assert (await ask(alpha.channel, "other", "Append", "x")).text == "x"
        kept = await alpha.host.parts.journal.required("probe")
        assert kept.state_version == 2
    with _probes_of(_NEWEST):
        alpha = await site(stack, tmp_path, "alpha")
        await _is_whole(alpha, "a raised b")
        assert (await alpha.client.get("probe")).state is PagletState.ACTIVE


async def test_quarantined_survives_older_starts(stack: AsyncExitStack, tmp_path: Path) -> None:
    """However often older code is started, the bytes stay as they were."""
    await _newer_one(tmp_path, rests=False)
    for _ in range(2):
        async with AsyncExitStack() as older:
            alpha = await site(older, tmp_path, "alpha")
            assert (await refused(ask(alpha.channel, "probe", "Read"))).reason == "STATE_UNREADABLE"
    with _probes_of(_NEWER):
        await _is_whole(await site(stack, tmp_path, "alpha"), "a b")


async def test_unreadable_one_that_rests_stays_at_rest(stack: AsyncExitStack, tmp_path: Path) -> None:
    """An inactive paglet that cannot be read is not woken, and is as it was when it can be."""
    await _newer_one(tmp_path, rests=True)
    async with AsyncExitStack() as second:
        alpha = await site(second, tmp_path, "alpha")
        refusal = await refused(ask(alpha.channel, "probe", "Append", "b"))
        assert refusal.what == (_ILLEGAL, "STATE_VERSION_UNSUPPORTED")
        assert (await alpha.client.get("probe")).state is PagletState.INACTIVE
    with _probes_of(_NEWER):
        await _is_whole(await site(stack, tmp_path, "alpha"), "a rests woken b")


@pytest.mark.parametrize("large", [False, True])
async def test_target_that_cannot_read_gets_no_byte(mesh: Mesh, tmp_path: Path, *, large: bool) -> None:
    """An older target refuses by the version alone: neither a large state nor a file was sent when it does."""
    await mesh.alpha.client.create(SAVER_TYPE, paglet_id="saver")
    (mesh.alpha.files / "file").write_bytes(bytes(100_000))
    await ask(mesh.alpha.channel, "saver", "Ask", "copy file")
    if large:
        await ask(mesh.alpha.channel, "saver", "Ask", "fill x")
    resident = mesh.alpha.host.residents.get("saver")
    assert resident is not None
    resident.runner.cell.codec = _NEWER
    with pytest.raises(Exception, match="cannot read version 2"):
        await mesh.alpha.client.dispatch("saver", "beta")
    assert is_empty(tmp_path / "beta" / "artifacts")
    assert not (await mesh.beta.host.parts.store.list()).refs
    assert await mesh.beta.host.parts.journal.arrivals() == []
    assert (await ask(mesh.alpha.channel, "saver", "Append", "on")).text.endswith("on")
