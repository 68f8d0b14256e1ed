"""`paglets paglet why` and `watch`: what became of paglets and why, from the mesh's own record of it."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import click

from paglets.cli.nouns import Verb
from paglets.cli.output import Record, note, plain, time_text, write_json, write_table
from paglets.cli.paglet_record import paglet_record
from paglets.cli.session import Session
from paglets.values import PagletEvent, PagletNotice

if TYPE_CHECKING:
    from paglets.client.client import Client

__all__ = ["watch", "why"]

_COLUMNS = ("time", "epoch", "cause", "state", "host", "told")


@click.command(cls=Verb)
@click.argument("paglet_id", metavar="ID")
@click.pass_obj
def why(session: Session, paglet_id: str) -> None:
    """Tell how a paglet came to be where it is: every change of its place, state and epoch, with its cause.

    Also of one that was disposed of, for as long as the mesh keeps its events.
    """
    events = session.run(lambda client: client.history(paglet_id))
    if session.json:
        for event in events:
            write_json(_event_record(event))
        return
    if not events or events[0].cause != "create":
        note(f"what became of {paglet_id} at first is no longer kept")
    write_table(_COLUMNS, [_row(event) for event in events])


@click.command(cls=Verb)
@click.option("--cursor", default="", help="Go on from here, the last cursor of an earlier watch; else now.")
@click.option("--snapshot", is_flag=True, help="Tell first which paglets there are.")
@click.option("--host", "host_name", metavar="NAME", default="", help="Only those on the host of this name.")
@click.option("--type", "type_name", metavar="TYPE", default="", help="Only those of this `module.Class`.")
@click.option("--id", "paglet_id", metavar="ID", default="", help="Only this one.")
@click.pass_obj
def watch(session: Session, cursor: str, host_name: str, type_name: str, paglet_id: str, *, snapshot: bool) -> None:
    """Tell what becomes of the paglets of the mesh until Ctrl-C, over restarts of its hosts too.

    With --json each line has the cursor from which another watch with the same options goes on after it.
    """

    async def told(client: Client) -> None:
        watched = client.watch(cursor=cursor, snapshot=snapshot, host=host_name, type=type_name, paglet_id=paglet_id)
        began = False
        async with aclosing(watched) as notices:
            async for notice in notices:
                if session.json:
                    write_json(_notice_record(notice))
                elif notice.paglet is not None:
                    info = notice.paglet
                    click.echo("  ".join(map(plain, (info.paglet_id, info.type, info.host, info.state.value))))
                elif notice.event is not None:
                    click.echo(_line(notice.event))
                elif not began:
                    note(f"watching from {notice.cursor}")
                    began = True

    session.run(told)


def _notice_record(notice: PagletNotice) -> Record:
    paglet = {} if notice.paglet is None else {"paglet": paglet_record(notice.paglet)}
    event = {} if notice.event is None else {"event": _event_record(notice.event)}
    return {"cursor": notice.cursor, **paglet, **event}


def _event_record(event: PagletEvent) -> Record:
    return {
        "paglet_id": event.paglet_id,
        "type": event.type,
        "time": time_text(event.happened_at),
        "epoch": event.epoch,
        "cause": event.cause,
        "state": event.state.value,
        "host": event.host,
        "former_host": event.former_host,
        "transfer_id": event.transfer_id,
        "target": event.target,
        "error": event.error,
    }


def _row(event: PagletEvent) -> Record:
    """One line of a history."""
    return {
        "time": time_text(event.happened_at),
        "epoch": event.epoch,
        "cause": event.cause,
        "state": event.state.value,
        "host": event.host,
        "told": _told(event),
    }


def _told(event: PagletEvent) -> str:
    """What else there is to say of an event."""
    parts = [
        f"to {event.target}" if event.target else "",
        f"from {event.former_host}" if event.former_host not in {"", event.host} else "",
        f"journey {event.transfer_id}" if event.transfer_id else "",
        event.error,
    ]
    return ", ".join(filter(None, parts))


def _line(event: PagletEvent) -> str:
    cells = (time_text(event.happened_at), event.paglet_id, event.cause, event.state.value, event.host, _told(event))
    return "  ".join(map(plain, cells)).rstrip()
