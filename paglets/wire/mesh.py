"""The hosts of a mesh as messages and back."""

from __future__ import annotations

from paglet.v1 import mesh_pb2
from paglets.values import HostChange, HostNotice, HostRef
from paglets.wire.times import time_from_message, time_to_message

__all__ = ["host_from_message", "host_notice_from_message", "host_notice_to_message", "host_to_message"]

_CHANGES = {change: mesh_pb2.HostChange.Value(f"HOST_CHANGE_{change.name}") for change in HostChange}
_CHANGES_BACK = {number: change for change, number in _CHANGES.items()}


def host_notice_to_message(notice: HostNotice) -> mesh_pb2.WatchHostsResponse:
    """A notice as a message."""
    return mesh_pb2.WatchHostsResponse(change=_CHANGES[notice.change], host=host_to_message(notice.host))


def host_notice_from_message(message: mesh_pb2.WatchHostsResponse) -> HostNotice:
    """A message as a notice; what a later version tells of a host is a change."""
    return HostNotice(_CHANGES_BACK.get(message.change, HostChange.CHANGED), host_from_message(message.host))


def host_to_message(host: HostRef) -> mesh_pb2.Host:
    """A host as a message; its uid stays among hosts."""
    return mesh_pb2.Host(
        name=host.name,
        address=host.address,
        online=host.online,
        seen_time=time_to_message(host.seen_at),
        version=host.version,
        types=host.types,
        paglet_count=host.paglet_count,
        has_left=host.has_left,
        tags=host.tags,
        properties=host.properties,
        load=host.load,
    )


def host_from_message(message: mesh_pb2.Host) -> HostRef:
    """A message as a host."""
    return HostRef(
        name=message.name,
        address=message.address,
        online=message.online,
        version=message.version,
        types=tuple(message.types),
        seen_at=time_from_message(message.seen_time),
        paglet_count=message.paglet_count,
        has_left=message.has_left,
        tags=tuple(message.tags),
        properties=dict(message.properties),
        load=message.load,
    )
