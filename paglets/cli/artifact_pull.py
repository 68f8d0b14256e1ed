"""`paglets artifact pull`: has a host fetch an artifact from another one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from paglets.artifacts.store import ArtifactWriteResult, PullProgress, PullRequest
from paglets.cli.artifact_record import artifact_record
from paglets.cli.nouns import Verb
from paglets.cli.output import note, plain, size_text, write_json
from paglets.cli.progress import Advance, byte_bar, is_drawn
from paglets.cli.session import Session
from paglets.errors import PagletError
from paglets.values import new_id

if TYPE_CHECKING:
    from paglets.client.client import Client

__all__ = ["pull"]


@click.command(cls=Verb)
@click.argument("source", metavar="SOURCE")
@click.argument("artifact_id", metavar="ID")
@click.option("--pull-id", default="", help="Joins the pull of this id, or has its outcome; a new pull if not given.")
@click.pass_obj
def pull(session: Session, source: str, artifact_id: str, pull_id: str) -> None:
    """Have the host of --host fetch an artifact from SOURCE: a host of its mesh by its name, another by address:port.

    The bytes go from host to host, also when this command is interrupted: with the --pull-id that it told, it waits for
    them again, and `artifact cancel` with that id gives them up.
    """
    request = PullRequest(
        pull_id=pull_id or new_id(),
        source_artifact_id=artifact_id,
        source_host="" if ":" in source else source,
        source_address=source if ":" in source else "",
    )
    if not pull_id:
        note(f"pull {request.pull_id}")
    result = session.run(lambda client: _pulled(client, request, joins=bool(pull_id)))
    if session.json:
        write_json({**artifact_record(result.ref), "outcome": result.outcome.value, "pull_id": request.pull_id})
    else:
        click.echo(result.ref.artifact_id)
        note(f"{result.outcome}: {size_text(result.ref.size_bytes)}, {result.ref.digest}")


async def _pulled(client: Client, request: PullRequest, *, joins: bool) -> ArtifactWriteResult:
    """Gets a ticket from the source, and waits for the pull."""
    with suppress(*(PagletError,) if joins else ()):  # one that is joined has its ticket
        request = replace(request, read_ticket=await _ticket(client, request))
    with byte_bar(request.source_artifact_id) as advance:
        return await client.artifacts.pull(request, progress=_teller(advance))


def _teller(advance: Advance) -> Callable[[PullProgress], None]:
    """Draws how far a pull is; where nothing is drawn it says what keeps it, once until that is another."""
    said = ""

    def tell(told: PullProgress) -> None:
        nonlocal said
        advance(told.bytes_done, told.bytes_total, told.problem)
        if told.problem not in {"", said} and not is_drawn():
            note(f"waiting: {plain(told.problem)}")
        said = told.problem

    return tell


async def _ticket(client: Client, request: PullRequest) -> bytes:
    """Leave of the source for the host that is asked."""
    from paglets.client.client import Client

    target = await client.host()
    address = request.source_address or (await client.host(request.source_host)).address
    async with Client(address, timeout_s=client.policy.timeout_s) as source:
        await source.reach()
        return await source.artifacts.create_read_ticket(request.source_artifact_id, target.name)
