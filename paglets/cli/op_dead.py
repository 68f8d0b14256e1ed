"""`paglets op dead`: the posts of a paglet that failed three times."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import click

from paglets.cli.nouns import Noun
from paglets.cli.output import Record, note, time_text, write_json, write_table
from paglets.cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paglets.client.client import Client
    from paglets.client.dead_letters import DeadLetter

__all__ = ["dead"]

_COLUMNS = ("post_id", "operation", "failures", "created", "reason", "error")


@click.group(cls=Noun)
def dead() -> None:
    """Look at posts that failed three times, run them again, or drop them."""


@dead.command("ls")
@click.argument("paglet_id", metavar="ID")
@click.pass_obj
def list_dead(session: Session, paglet_id: str) -> None:
    """List the dead letters of a paglet, in the order in which they came."""

    async def listed(client: Client) -> list[Record]:
        return [_record(letter) async for letter in client.dead_letters.list(paglet_id)]

    records = session.run(listed)
    if session.json:
        for record in records:
            write_json(record)
    else:
        write_table(_COLUMNS, records)


@dead.command()
@click.argument("paglet_id", metavar="ID")
@click.argument("post_ids", metavar="[POST_ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All there are.")
@click.pass_obj
def replay(session: Session, paglet_id: str, post_ids: tuple[str, ...], everything: bool) -> None:  # noqa: FBT001 - click's own
    """Run dead letters again, behind the posts that wait."""

    async def replayed(client: Client) -> Sequence[str]:
        return await client.dead_letters.replay(paglet_id, *await _meant(client, paglet_id, post_ids, everything))

    _tell(session, "replayed", session.run(replayed))


@dead.command()
@click.argument("paglet_id", metavar="ID")
@click.argument("post_ids", metavar="[POST_ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All there are.")
@click.pass_obj
def drop(session: Session, paglet_id: str, post_ids: tuple[str, ...], everything: bool) -> None:  # noqa: FBT001 - click's own
    """Forget dead letters."""

    async def dropped(client: Client) -> Sequence[str]:
        return await client.dead_letters.drop(paglet_id, *await _meant(client, paglet_id, post_ids, everything))

    _tell(session, "dropped", session.run(dropped))


async def _meant(client: Client, paglet_id: str, post_ids: Sequence[str], everything: bool) -> Sequence[str]:  # noqa: FBT001 - as it was given
    """The posts to deal with, at most 1000 at once."""
    if everything == bool(post_ids):
        raise click.UsageError("name the posts, or give --all")
    if not everything:
        return post_ids
    found = [letter.post_id async for letter in client.dead_letters.list(paglet_id)]
    return found[:1000]


def _tell(session: Session, what: str, post_ids: Sequence[str]) -> None:
    if session.json:
        write_json({what: list(post_ids)})
    else:
        note(f"{what} {len(post_ids)} dead letters")


def _record(letter: DeadLetter) -> Record:
    return {
        "post_id": letter.post_id,
        "operation": letter.operation,
        "request_id": letter.request_id,
        "receiver": letter.receiver,
        "failures": letter.failures,
        "created": time_text(letter.created_at),
        "reason": letter.error.reason,
        "error": letter.error.message,
        "type": letter.request.type_url.rpartition("/")[2],
        "request": base64.b64encode(letter.request.value).decode(),
    }
