"""A task that is done at once: `--allow tests.blocking.echo`."""

from __future__ import annotations

from google.protobuf.wrappers_pb2 import StringValue

from paglets.patterns.tasks import TaskPaglet

__all__ = ["ECHO_MODULE", "Echo"]

ECHO_MODULE = "tests.blocking.echo"


class Echo(TaskPaglet[StringValue, StringValue]):
    """Its result is its request."""

    async def run_task(self, request: StringValue) -> StringValue:
        """The work."""
        return request
