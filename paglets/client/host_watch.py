"""A watch of the hosts of a mesh that outlives its connection."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import grpc

from paglet.v1 import mesh_pb2, mesh_pb2_grpc
from paglets.client.calls import errors_of_calls
from paglets.client.resume import resumed
from paglets.values import HostNotice
from paglets.wire.mesh import host_notice_from_message

__all__ = ["watch_hosts"]


def watch_hosts(stub: mesh_pb2_grpc.MeshServiceAsyncStub) -> AsyncGenerator[HostNotice, None]:
    """What becomes of hosts, over any number of connections, each of which begins with all of them."""

    def open_call(
        _after: str,
    ) -> grpc.aio.UnaryStreamCall[mesh_pb2.WatchHostsRequest, mesh_pb2.WatchHostsResponse]:
        with errors_of_calls():
            return stub.WatchHosts(mesh_pb2.WatchHostsRequest(), wait_for_ready=True)

    return resumed("hosts", "", open_call, host_notice_from_message, lambda _: "")
