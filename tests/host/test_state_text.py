"""A state that JSON cannot tell is said to be one; what is told can be given back."""

from __future__ import annotations

import math
from dataclasses import dataclass

import grpc
import pytest

from paglet.v1 import lifecycle_pb2
from paglets.errors import PreconditionError
from paglets.host.state_text import state_text
from paglets.state import StateCodec
from tests.host.conftest import Site
from tests.host.support import ask, call, refused
from tests.host.worker import SAVER_TYPE

_PATH = "/paglet.v1.LifecycleService/GetPagletState"


@dataclass
class Share:
    """A state."""

    share: float = 0.0


def test_number_that_json_has_not() -> None:
    """An infinite number is no null."""
    with pytest.raises(PreconditionError, match="cannot be told as JSON") as caught:
        state_text("probe", StateCodec(Share, 1, {}), Share(math.inf), 1)
    assert caught.value.reason == "STATE_UNREADABLE"


async def test_state_that_no_message_holds(alpha: Site) -> None:
    """It is refused for its size by the host that has it, awake or at rest, and not by whoever brings the reply."""
    await alpha.client.create(SAVER_TYPE, paglet_id="saver")
    await ask(alpha.channel, "saver", "Ask", "fill xx")
    request = lifecycle_pb2.GetPagletStateRequest(paglet_id="saver").SerializeToString()
    refusal = await refused(call(alpha.channel, _PATH, request))
    assert refusal.what == (grpc.StatusCode.FAILED_PRECONDITION, "STATE_UNREADABLE")
    await alpha.client.deactivate("saver")
    assert (await refused(call(alpha.channel, _PATH, request))).what == refusal.what
    assert (await alpha.client.get("saver")).state == "inactive"
