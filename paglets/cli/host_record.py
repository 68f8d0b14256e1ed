"""What the command line tells of a host, the same wherever one is told of: as JSON, as lines, as a row of a table."""

from __future__ import annotations

from paglets.cli.output import Record, time_text
from paglets.values import HostRef

__all__ = ["host_lines", "host_record", "host_row"]


def host_record(known: HostRef) -> Record:
    """All that is known of it. One that is not online has left, if it said so, or is lost."""
    return {
        "name": known.name,
        "address": known.address,
        "state": "online" if known.online else "left" if known.has_left else "lost",
        "paglets": known.paglet_count,
        "version": known.version,
        "seen": time_text(known.seen_at),
        "types": list(known.types),
        "tags": list(known.tags),
        "load": known.load,
        "properties": dict(sorted(known.properties.items())),  # messages keep no order of their own
    }


def host_lines(known: HostRef) -> Record:
    """The same for people."""
    return {**host_record(known), "types": " ".join(known.types), **_said(known)}


def host_row(known: HostRef) -> Record:
    """The same on one line, with the number of its types for their names."""
    return {**host_record(known), "types": len(known.types), **_said(known)}


def _said(known: HostRef) -> Record:
    properties = " ".join(f"{key}={value}" for key, value in sorted(known.properties.items()))
    return {"tags": " ".join(known.tags), "properties": properties}
