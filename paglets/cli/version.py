"""`paglets version`: which paglets this is, and on what it stands."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of

import click

from paglets.cli.nouns import Verb
from paglets.cli.output import write_record
from paglets.cli.session import Session
from paglets.version import __version__

__all__ = ["installed", "version"]


@click.command(cls=Verb)
@click.pass_obj
def version(session: Session) -> None:
    """Tell which version this is, and of what it is made."""
    record = {
        "paglets": __version__,
        "protocol": "paglet.v1",
        "python": platform.python_version(),
        "grpcio": installed("grpcio"),
        "protobuf": installed("protobuf"),
    }
    write_record(record, as_json=session.json)


def installed(package: str) -> str:
    """The version of a package."""
    try:
        return version_of(package)
    except PackageNotFoundError:
        return "not installed: run from its sources"
