"""Notes to people: printed at the host of the service, and told to whoever watches."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from paglet.v1.notify_pb2 import (
    DESCRIPTOR,
    NOTE_SEVERITY_INFO,
    Note,
    NoteSeverity,
    NotifyRequest,
    NotifyResponse,
    UserInfoServiceWatchRequest,
    UserInfoServiceWatchResponse,
)
from paglets.patterns.operations import OperationPaglet

__all__ = ["UserInfo", "UserInfoState", "line_of"]

_KEPT, _KEPT_BYTES = 200, 200_000
_MAX_TITLE, _MAX_MESSAGE, _MAX_METADATA, _MAX_NAME = 200, 2000, 20, 128
_NANOS = 1_000_000_000
_END_OF_TIME_S = 253_370_764_800
"""The year 9999, whose last days are past what a calendar can show east of Greenwich."""


@dataclass
class UserInfoState:
    """The last notes, encoded, and the number that the next one gets."""

    next_number: int = 1
    notes: list[bytes] = field(default_factory=list[bytes])


class UserInfo(OperationPaglet[UserInfoState]):
    """Takes notes."""

    Services = (DESCRIPTOR.services_by_name["UserInfoService"],)

    def notify(self, request: NotifyRequest) -> NotifyResponse:
        """Prints a note, and keeps it for a while. In a thread: who reads what is printed may be slow."""
        note = _bounded(request.note)
        _print(line_of(note))
        state = self.state
        number = state.next_number
        state.next_number += 1
        state.notes.append(note.SerializeToString())
        while len(state.notes) > _KEPT or sum(map(len, state.notes)) > _KEPT_BYTES:
            del state.notes[0]
        return NotifyResponse(number=number)

    async def watch(self, request: UserInfoServiceWatchRequest) -> AsyncIterator[UserInfoServiceWatchResponse]:
        """Tells the notes that are kept, then each as it comes."""
        after = request.after
        while True:
            state = self.state
            first = state.next_number - len(state.notes)
            for number, note in enumerate(state.notes, first):
                if number > after:
                    yield UserInfoServiceWatchResponse(number=number, note=Note.FromString(note))
                    after = number
            await self.wait_state(lambda state, after=after: state.next_number - 1 > after)


def _print(line: str) -> None:
    """Prints a line, if somebody reads stderr: a note is kept, and told to who watches, all the same."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):  # whoever read it is gone, or it was closed
            sys.stderr.write(line + "\n")


def line_of(note: Note) -> str:
    """A note as one line, without anything that a terminal would obey."""
    when = datetime.fromtimestamp(note.time.seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    severity = NoteSeverity.Name(note.severity).removeprefix("NOTE_SEVERITY_")
    about = "".join(f" {key}={value}" for key, value in (("job", note.job_id), ("source", note.source)) if value)
    line = f"[{when}] {severity}: {note.title}{about}: {note.message}"
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)


def _bounded(given: Note) -> Note:
    """A note as it is kept: with all that it needs, and not too long."""
    note = Note(
        severity=given.severity if given.severity in NoteSeverity.values()[1:] else NOTE_SEVERITY_INFO,
        title=given.title[:_MAX_TITLE] or "paglets",
        message=given.message[:_MAX_MESSAGE],
        source=given.source[:_MAX_NAME],
        job_id=given.job_id[:_MAX_NAME],
        time=given.time,
        metadata={key[:_MAX_NAME]: given.metadata[key][:_MAX_TITLE] for key in sorted(given.metadata)[:_MAX_METADATA]},
    )
    if not _is_time(note.time):
        note.time.FromNanoseconds(time.time_ns())
    return note


def _is_time(given: Timestamp) -> bool:
    """Whether it is a time that can be told, which an unset one is not."""
    return 0 < given.seconds < _END_OF_TIME_S and 0 <= given.nanos < _NANOS
