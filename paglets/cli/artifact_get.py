"""`paglets artifact get`: artifacts out of the store of a host, into files or to standard output."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import click

from paglets.arena import use_one_arena
from paglets.artifacts.disk import Disk
from paglets.artifacts.export import landing
from paglets.cli.artifact_record import artifact_record
from paglets.cli.nouns import Verb
from paglets.cli.output import note, plain, size_text, write_json
from paglets.cli.progress import Bars, transfer_bars
from paglets.cli.session import Session
from paglets.cli.several import Several
from paglets.cli.types import byte_range
from paglets.errors import PagletError
from paglets.values import ArtifactRef

if TYPE_CHECKING:
    from paglets.client.client import Client

__all__ = ["get"]

_Range: TypeAlias = tuple[int, int | None]


@click.command(cls=Verb)
@click.argument("words", metavar="ID... [OUT|FOLDER|-]", nargs=-1, required=True)
@click.option("-o", "folder", type=click.Path(file_okay=False, path_type=Path), help="The folder to fetch them into.")
@click.option("--range", "wanted", type=byte_range, metavar="OFFSET[:LENGTH]", help="Only these bytes; unproven.")
@click.option("--force", is_flag=True, help="Replace files that are there.")
@click.pass_context
def get(
    context: click.Context,
    words: tuple[str, ...],
    folder: Path | None,
    wanted: _Range | None,
    force: bool,  # noqa: FBT001 - click's own
) -> None:
    """Fetch an artifact into the file OUT, or several into a folder, by default here, named as they are.

    A file appears whole and proven, or not at all. With `-` the bytes of one go to standard output as they come: trust
    them when the exit code is 0. A range has no digest: all of it comes, as its host has it, unproven.
    """
    artifact_ids, out = (words, None) if folder or len(words) == 1 else (words[:-1], words[-1])
    if "-" in artifact_ids or (out == "-" and len(artifact_ids) > 1):
        raise click.UsageError("one artifact at a time goes to standard output: ID -", context)
    if len(artifact_ids) > 1 and out is not None and not Path(out).is_dir():
        raise click.UsageError(f"{out!r} is no folder; name one for several artifacts, or give -o FOLDER", context)
    use_one_arena()
    session = context.ensure_object(Session)
    if out == "-":
        session.run(lambda client: _to_stdout(session, client, words[0], wanted))
        return
    is_file = out is not None and not Path(out).is_dir()
    target = _Target(
        folder=folder or Path("" if is_file else out or ""),
        file=Path(out) if out is not None and is_file else None,
        overwrite=force,
        wanted=wanted,
    )
    several = Several(session, len(artifact_ids))
    session.run(lambda client: _get_all(session, client, artifact_ids, target, several))
    if several.count > 1 and not session.json:
        note(several.summary("fetched"))
    context.exit(several.code)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """Where artifacts go: to `file`, or under their names into `folder`; and what of them."""

    folder: Path
    file: Path | None
    overwrite: bool
    wanted: _Range | None

    def path_of(self, ref: ArtifactRef, taken: set[Path]) -> Path:
        """Where one goes: by its id if another of this command has its name."""
        if self.file is not None:
            return self.file
        path = self.folder / _file_name(ref)
        return self.folder / ref.artifact_id if path in taken else path


def _file_name(ref: ArtifactRef) -> str:
    """The artifact's name as far as it is a plain file name; its id otherwise. What a host says is not obeyed."""
    is_plain = ref.name.isprintable() and Path(ref.name).name == ref.name and not ref.name.startswith(".")
    return ref.name if ref.name and is_plain else ref.artifact_id


async def _get_all(
    session: Session, client: Client, artifact_ids: Sequence[str], target: _Target, several: Several
) -> None:
    refs = list[ArtifactRef]()
    for artifact_id in artifact_ids:
        try:
            refs.append(await client.artifacts.ref(artifact_id))
        except PagletError as error:
            several.fail(error, artifact_id)
    taken = set[Path]()
    with transfer_bars(len(refs), sum(ref.size_bytes for ref in refs)) as bars:
        for ref in refs:
            path = target.path_of(ref, taken)
            taken.add(path)
            with several.one(ref.artifact_id, bars.aside):
                fetched, is_proven = await _get_one(client, ref, path, target, bars)
                with bars.aside():
                    _tell(session, fetched, path, is_proven=is_proven)
            if several.is_hopeless:
                break


async def _get_one(
    client: Client, ref: ArtifactRef, path: Path, target: _Target, bars: Bars
) -> tuple[ArtifactRef, bool]:
    """Fetches one; also says whether its bytes were proven."""
    with bars.one(str(path), ref.size_bytes) as advance:
        if target.wanted is None:
            fetch = client.artifacts.export_to_path
            return await fetch(ref.artifact_id, path, overwrite=target.overwrite, progress=advance), True
        offset, length = target.wanted
        disk = Disk()
        async with (
            client.artifacts.open_reader(ref.artifact_id, offset=offset, length=length) as reader,
            landing(disk, path, overwrite=target.overwrite) as file,
        ):
            done = 0
            async for piece in reader:
                await disk.run(partial(file.append, piece))
                done += len(piece)
                advance(done)
    return reader.ref, reader.byte_range.length == reader.ref.size_bytes


async def _to_stdout(session: Session, client: Client, artifact_id: str, wanted: _Range | None) -> None:
    offset, length = wanted or (0, None)
    async with client.artifacts.open_reader(artifact_id, offset=offset, length=length) as reader:
        async for data in reader:
            sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
    if reader.byte_range.length != reader.ref.size_bytes and not session.json:
        note(f"unproven: {size_text(reader.byte_range.length)} of {size_text(reader.ref.size_bytes)}")


def _tell(session: Session, ref: ArtifactRef, path: Path, *, is_proven: bool) -> None:
    if session.json:
        write_json({**artifact_record(ref), "path": str(path), "proven": is_proven})
    elif is_proven:
        note(f"{plain(path)}: {size_text(ref.size_bytes)}, {ref.digest}")
    else:
        note(f"{plain(path)}: unproven, a part of {size_text(ref.size_bytes)}")
