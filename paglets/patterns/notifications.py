"""What a paglet tells the people who look after its host.

There is no service for that yet: a note is a line of the host's log, at the level of its severity, and the log record's
fields `paglet_id`, `host`, `job_id` and `metadata` say what it is about.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from paglets.core.paglet import Paglet

__all__ = ["NotificationMixin", "NotificationSeverity"]

StateT = TypeVar("StateT")
_log = logging.getLogger(__name__)


class NotificationSeverity(StrEnum):
    """How much a note matters."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def level(self) -> int:
        """The level of the log that it is written at."""
        return {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}[self.value]


class NotificationMixin(Paglet[StateT]):
    """A paglet that gives notes to people."""

    async def notify_user_info(
        self,
        severity: NotificationSeverity,
        title: str,
        message: str,
        *,
        job_id: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> bool:
        """Gives a note; says whether it was given. Never raises: no work fails because nobody listens.

        A note of a turn is given at once, and again if the turn is run again. `job_id` says which piece of work it is
        about.
        """
        about = {
            "paglet_id": self.paglet_id,
            "host": self.context.host,
            "job_id": job_id,
            "metadata": dict(metadata or {}),
        }
        _log.log(severity.level, "%s: %s", title, message, extra=about)
        return _log.isEnabledFor(severity.level)
