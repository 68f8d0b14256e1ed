"""What a watch of artifacts tells, as a message and back."""

from __future__ import annotations

from paglet.v1 import artifact_pb2
from paglets.artifacts.store import ArtifactEvent, ArtifactEventKind, ArtifactNotice
from paglets.wire.artifact import artifact_from_message, artifact_to_message
from paglets.wire.times import time_from_message, time_to_message

__all__ = ["notice_from_message", "notice_to_message"]

_KINDS = {kind: artifact_pb2.ArtifactEventKind.Value(f"ARTIFACT_EVENT_KIND_{kind.name}") for kind in ArtifactEventKind}
_KINDS_BACK = {number: kind for kind, number in _KINDS.items()}


def notice_to_message(notice: ArtifactNotice) -> artifact_pb2.WatchArtifactsResponse:
    """A notice as a message."""
    event = notice.event
    if event is None:
        return artifact_pb2.WatchArtifactsResponse(cursor=notice.cursor)
    told = artifact_pb2.ArtifactEvent(
        kind=_KINDS[event.kind],
        artifact=artifact_to_message(event.ref),
        event_time=time_to_message(event.happened_at),
    )
    return artifact_pb2.WatchArtifactsResponse(cursor=notice.cursor, event=told)


def notice_from_message(message: artifact_pb2.WatchArtifactsResponse) -> ArtifactNotice:
    """A message as a notice. A kind that this version does not know is taken for UPDATED: look at the artifact."""
    if not message.HasField("event"):
        return ArtifactNotice(message.cursor)
    event = message.event
    kind = _KINDS_BACK.get(event.kind, ArtifactEventKind.UPDATED)
    ref = artifact_from_message(event.artifact)
    return ArtifactNotice(message.cursor, ArtifactEvent(kind, ref, time_from_message(event.event_time)))
