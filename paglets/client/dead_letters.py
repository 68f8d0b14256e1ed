"""The dead letters of paglets: posts that failed three times, to be read, run again or dropped."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from google.protobuf.any_pb2 import Any as AnyMessage

from paglet.v1 import operation_pb2 as pb
from paglet.v1 import operation_pb2_grpc
from paglets.errors import PagletError
from paglets.wire.status import from_status_bytes
from paglets.wire.times import time_from_message

__all__ = ["DeadLetter", "DeadLetters"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A post that failed `failures` times, at last with `error`; it came at `created_at`, seconds since the epoch.

    One that the paglet made itself, and that was refused for good, has a `receiver`.
    """

    post_id: str
    operation: str
    request: AnyMessage
    request_id: str
    created_at: float
    failures: int
    error: PagletError
    receiver: str = ""


class DeadLetters:
    """The dead letters of a mesh's paglets, through one host. Raises PAGLET_NOT_FOUND, INVALID_ID."""

    def __init__(self, stub: operation_pb2_grpc.OperationServiceAsyncStub) -> None:
        self._stub = stub

    async def list(self, paglet_id: str, *, page_size: int = 100) -> AsyncIterator[DeadLetter]:
        """Those of one paglet, in the order in which they came."""
        request = pb.ListDeadLettersRequest(paglet_id=paglet_id, page_size=page_size)
        while True:
            reply = await self._stub.ListDeadLetters(request)
            for letter in reply.dead_letters:
                yield _from_message(letter)
            if not reply.next_page_token:
                return
            request.page_token = reply.next_page_token

    async def replay(self, paglet_id: str, *post_ids: str) -> Sequence[str]:
        """Has some run again, behind the posts that wait; returns which. Safe to repeat. Raises ARRIVAL_FAILED."""
        request = pb.ReplayDeadLettersRequest(paglet_id=paglet_id, post_ids=post_ids)
        return tuple((await self._stub.ReplayDeadLetters(request)).post_ids)

    async def drop(self, paglet_id: str, *post_ids: str) -> Sequence[str]:
        """Forgets some; a late duplicate of one is not run. Returns which. Safe to repeat."""
        request = pb.DropDeadLettersRequest(paglet_id=paglet_id, post_ids=post_ids)
        return tuple((await self._stub.DropDeadLetters(request)).post_ids)


def _from_message(letter: pb.DeadLetter) -> DeadLetter:
    return DeadLetter(
        post_id=letter.post_id,
        operation=letter.operation,
        request=letter.request,
        request_id=letter.request_id,
        created_at=time_from_message(letter.create_time),
        failures=letter.failures,
        error=from_status_bytes(letter.status),
        receiver=letter.receiver,
    )
