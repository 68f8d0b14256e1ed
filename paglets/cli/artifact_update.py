"""`paglets artifact update`: changes what is known of an artifact."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from paglets.artifacts.store import ArtifactChanges
from paglets.cli.artifact_record import artifact_record
from paglets.cli.nouns import Verb
from paglets.cli.output import note, write_json
from paglets.cli.session import Session
from paglets.cli.types import label, one_of_each, span
from paglets.errors import ConflictError
from paglets.values import ArtifactRef, OwnerPolicy

if TYPE_CHECKING:
    from paglets.client.client import Client

__all__ = ["update"]


@click.command(cls=Verb)
@click.argument("artifact_id", metavar="ID")
@click.option("--name", help="What people call it.")
@click.option("--owner", help="The id of a paglet, or whoever it belongs to; `--owner ''` for nobody.")
@click.option(
    "--owner-policy",
    type=click.Choice([policy.value for policy in OwnerPolicy]),
    help="What the owner's disposal does to it.",
)
@click.option("--content-type", help="Its media type.")
@click.option("--content-encoding", help="How its bytes are packed, e.g. gzip.")
@click.option("--ttl", type=span, metavar="SPAN", help="How long it lives from now on, e.g. 15m, 12h, 7d.")
@click.option("--never-expires", is_flag=True, help="It stays until it is deleted.")
@click.option(
    "--label",
    "labels",
    type=label,
    metavar="KEY=VALUE",
    multiple=True,
    callback=one_of_each,
    help="Sets a label; repeatable.",
)
@click.option("--unlabel", "unlabels", metavar="KEY", multiple=True, help="Takes a label away; repeatable.")
@click.option("--etag", default="", help="Only if this is its etag still.")
@click.pass_obj
def update(
    session: Session,
    artifact_id: str,
    name: str | None,
    owner: str | None,
    owner_policy: str | None,
    content_type: str | None,
    content_encoding: str | None,
    ttl: float | None,
    never_expires: bool,  # noqa: FBT001 - click's own
    labels: dict[str, str],
    unlabels: tuple[str, ...],
    etag: str,
) -> None:
    """Change what is known of an artifact; its bytes, and what is not named, stay as they are."""
    if never_expires and ttl is not None:
        raise click.UsageError("--ttl and --never-expires contradict each other")
    expires_at = math.inf if never_expires else None
    if ttl is not None:
        expires_at = time.time() + ttl
    changes = ArtifactChanges(
        name=name,
        owner=owner,
        owner_policy=None if owner_policy is None else OwnerPolicy(owner_policy),
        content_type=content_type,
        content_encoding=content_encoding,
        expires_at=expires_at,
    )
    edits: dict[str, str | None] = {**labels, **dict.fromkeys(unlabels)}
    if len(edits) < len(labels) + len(set(unlabels)):
        raise click.UsageError("--label and --unlabel contradict each other")
    if not edits and not changes.given():
        raise click.UsageError("say what to change, e.g. --name NAME")
    ref = session.run(lambda client: _updated(client, artifact_id, changes, edits, etag))
    if session.json:
        write_json(artifact_record(ref))
    else:
        note(f"{artifact_id} is updated; its etag is {ref.etag}")


async def _updated(
    client: Client, artifact_id: str, changes: ArtifactChanges, edits: dict[str, str | None], etag: str
) -> ArtifactRef:
    """Makes the update. Labels are replaced as a whole: those that are there are read first, and again if need be."""
    while edits:
        before = await client.artifacts.ref(artifact_id)
        labels = {key: value for key, value in {**before.labels, **edits}.items() if value is not None}
        try:
            return await client.artifacts.update(artifact_id, replace(changes, labels=labels), etag=etag or before.etag)
        except ConflictError:
            if etag:
                raise
    return await client.artifacts.update(artifact_id, changes, etag=etag)
