"""What a request asks of a paglet class is known of the class alone."""

from __future__ import annotations

import pytest

from paglets.errors import InternalError, InvalidArgumentError, OperationNotFoundError
from paglets.host.parsing import encoded, parse_request
from tests.host.bridge import BRIDGED, Bridge
from tests.host.probe import Probe
from tests.host.streamer import Streamer
from tests.patterns.spreader import Spreader

PROBE = "paglets.tests.probe.v1.ProbeService"
STREAMS = [path for path, handler in Streamer.handlers.items() if not handler.operation.is_unary]


@pytest.mark.parametrize("path", STREAMS)
def test_streams_are_refused(path: str) -> None:
    """Whatever streams has no place here, and it is said what to do instead."""
    with pytest.raises(InvalidArgumentError) as caught:
        parse_request("p", Streamer, path, b"")
    assert (caught.value.reason, caught.value.field) == ("OPERATION_STREAMS", "operation")
    assert caught.value.metadata == {"operation": path[1:]}
    assert "its own rpc" in caught.value.message
    assert "paglet-id" in caught.value.message


def test_others_are_for_who_takes_them() -> None:
    """An unknown operation is refused, unless the class takes any: as a turn, the same if its bytes are."""
    with pytest.raises(OperationNotFoundError):
        parse_request("p", Probe, f"/{BRIDGED}/Add", b"")
    parsed = parse_request("p", Bridge, f"/{BRIDGED}/Add", b"a")
    assert not parsed.is_read_only
    assert parsed.fingerprint() == parse_request("q", Bridge, f"/{BRIDGED}/Add", b"a", "x").fingerprint()
    for path, data in ((f"/{BRIDGED}/Add", b"b"), (f"/{BRIDGED}/Hold", b"a")):
        assert parsed.fingerprint() != parse_request("p", Bridge, path, data).fingerprint()


@pytest.mark.parametrize(
    ("operation", "instead"),
    [
        ("paglets.tests.probe.v1.ProbeService/Apend", "; did you mean Append?"),
        ("paglets.tests.probe.v1.ProbeService/Xyzzy", ""),
        ("paglets.tests.prob.v1.ProbeService/Append", "; it answers paglets.tests.probe.v1.ProbeService"),
        ("Append", "; it answers paglets.tests.probe.v1.ProbeService"),
    ],
)
def test_core_5_unknown_operation_tells_which_may_be_meant(operation: str, instead: str) -> None:
    """Of a service that it answers a rpc of nearly that name; else what services it answers."""
    with pytest.raises(OperationNotFoundError) as caught:
        parse_request("p", Probe, f"/{operation}", b"")
    assert caught.value.message == f"paglet p of type {Probe.type_name()} has no operation {operation}{instead}"


def test_nothing_is_a_reply_without_fields() -> None:
    """A method that returns nothing has answered if there is nothing to tell; else it has forgotten to."""
    reports, adds = Spreader.handlers["/paglet.v1.FanoutService/Report"], Probe.handlers[f"/{PROBE}/Append"]
    assert encoded(reports, None) == b""
    with pytest.raises(InternalError, match="answered with NoneType"):
        encoded(adds, None)
    with pytest.raises(InternalError, match="answered with str"):
        encoded(reports, "")
