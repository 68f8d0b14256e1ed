"""A task called without its classes: JSON in and out, with messages made of what the paglet's host tells of them."""

from __future__ import annotations

import json
from typing import Any

import click
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.json_format import ParseError
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from paglet.v1 import task_pb2
from paglet.v1.task_pb2_grpc import TaskServiceStub
from paglets.cli.output import Record, time_text
from paglets.cli.reflection import Reflection
from paglets.client.proxy import PagletProxy
from paglets.client.safe_channel import SafeChannel
from paglets.client.task_snapshot import TaskProgress, TaskSnapshot
from paglets.client.tasks import TaskClient
from paglets.errors import OperationNotFoundError, PagletError, error_for
from paglets.values import TaskPhase
from paglets.wire.metadata import PAGLET_ID_KEY

__all__ = ["AnyTask", "failure_of"]


class AnyTask:
    """The task of a paglet, whatever it takes and gives. `client` has results and details as they came."""

    def __init__(self, proxy: PagletProxy) -> None:
        self.client = TaskClient(proxy, Message, Message)
        metadata = ((PAGLET_ID_KEY, proxy.paglet_id),)
        self._reflection = Reflection(
            SafeChannel(proxy.client.channel, metadata=metadata), proxy.client.policy.timeout_s
        )

    async def start(self, text: str, request_id: str) -> TaskSnapshot[Message]:
        """Begins the task with a request in JSON. A usage error for one that does not fit; raises as TaskClient."""
        stub = self.client.proxy.stub(TaskServiceStub)
        wanted = (await stub.Get(task_pb2.TaskServiceGetRequest())).request_type
        await self._reflection.learn(wanted)
        request = GetMessageClass(self._reflection.pool.FindMessageTypeByName(wanted))()
        try:
            await self._reflection.parse(text, request)
        except ParseError as error:
            raise click.UsageError(f"the request does not fit {wanted}: {error}") from error
        return await self.client.start(request, request_id=request_id)

    async def record(self, snapshot: TaskSnapshot[Message]) -> Record:
        """How the task stood, as what JSON can hold."""
        return {
            "paglet_id": snapshot.paglet_id,
            "host": snapshot.host,
            "phase": snapshot.phase.value,
            "done": snapshot.done,
            "cancelled": snapshot.cancelled,
            "revision": snapshot.revision,
            "progress": await self._progress(snapshot.progress),
            "result": await self._shown(snapshot.result),
            "error": snapshot.error,
            "error_reason": snapshot.error_reason,
            "started": time_text(snapshot.started_at),
            "completed": time_text(snapshot.completed_at),
        }

    async def words(self, snapshot: TaskSnapshot[Message]) -> tuple[str, str]:
        """Its progress and its result, for people; empty for none."""
        progress, result = "", _json_text(await self._shown(snapshot.result))
        if snapshot.progress is not None:
            told = snapshot.progress
            count = f"{told.done} of {told.total}" if told.total else str(told.done)
            progress = " ".join(filter(None, (count, told.message, _json_text(await self._shown(told.detail)))))
        return progress, result

    async def _progress(self, progress: TaskProgress[Message] | None) -> Record | None:
        if progress is None:
            return None
        return {
            "done": progress.done,
            "total": progress.total,
            "message": progress.message,
            "detail": await self._shown(progress.detail),
            "time": time_text(progress.told_at),
        }

    async def _shown(self, message: Message | None) -> dict[str, Any] | None:
        """A message with its type; of one that the host does not know, the type alone."""
        if message is None:
            return None
        try:
            return await self._reflection.to_dict(message)
        except OperationNotFoundError:
            return {"@type": message.type_url} if isinstance(message, AnyMessage) else {}


def _json_text(shown: dict[str, Any] | None) -> str:
    return "" if shown is None else json.dumps(shown, ensure_ascii=False)


def failure_of(snapshot: TaskSnapshot[Message]) -> PagletError | None:
    """The error with which a task has FAILED, as if it were that of the call; None for any other."""
    if snapshot.phase is not TaskPhase.FAILED:
        return None
    return error_for(snapshot.error_code)(snapshot.error_reason or "HANDLER_FAILED", snapshot.error)
