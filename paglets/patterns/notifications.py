"""What a paglet tells people: a line of its host's log, and a note of the mesh's `UserInfoService` if there is one.

The log record is at the level of the severity; its fields `paglet_id`, `host`, `job_id` and `metadata` say what it is
about.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from paglet.v1 import notify_pb2
from paglets.core.paglet import Paglet
from paglets.discovery import ServiceScope
from paglets.errors import PagletError
from paglets.operations import ServiceContract

__all__ = ["NotificationMixin", "NotificationSeverity"]

StateT = TypeVar("StateT")
_log = logging.getLogger(__name__)

_USER_INFO = ServiceContract(notify_pb2.DESCRIPTOR.services_by_name["UserInfoService"])
_NOTIFY = _USER_INFO.require_operation("Notify")
_TIMEOUT_S = 2.0


class NotificationSeverity(StrEnum):
    """How much a note matters."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def level(self) -> int:
        """The level of the log that it is written at."""
        return {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}[self.value]

    @property
    def code(self) -> notify_pb2.NoteSeverity.ValueType:
        """What it is on the wire."""
        return notify_pb2.NoteSeverity.Value(f"NOTE_SEVERITY_{self.name}")


class NotificationMixin(Paglet[StateT]):
    """A paglet that gives notes to people."""

    async def notify_user_info(
        self,
        severity: NotificationSeverity,
        title: str,
        message: str,
        *,
        job_id: str = "",
        timeout_s: float = _TIMEOUT_S,
        scope: ServiceScope = ServiceScope.MESH,
        metadata: Mapping[str, str] | None = None,
    ) -> bool:
        """Gives a note; says whether the service took it. Never raises: no work fails because nobody listens.

        Where there is no service the log has it all the same. A note of a turn is given at once; if the turn has a
        request id and is run again, the service takes it once. `job_id` says which piece of work it is about. It waits
        for `timeout_s` seconds at most; with the scope LOCAL only a service of this host is asked.
        """
        try:
            severity = NotificationSeverity(severity)
            about = {
                "paglet_id": self.paglet_id,
                "host": self.context.host,
                "job_id": job_id,
                "metadata": dict(metadata or {}),
            }
            _log.log(severity.level, "%s: %s", title, message, extra=about)
            note = notify_pb2.Note(severity=severity.code, source=self.paglet_id)
            note.time.GetCurrentTime()
            note.MergeFrom(notify_pb2.Note(title=title, message=message, job_id=job_id, metadata=metadata))
            async with asyncio.timeout(max(0.0, timeout_s)):
                service = await self.services.require(_USER_INFO, operation=_NOTIFY.descriptor.name, scope=scope)
                request = notify_pb2.NotifyRequest(note=note)
                await self.context.ask(
                    service.paglet_id, _NOTIFY, request, notify_pb2.NotifyResponse, timeout_s=max(0.0, timeout_s)
                )
        except (PagletError, TimeoutError, TypeError, ValueError) as error:
            _log.debug("nobody took the note %s: %s", title, error)
            return False
        return True
