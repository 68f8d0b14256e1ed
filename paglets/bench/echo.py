"""A bare grpc.aio server that calls are held against: `python -m paglets.bench.echo`.

The service, messages and channel options of a host, and a handler that does nothing but answer. It must never know
paglets, states or disks.
"""

from __future__ import annotations

from typing import Any

import grpc

from paglet.examples.counter.v1 import counter_pb2, counter_pb2_grpc
from paglets.bench.worker import until_eof
from paglets.loop import run
from paglets.wire.channel_options import SERVER_OPTIONS

__all__ = ["Echo", "main"]


class Echo(counter_pb2_grpc.CounterServiceServicer):
    """Answers at once."""

    async def Add(  # noqa: N802 - named by the proto
        self, request: counter_pb2.AddRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> counter_pb2.AddResponse:
        """The amount that was to be added."""
        return counter_pb2.AddResponse(value=request.amount)

    async def Get(  # noqa: N802 - named by the proto
        self, request: counter_pb2.GetRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> counter_pb2.GetResponse:
        """Always the same."""
        return counter_pb2.GetResponse(value=1)


async def _main() -> None:
    server = grpc.aio.server(options=SERVER_OPTIONS)
    counter_pb2_grpc.add_CounterServiceServicer_to_server(Echo(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        await until_eof(f"127.0.0.1:{port}")
    finally:
        await server.stop(None)


def main() -> None:
    """Serves on a free port until standard input ends."""
    run(_main())


if __name__ == "__main__":
    main()
