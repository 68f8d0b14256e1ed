"""`paglets artifact put`: files, folders and standard input into the store of a host."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from paglets.arena import use_one_arena
from paglets.artifacts.store import ArtifactWrite, ArtifactWriteResult
from paglets.cli.artifact_sending import PutOrder, put_files, tell_stored
from paglets.cli.nouns import Verb
from paglets.cli.progress import byte_bar
from paglets.cli.session import Session
from paglets.cli.stdin import stdin_chunks
from paglets.cli.types import label, one_of_each, span
from paglets.values import OwnerPolicy

if TYPE_CHECKING:
    from paglets.client.client import Client

__all__ = ["put"]


@click.command(cls=Verb)
@click.argument(
    "sources", metavar="FILE|FOLDER...|-", nargs=-1, required=True, type=click.Path(exists=True, allow_dash=True)
)
@click.option("--name", help="What people call it; the file's own name if not given. For one file only.")
@click.option("--id", "artifact_id", default="", help="The id it shall have; a random one else. For one file only.")
@click.option("--owner", default="", help="The id of a paglet, or whoever it belongs to.")
@click.option(
    "--owner-policy",
    type=click.Choice([policy.value for policy in OwnerPolicy]),
    default=OwnerPolicy.KEEP.value,
    help="What the owner's disposal does to it; keep if not given.",
)
@click.option("--ttl", type=span, metavar="SPAN", help="How long it lives, e.g. 15m, 12h, 7d; else for ever.")
@click.option(
    "--label",
    "labels",
    type=label,
    metavar="KEY=VALUE",
    multiple=True,
    callback=one_of_each,
    help="Repeatable.",
)
@click.option("--content-type", help="Its media type; guessed by the file's name if not given.")
@click.option("--content-encoding", default="", help="How its bytes are packed, e.g. gzip.")
@click.option("--no-resume", is_flag=True, help="Begin anew, and drop what an interrupted put has sent.")
@click.pass_context
def put(
    context: click.Context,
    sources: tuple[str, ...],
    name: str | None,
    artifact_id: str,
    owner: str,
    owner_policy: str,
    ttl: float | None,
    labels: dict[str, str],
    content_type: str | None,
    content_encoding: str,
    no_resume: bool,  # noqa: FBT001 - click's own
) -> None:
    """Store files, all files of folders, or standard input; durable and proven when this ends well.

    A put that was interrupted goes on when the same command is given again: what is stored is not stored again, what
    was cut is sent from where it was, and files that changed are sent anew. Files in a folder are named by their path.
    """
    session = context.ensure_object(Session)
    write = ArtifactWrite(
        artifact_id=artifact_id,
        name=name or "",
        owner=owner,
        owner_policy=OwnerPolicy(owner_policy),
        ttl_s=ttl,
        labels=labels,
        content_type=content_type or "",
        content_encoding=content_encoding,
    )
    if "-" in sources and len(sources) > 1:
        raise click.UsageError("standard input is put alone", context)
    if (name or artifact_id) and (len(sources) > 1 or any(Path(source).is_dir() for source in sources)):
        raise click.UsageError("--name and --id are for one file", context)
    use_one_arena()
    if sources == ("-",):
        tell_stored(session, session.run(lambda client: _put_stdin(client, write)))
        return
    order = PutOrder(sources=sources, write=write, guess_type=content_type is None, resume=not no_resume)
    context.exit(put_files(session, order))


async def _put_stdin(client: Client, write: ArtifactWrite) -> ArtifactWriteResult:
    with byte_bar("standard input") as advance:
        return await client.artifacts.create_from_chunks(
            write, stdin_chunks(), progress=lambda done: advance(done, None, "")
        )
