"""`paglets artifact usage`: how much of a host's store is taken, and by whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from paglets.artifacts.store import StoreUsage, Usage
from paglets.cli.nouns import Verb
from paglets.cli.output import Record, size_text, write_json, write_table
from paglets.cli.session import Session

if TYPE_CHECKING:
    from paglets.client.client import Client

__all__ = ["usage"]

_COLUMNS = ("of", "used", "reserved", "limit")


@click.command(cls=Verb)
@click.option("--owner", help="Of the owners only this one.")
@click.pass_obj
def usage(session: Session, owner: str | None) -> None:
    """Tell how much is taken by the host and by each owner, what uploads have reserved, and what the disk has left.

    The host pays for bytes that artifacts share once, for unfinished uploads, and for what is being deleted; an owner
    for all that is his.
    """
    found, owners = session.run(lambda client: _asked(client, owner))
    if session.json:
        write_json(
            {
                "host": _record(found.host),
                "owners": [{"owner": each.owner, **_record(each)} for each in owners],
                "disk_free_bytes": found.disk_free,
                "disk_floor_bytes": found.disk_floor,
            }
        )
        return
    write_table(_COLUMNS, [_row("host", found.host), *(_row(f"owner {each.owner}", each) for each in owners)])
    click.echo(f"disk: {size_text(found.disk_free)} free, of which uploads leave {size_text(found.disk_floor)}")


async def _asked(client: Client, owner: str | None) -> tuple[StoreUsage, list[Usage]]:
    """The usage of the host, and all pages of owners."""
    found = await client.artifacts.usage(owner=owner, page_size=1000)
    owners, token = list(found.owners), found.next_token
    while token:
        page = await client.artifacts.usage(owner=owner, page_size=1000, page_token=token)
        owners.extend(page.owners)
        token = page.next_token
    return found, owners


def _record(found: Usage) -> Record:
    return {"used_bytes": found.used, "reserved_bytes": found.reserved, "limit_bytes": found.limit}


def _row(of: str, found: Usage) -> Record:
    limit = "none" if found.limit is None else size_text(found.limit)
    return {"of": of, "used": size_text(found.used), "reserved": size_text(found.reserved), "limit": limit}
