"""A paglet is created as a whole, or has never been."""

from __future__ import annotations

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from paglets.errors import AlreadyExistsError, NotFoundError, PagletError, PreconditionError
from tests.host.conftest import Site
from tests.host.probe import Probe
from tests.host.probe_service import PROBE
from tests.host.support import PROBE_TYPE, ask, new_request


@pytest.mark.parametrize(
    ("error", "reason"),
    [(ValueError("secret"), "HOOK_FAILED"), (PreconditionError("TASK_RUNNING", "not now"), "TASK_RUNNING")],
)
async def test_life_1_refused_creation_leaves_nothing(
    alpha: Site, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    """Whoever asked is told why; what the hook wrote, posted and wished has never been, and the id is free."""
    refusals = [error]

    async def on_creation(probe: Probe, _event: object) -> None:
        probe.state.lines.append("born")
        if refusals:
            probe.post("other", f"{PROBE.full_name}/Append", StringValue(value="a"))
            probe.dispatch("nowhere")
            raise refusals.pop()

    monkeypatch.setattr(Probe, "on_creation", on_creation)
    request_id = new_request()
    with pytest.raises(PagletError) as caught:
        await alpha.client.create(PROBE_TYPE, paglet_id="probe", request_id=request_id)
    assert caught.value.reason == reason
    assert "secret" not in str(caught.value)
    with pytest.raises(NotFoundError):
        await alpha.client.history("probe")
    assert [found async for found in alpha.client.list()] == []
    assert await alpha.host.parts.journal.paglet_ids() == []
    await alpha.client.create(PROBE_TYPE, paglet_id="probe", request_id=request_id)
    assert (await ask(alpha.channel, "probe", "Read")).text == "born"


async def test_life_1_one_for_its_request(alpha: Site) -> None:
    """The same request gives the same paglet, as it is by then; another one for the id is refused."""
    request_id = new_request()
    for line in ("a", "a b"):
        created = await alpha.client.create(PROBE_TYPE, request_id=request_id)
        assert (await ask(alpha.channel, created.paglet_id, "Append", line[-1])).text == line
    with pytest.raises(AlreadyExistsError):
        await alpha.client.create(PROBE_TYPE, paglet_id=created.paglet_id)
    assert len([found async for found in alpha.client.list()]) == 1
