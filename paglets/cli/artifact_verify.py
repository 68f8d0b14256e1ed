"""`paglets artifact verify`: reads artifacts to their end and says which of them still have their bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import click

from paglets.arena import use_one_arena
from paglets.cli.nouns import Verb
from paglets.cli.output import plain, size_text, write_json
from paglets.cli.progress import byte_bar
from paglets.cli.session import Session
from paglets.cli.several import Several
from paglets.errors import DataLossError, NotFoundError, PagletError
from paglets.values import ArtifactRef

if TYPE_CHECKING:
    from paglets.client.client import Client

__all__ = ["verify"]


@click.command(cls=Verb)
@click.argument("artifact_ids", metavar="[ID...]", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every artifact of the host that is asked.")
@click.pass_context
def verify(context: click.Context, artifact_ids: tuple[str, ...], everything: bool) -> None:  # noqa: FBT001 - click's own
    """Read artifacts to their end, and prove their bytes against their digests here.

    A line for each says whether it is sound or corrupt; one that cannot be read does not stop the others. The exit code
    is 79 (DATA_LOSS) if any is corrupt.
    """
    if bool(artifact_ids) == everything:
        raise click.UsageError("name the artifacts, or give --all", context)
    use_one_arena()
    session = context.ensure_object(Session)
    several = Several(session, len(artifact_ids))
    looked_at, corrupt = session.run(lambda client: _verify(session, client, artifact_ids, several))
    if corrupt:
        raise DataLossError(
            "STORED_BLOB_CORRUPT",
            f"{len(corrupt)} of {looked_at} artifacts no longer have their bytes",
            metadata={"artifact_id": corrupt[0]},
        )
    context.exit(several.code)


async def _verify(
    session: Session, client: Client, artifact_ids: tuple[str, ...], several: Several
) -> tuple[int, list[str]]:
    """Looks at the artifacts that are named, or at all; says at how many, and which are corrupt."""
    looked_at, corrupt = 0, list[str]()
    async for ref in _named(client, artifact_ids, several) if artifact_ids else _all(client):
        try:
            await _read(client, ref)
            found = ""
        except DataLossError as error:
            corrupt.append(ref.artifact_id)
            found = error.message
        except NotFoundError as error:  # it was deleted, or has expired, since it was looked up
            if artifact_ids:
                several.fail(error, ref.artifact_id)
            continue
        looked_at += 1
        _tell(session, ref, found)
    return looked_at, corrupt


async def _read(client: Client, ref: ArtifactRef) -> None:
    """Reads one artifact to its end, which proves it. Raises STORED_BLOB_CORRUPT, ARTIFACT_NOT_FOUND."""
    with byte_bar(ref.artifact_id) as advance:
        async with client.artifacts.open_reader(ref.artifact_id) as reader:
            done = 0
            async for piece in reader:
                done += len(piece)
                advance(done, ref.size_bytes, "")


def _tell(session: Session, ref: ArtifactRef, found: str) -> None:
    if session.json:
        told = {"artifact_id": ref.artifact_id, "size_bytes": ref.size_bytes, "digest": str(ref.digest)}
        write_json({**told, "sound": not found, "error": found})
    else:
        click.echo(f"{plain(ref.artifact_id)}  {'corrupt' if found else 'sound'}  {size_text(ref.size_bytes)}")


async def _named(client: Client, artifact_ids: tuple[str, ...], several: Several) -> AsyncIterator[ArtifactRef]:
    for artifact_id in artifact_ids:
        try:
            ref = await client.artifacts.ref(artifact_id)
        except PagletError as error:
            several.fail(error, artifact_id)
            if several.is_hopeless:
                return
        else:
            yield ref


async def _all(client: Client) -> AsyncIterator[ArtifactRef]:
    token = ""
    while True:
        page = await client.artifacts.list(page_size=1000, page_token=token)
        for ref in page.refs:
            yield ref
        token = page.next_token
        if not token:
            return
