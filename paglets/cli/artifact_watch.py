"""`paglets artifact watch`: what becomes of the artifacts of a host, as it happens."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import click

from paglets.artifacts.store import ArtifactEvent, ArtifactNotice
from paglets.cli.artifact_record import artifact_record
from paglets.cli.nouns import Verb
from paglets.cli.output import note, plain, size_text, time_text, write_json
from paglets.cli.session import Session

if TYPE_CHECKING:
    from paglets.client.client import Client

__all__ = ["watch"]


@click.command(cls=Verb)
@click.option(
    "--cursor", default="", help="Go on from here, the last cursor of an earlier watch; from now if not given."
)
@click.option("--owner", help="Only artifacts of this owner; `--owner ''` for those without one.")
@click.pass_obj
def watch(session: Session, cursor: str, owner: str | None) -> None:
    """Tell what becomes of artifacts until Ctrl-C, over restarts of the host too.

    With --json each line has the cursor from which another watch goes on after it; the first has nothing else.
    """
    session.run(lambda client: _watch(client, cursor, owner, as_json=session.json))


async def _watch(client: Client, cursor: str, owner: str | None, *, as_json: bool) -> None:
    async with aclosing(client.artifacts.watch(cursor=cursor, owner=owner)) as notices:
        async for notice in notices:
            if as_json:
                write_json(_record(notice))
            elif notice.event is None:
                note(f"watching from {notice.cursor}")
            else:
                click.echo(_line(notice.event))


def _record(notice: ArtifactNotice) -> dict[str, object]:
    if notice.event is None:
        return {"cursor": notice.cursor}
    event = notice.event
    return {
        "cursor": notice.cursor,
        "event": event.kind.value,
        "time": time_text(event.happened_at),
        "artifact": artifact_record(event.ref),
    }


def _line(event: ArtifactEvent) -> str:
    ref = event.ref
    size = size_text(ref.size_bytes)
    cells = (time_text(event.happened_at), event.kind.value, ref.artifact_id, size, ref.owner or "-", ref.name)
    return "  ".join(map(plain, cells)).rstrip()
