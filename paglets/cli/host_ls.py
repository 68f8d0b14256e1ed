"""`paglets host ls`, which is `paglets mesh ls`, too: the hosts of the mesh."""

from __future__ import annotations

import click

from paglets.cli.host_record import host_record, host_row
from paglets.cli.nouns import Verb
from paglets.cli.output import write_json, write_table
from paglets.cli.session import Session

__all__ = ["list_hosts"]

_HOSTS = ("name", "address", "state", "paglets", "types", "tags", "properties", "version", "seen")


@click.command("ls", cls=Verb)
@click.pass_obj
def list_hosts(session: Session) -> None:
    """List the hosts of the mesh."""
    hosts = session.run(lambda client: client.hosts())
    if not session.json:
        write_table(_HOSTS, map(host_row, hosts))
        return
    for known in hosts:
        write_json(host_record(known))
