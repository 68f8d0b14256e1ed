"""`paglets paglet`: creates, finds, moves paglets, lays them down, and disposes of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from paglets.cli.nouns import Noun
from paglets.cli.output import Record, note, size_text, time_text, write_json, write_record, write_table
from paglets.cli.paglet_history import watch, why
from paglets.cli.paglet_record import paglet_record
from paglets.cli.progress import journey_bar
from paglets.cli.session import Session
from paglets.cli.ticket_options import ticket_of, ticket_options
from paglets.cli.types import moment, read_text_argument, span
from paglets.values import DeactivationPolicy, PagletInfo

if TYPE_CHECKING:
    from paglets.client.client import Client

__all__ = ["paglet"]

_COLUMNS = ("paglet_id", "type", "host", "state", "epoch", "error")


@click.group(cls=Noun)
def paglet() -> None:
    """Create, find, move paglets, lay them down, and dispose of them."""


@paglet.command()
@click.argument("type_name", metavar="TYPE")
@click.option("--id", "paglet_id", default="", help="The id it shall have; without one the host chooses.")
@click.option(
    "--state", metavar="JSON|@FILE|-", default="", help="Its state to begin with; the type's defaults if not given."
)
@click.pass_obj
def create(session: Session, type_name: str, paglet_id: str, state: str) -> None:
    """Create a paglet of TYPE, `module.Class`, on the host that is asked."""
    text = read_text_argument(state)

    async def created(client: Client) -> PagletInfo:
        proxy = await client.create(type_name, state=text, paglet_id=paglet_id)
        return await proxy.info()

    info = session.run(created)
    if session.json:
        write_json(paglet_record(info))
    else:
        click.echo(info.paglet_id)


@paglet.command("ls")
@click.option("--host", "host_name", metavar="NAME", default="", help="Only those on the host of this name.")
@click.option("--type", "type_name", metavar="TYPE", default="", help="Only those of this `module.Class`.")
@click.pass_obj
def list_paglets(session: Session, host_name: str, type_name: str) -> None:
    """List the paglets of the mesh. The host to ask is given before the noun: `paglets --host ADDRESS paglet ls`."""

    async def listed(client: Client) -> list[Record]:
        rows: list[Record] = []
        async for info in client.list(host=host_name, type=type_name, page_size=1000):
            record = paglet_record(info)
            if session.json:
                write_json(record)
            else:
                rows.append({**record, "error": _trouble(info)})
        return rows

    rows = session.run(listed)
    if not session.json:
        write_table(_COLUMNS, rows)


@paglet.command()
@click.argument("paglet_id", metavar="ID")
@click.pass_obj
def show(session: Session, paglet_id: str) -> None:
    """Describe a paglet, wherever it is."""
    info = session.run(lambda client: client.get(paglet_id))
    write_record(paglet_record(info) if session.json else _for_people(info), as_json=session.json)


@paglet.command()
@click.argument("paglet_id", metavar="ID")
@click.argument("target", metavar="HOST")
@ticket_options
@click.pass_obj
def dispatch(session: Session, paglet_id: str, target: str) -> None:
    """Move a paglet with its files to HOST, a host's name. It goes on when this command is interrupted."""
    ticket = ticket_of(click.get_current_context())

    async def moved(client: Client) -> PagletInfo:
        with journey_bar(f"{paglet_id} to {target}") as progress:
            return await client.dispatch(
                paglet_id, target, ticket=ticket, timeout_s=session.move_timeout_s, progress=progress
            )

    _tell(session, session.run(moved))


@paglet.command()
@click.argument("paglet_id", metavar="ID")
@click.argument("target", metavar="[HOST]", default="")
@ticket_options
@click.pass_obj
def clone(session: Session, paglet_id: str, target: str) -> None:
    """Make a clone of a paglet, with copies of its files, on HOST, or where it is; print the clone's id."""
    ticket = ticket_of(click.get_current_context())
    info = session.run(lambda client: client.clone(paglet_id, target, ticket=ticket, timeout_s=session.move_timeout_s))
    if session.json:
        write_json(paglet_record(info))
    else:
        click.echo(info.paglet_id)


