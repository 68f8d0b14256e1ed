"""`paglets artifact ls`: the artifacts of a host, some of them, in some order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from paglets.artifacts.store import ArtifactOrder, ArtifactQuery
from paglets.cli.artifact_record import artifact_record, health_record
from paglets.cli.nouns import Verb
from paglets.cli.output import Record, size_text, write_json, write_table
from paglets.cli.session import Session
from paglets.cli.types import one_of_each, wanted_label

if TYPE_CHECKING:
    from paglets.client.client import Client

__all__ = ["list_artifacts"]

_COLUMNS = ("artifact_id", "name", "size", "owner", "created", "expires", "state")


@click.command("ls", cls=Verb)
@click.option("--owner", help="Only those of this owner; `--owner ''` for those without one.")
@click.option(
    "--label",
    "labels",
    type=wanted_label,
    metavar="KEY[=VALUE]",
    multiple=True,
    callback=one_of_each,
    help="Only those with it; repeatable.",
)
@click.option("--prefix", default="", help="Only those whose names begin so.")
@click.option(
    "--order",
    type=click.Choice([order.value for order in ArtifactOrder]),
    default="id",
    help="By what; id if not given.",
)
@click.option("--reverse", is_flag=True, help="The other way round.")
@click.pass_obj
def list_artifacts(
    session: Session,
    owner: str | None,
    labels: dict[str, str],
    prefix: str,
    order: str,
    reverse: bool,  # noqa: FBT001 - click's own
) -> None:
    """List the artifacts of the host that is asked; STATE says which are known to have lost their bytes."""
    query = ArtifactQuery(
        owner=owner, name_prefix=prefix, labels=labels, order_by=ArtifactOrder(order), descending=reverse
    )
    rows = session.run(lambda client: _listed(client, query, as_json=session.json))
    if not session.json:
        write_table(_COLUMNS, rows)


async def _listed(client: Client, query: ArtifactQuery, *, as_json: bool) -> list[Record]:
    """The rows of a table; as JSON each page is written when it is there, and nothing is left."""
    rows: list[Record] = []
    token = ""
    while True:
        page = await client.artifacts.list(query, page_size=1000, page_token=token)
        for ref in page.refs:
            if as_json:
                write_json({**artifact_record(ref), **health_record(ref)})
            else:
                state = "corrupt" if ref.corrupt else ""
                rows.append({**artifact_record(ref), "size": size_text(ref.size_bytes), "state": state})
        token = page.next_token
        if not token:
            return rows
