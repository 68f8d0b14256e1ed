"""What the command line tells of a host in JSON: the same wherever one is told of."""

from __future__ import annotations

from paglets.cli.output import Record, time_text
from paglets.values import HostRef

__all__ = ["host_record"]


def host_record(known: HostRef) -> Record:
    """All that is known of it."""
    return {
        "name": known.name,
        "address": known.address,
        "online": known.online,
        "left": known.has_left,
        "paglets": known.paglet_count,
        "version": known.version,
        "seen": time_text(known.seen_at),
        "types": list(known.types),
        "tags": list(known.tags),
        "properties": dict(known.properties),
    }