@paglet.command()
@click.argument("paglet_id", metavar="ID")
@ticket_options
@click.pass_obj
def retract(session: Session, paglet_id: str) -> None:
    """Bring a paglet with its files to the host that is asked, from wherever it is: HOST is that of `--host`."""
    ticket = ticket_of(click.get_current_context())

    async def moved(client: Client) -> PagletInfo:
        with journey_bar(paglet_id) as progress:
            return await client.retract(paglet_id, ticket=ticket, timeout_s=session.move_timeout_s, progress=progress)

    _tell(session, session.run(moved))


@paglet.command()
@click.argument("paglet_id", metavar="ID")
@click.option("--keep-on-message", is_flag=True, help="Refuse calls rather than bring it back for them.")
@click.option("--refuse-posts", is_flag=True, help="Refuse posts, too, where they would not bring it back.")
@click.option("--on-startup", is_flag=True, help="Bring it back when its host is started.")
@click.option("--at", "activate_at", type=moment, metavar="TIME", help="Bring it back then: 2030-01-31T12:00:00Z.")
@click.option("--after", type=span, metavar="SPAN", help="Bring it back after this time, e.g. 15m, 12h, 7d.")
@click.pass_obj
def deactivate(
    session: Session,
    paglet_id: str,
    *,
    keep_on_message: bool,
    refuse_posts: bool,
    on_startup: bool,
    activate_at: float | None,
    after: float | None,
) -> None:
    """Lay a paglet down on its host's disk, where it takes no memory; a call brings it back, unless told otherwise.

    Of one that is inactive already this replaces what brings it back. Without options the paglet itself decides.
    """
    if activate_at is not None and after is not None:
        raise click.UsageError("give --at or --after, not both")
    policy = None
    if keep_on_message or refuse_posts or on_startup or activate_at is not None or after is not None:
        policy = DeactivationPolicy(
            activate_on_message=not keep_on_message,
            queue_posts=not refuse_posts,
            activate_on_startup=on_startup,
            activate_at=activate_at if after is None else time.time() + after,
        )
    info = session.run(lambda client: client.deactivate(paglet_id, policy))
    _tell(session, info)


@paglet.command()
@click.argument("paglet_id", metavar="ID")
@click.pass_obj
def activate(session: Session, paglet_id: str) -> None:
    """Bring an inactive paglet back, or try one again whose arrival failed."""
    _tell(session, session.run(lambda client: client.activate(paglet_id)))


@paglet.command()
@click.argument("paglet_id", metavar="ID")
@click.pass_obj
def state(session: Session, paglet_id: str) -> None:
    """Print the state of a paglet as JSON, as `create --state` takes it. One that is inactive stays so."""
    click.echo(session.run(lambda client: client.state(paglet_id)))


@paglet.command()
@click.argument("paglet_id", metavar="ID")
@click.pass_obj
def dispose(session: Session, paglet_id: str) -> None:
    """End a paglet for good. What hangs is cut after a while; it goes on when this command is interrupted."""
    session.run(lambda client: client.dispose(paglet_id, timeout_s=session.move_timeout_s))
    if session.json:
        write_json({"paglet_id": paglet_id, "disposed": True})
    else:
        note(f"{paglet_id} is disposed of")


def _tell(session: Session, info: PagletInfo) -> None:
    """Says where a paglet is now, and in which state."""
    if session.json:
        write_json(paglet_record(info))
    else:
        note(f"{info.paglet_id} is {info.state} on {info.host}")


def _trouble(info: PagletInfo) -> str:
    """What is wrong with a paglet, if anything is."""
    if info.error or info.stuck:
        return info.error or "a turn has outlived its deadline by far"
    return f"its run() has failed: {info.run_error}" if info.run_error else ""


def _for_people(info: PagletInfo) -> Record:
    """What is known, and no more."""
    journey = info.journey
    texts = {
        "id": info.paglet_id,
        "type": info.type,
        "host": f"{info.host} at {info.address}" if info.address else info.host,
        "state": info.state.value,
        "epoch": str(info.epoch),
        "created": time_text(info.created_at) or "",
        "services": ", ".join(info.services),
        "journey": journey
        and f"{journey.phase}, {size_text(journey.bytes_done)} of {size_text(journey.bytes_total)},"
        f" {journey.source} to {journey.target}",
        "error": _trouble(info),
    }
    return {name: text for name, text in texts.items() if text}


paglet.add_command(watch)
paglet.add_command(why)
