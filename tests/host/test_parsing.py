"""What a request asks of a paglet class is known of the class alone."""

from __future__ import annotations

import pytest

from paglet.v1 import artifact_pb2
from paglets.core.handlers import Handler
from paglets.errors import InvalidArgumentError, OperationNotFoundError
from paglets.host.parsing import parse_request
from paglets.operations import ServiceContract
from tests.host.bridge import BRIDGED, Bridge
from tests.host.probe import Probe

STREAMS = ServiceContract(artifact_pb2.DESCRIPTOR.services_by_name["ArtifactService"])


class Streaming(Probe):
    """A probe that has streams too."""


Streaming.handlers = {
    operation.path: Handler(operation, "read") for operation in STREAMS.operations if not operation.is_unary
}
"""Defining the class has set those of its services."""


@pytest.mark.parametrize("path", Streaming.handlers)
def test_streams_are_refused(path: str) -> None:
    """Whatever streams has no place here, and it is said what to do instead."""
    with pytest.raises(InvalidArgumentError) as caught:
        parse_request("p", Streaming, path, b"")
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
