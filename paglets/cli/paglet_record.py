"""What the command line tells of a paglet in JSON: the same wherever one is told of."""

from __future__ import annotations

from paglets.cli.output import Record, time_text
from paglets.values import PagletInfo

__all__ = ["paglet_record"]


def paglet_record(info: PagletInfo) -> Record:
    """All that is known of it."""
    journey = info.journey
    return {
        "paglet_id": info.paglet_id,
        "type": info.type,
        "host": info.host,
        "address": info.address,
        "state": info.state.value,
        "epoch": info.epoch,
        "created": time_text(info.created_at),
        "error": info.error,
        "stuck": info.stuck,
        "run_error": info.run_error,
        "services": list(info.services),
        "journey": journey
        and {
            "transfer_id": journey.transfer_id,
            "source": journey.source,
            "target": journey.target,
            "phase": journey.phase.value,
            "bytes_done": journey.bytes_done,
            "bytes_total": journey.bytes_total,
            "started": time_text(journey.started_at),
        },
    }
