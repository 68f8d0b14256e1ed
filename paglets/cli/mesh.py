"""`paglets mesh`: the mesh as a whole, from any of its hosts."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import click

from paglets.cli.host_record import host_record
from paglets.cli.nouns import Noun
from paglets.cli.output import plain, write_json
from paglets.cli.session import Session

if TYPE_CHECKING:
    from paglets.client.client import Client

__all__ = ["mesh"]


@click.group(cls=Noun)
def mesh() -> None:
    """Tell of the mesh as a whole."""


@mesh.command()
@click.pass_obj
def watch(session: Session) -> None:
    """Tell which hosts there are, and which join, leave, are lost or change, until Ctrl-C.

    A host is lost when its lease ends. When the host that is asked goes away and comes back, all are told anew.
    """

    async def told(client: Client) -> None:
        async with aclosing(client.watch_hosts()) as notices:
            async for notice in notices:
                if session.json:
                    write_json({"change": notice.change.value, "host": {**host_record(notice.host), "paglets": None}})
                else:
                    cells = (notice.change.value, notice.host.name, notice.host.address, " ".join(notice.host.tags))
                    click.echo("  ".join(map(plain, cells)).rstrip())

    session.run(told)
