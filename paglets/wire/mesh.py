"""The hosts of a mesh as messages and back."""

from __future__ import annotations

from paglet.v1 import mesh_pb2
from paglets.values import HostRef
from paglets.wire.times import time_from_message, time_to_message

__all__ = ["host_from_message", "host_to_message"]


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
    )
