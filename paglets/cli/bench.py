"""`paglets bench`: what this machine makes of paglets, each figure beside a reference of the same run."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click

from paglets.bench.settings import SUITES, BenchSettings
from paglets.cli.nouns import Verb
from paglets.cli.output import note, write_json, write_table
from paglets.cli.session import Session
from paglets.cli.types import size
from paglets.loop import run

__all__ = ["bench"]


@click.command(cls=Verb)
@click.option(
    "--size", "size_bytes", type=size, metavar="SIZE", default="1GiB", show_default=True, help="Of artifacts."
)
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="Samples of each.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=2.0,
    show_default=True,
    help="How long a measure of calls or moves takes.",
)
@click.option("--only", type=click.Choice(SUITES), multiple=True, help="What to measure, if not all. Repeatable.")
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path),
    default=tempfile.gettempdir,
    show_default="the system's for temporary files",
    help="On the disk to measure; five times SIZE must be free there.",
)
@click.option(
    "--actors-python",
    default=sys.executable,
    show_default="this one",
    help="The Python that has Ray or Dask's distributed, to hold paglets against their actors.",
)
@click.pass_context
def bench(
    context: click.Context,
    size_bytes: int | None,
    rounds: int,
    seconds: float,
    only: tuple[str, ...],
    folder: Path,
    actors_python: str,
) -> None:
    """Measure uploads, downloads, calls, moves, starts and memory on this machine, each beside a reference.

    Two hosts, the references and their clients are started as processes of their own and taken in turns. A ratio above
    1 is better than the reference. Leave the machine alone meanwhile; it takes about ten minutes.
    """
    from paglets.bench.processes import ProgramFailedError
    from paglets.bench.report import counted_records, result_record, row_records
    from paglets.bench.run import run_bench

    if not size_bytes:
        raise click.BadParameter("an artifact to measure has bytes", param_hint="--size")
    settings = BenchSettings(
        folder=Path(folder),
        size_bytes=size_bytes,
        rounds=rounds,
        seconds=seconds,
        only=frozenset(only or SUITES),
        actors_python=actors_python,
    )
    try:
        result = run(run_bench(settings, note))
    except ProgramFailedError as error:
        raise click.ClickException(f"the bench failed: {error}") from error
    if context.ensure_object(Session).json:
        write_json(result_record(result))
        return
    write_table(("measure", "unit", "paglets", "reference", "its", "ratio", "cpu"), row_records(result))
    if result.counted is not None:
        click.echo()
        write_table(
            ("work", "data", "data_syncs", "folder_syncs", "catalogue", "catalogue_syncs"), counted_records(result)
        )
    click.echo()
    for name, value in {**result.machine, **result.settings}.items():
        click.echo(f"{name}: {value}")
