"""Files on their way from a command into a store, one after the other, by the record of the put that they belong to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from mimetypes import MimeTypes
from typing import TYPE_CHECKING

import click

from paglets.artifacts.store import ArtifactWrite, ArtifactWriteResult
from paglets.cli.artifact_record import artifact_record
from paglets.cli.artifact_resume import PutRecord, put_record
from paglets.cli.artifact_sources import SourceFile, absolute, find_files
from paglets.cli.output import note, plain, size_text, write_json
from paglets.cli.progress import Bars, transfer_bars
from paglets.cli.session import Session
from paglets.cli.several import Several
from paglets.errors import ConflictError, DeadlineError, ExhaustedError, PagletError, UnavailableError

if TYPE_CHECKING:
    from paglets.client.client import Client

__all__ = ["PutOrder", "put_files", "tell_stored"]

_PASSING = (UnavailableError, DeadlineError, ExhaustedError, ConflictError, OSError)
_KINDS = MimeTypes()  # its own tables, not those of the machine: the same file has the same type everywhere


@dataclass(frozen=True, slots=True, kw_only=True)
class PutOrder:
    """What is to be put, and how: each file as `write` says, named after itself unless that has a name."""

    sources: Sequence[str]
    write: ArtifactWrite
    guess_type: bool
    resume: bool

    def command(self, address: str) -> list[object]:
        """What makes two puts the same, in plain values."""
        paths = [str(absolute(source)) for source in self.sources]
        return [address, paths, asdict(self.write), self.guess_type]

    def write_of(self, file: SourceFile, upload_id: str) -> ArtifactWrite:
        """How one file is written."""
        write = replace(self.write, upload_id=upload_id, name=self.write.name or file.name)
        return replace(write, content_type=_guessed_type(file)) if self.guess_type else write


def put_files(session: Session, order: PutOrder) -> int:
    """Puts all files; the exit code.

    What fails is told, and the others go on, unless the host cannot be reached any more. After an interrupt, or a
    failure that may pass, the same call goes on with what is there.
    """
    files, failures = find_files(order.sources)
    several = Several(session, len(files) + len(failures))
    for failure in failures:
        several.fail(failure)
    if not files:
        note("there are no files to put")
        return several.code
    session.run(lambda client: _put_all(client, session, order, files, several))
    if several.count > 1 and not session.json:
        note(several.summary("stored"))
    return several.code


def tell_stored(session: Session, result: ArtifactWriteResult, *, path: str = "", about: str = "") -> None:
    """Writes what was stored: its id to stdout, the rest to stderr, or all of it as one line of JSON."""
    if session.json:
        told = {**artifact_record(result.ref), "outcome": result.outcome.value}
        write_json({**told, "path": path} if path else told)
        return
    click.echo(result.ref.artifact_id)
    about = f"{plain(about)}: " if about else ""
    note(f"{about}{result.outcome}: {size_text(result.ref.size_bytes)}, {result.ref.digest}")


async def _put_all(
    client: Client, session: Session, order: PutOrder, files: Sequence[SourceFile], several: Several
) -> None:
    total_bytes = sum(file.found.st_size for file in files)
    with (
        put_record(order.command(session.address), resume=order.resume) as record,
        transfer_bars(len(files), total_bytes) as bars,
    ):
        try:
            for file in files:
                with several.one(file.shown, bars.aside):
                    result = await _put_one(client, order, record, file, bars)
                    with bars.aside():
                        about = file.shown if several.count > 1 else ""
                        tell_stored(session, result, path=file.shown, about=about)
                        _tell_changed(file)
                if several.is_hopeless:
                    break
        except asyncio.CancelledError:
            with bars.aside():
                _tell_interrupted(session, record, "interrupted")
            raise
        if _goes_on(several):
            with bars.aside():
                _tell_interrupted(session, record, "not all is stored")
        elif not any(map(_is_spliced, several.failures)):
            record.forget()


async def _put_one(
    client: Client, order: PutOrder, record: PutRecord, file: SourceFile, bars: Bars
) -> ArtifactWriteResult:
    for upload_id in record.given_up_ids(file):
        with suppress(ConflictError):  # it is whole, and becomes an artifact at this moment
            await client.artifacts.cancel_upload(upload_id)
    write = order.write_of(file, record.upload_id(file))
    with bars.one(file.shown, file.found.st_size) as advance:
        return await client.artifacts.create_from_path(write, file.path, progress=advance)


def _tell_changed(file: SourceFile) -> None:
    if file.changed():
        note(f"{plain(file.shown)} was changed while it was sent: the artifact may be neither the old nor the new file")


def _tell_interrupted(session: Session, record: PutRecord, what: str) -> None:
    if record.path is not None and not session.json:
        note(f"{what}; the same command goes on where it was")


def _goes_on(several: Several) -> bool:
    """Whether the same command would do less than all of it again."""
    return bool(several.failures) and (several.done > 0 or any(map(_may_pass, several.failures)))


def _may_pass(failure: PagletError | OSError) -> bool:
    """Whether the same upload may get further another time."""
    is_gone = isinstance(failure, PagletError) and failure.reason == "UPLOAD_CANCELLED"
    return isinstance(failure, _PASSING) and not is_gone


def _is_spliced(failure: PagletError | OSError) -> bool:
    """Whether what was sent is of another file: it is dropped when the user says so, and not before."""
    return isinstance(failure, PagletError) and failure.reason == "PREFIX_MISMATCH"


def _guessed_type(file: SourceFile) -> str:
    """The media type that the name tells; none for what is packed, where it would be that of the contents."""
    kind, encoding = _KINDS.guess_type(file.path.name)
    return kind if kind and not encoding else ""
