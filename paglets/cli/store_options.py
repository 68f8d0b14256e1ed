"""The options of `paglets host serve` that bound the host's artifact store, and the settings that they come to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

from paglets.cli.nouns import Verb
from paglets.cli.types import size, span
from paglets.config import StoreSettings

__all__ = ["StoreVerb", "store_options", "store_settings"]

CommandT = TypeVar("CommandT", bound=Callable[..., object])

_META = "paglets.store."
_PREFIX = "--artifact-"


def _above_zero(kind: Callable[[str], float | None]) -> Callable[[str], float | None]:
    def read(text: str) -> float | None:
        value = kind(text)
        if value is not None and value <= 0:
            raise click.BadParameter(f"{text!r} is not above 0")
        return value

    return read


def _size_or_nothing(text: str) -> int:
    return size(text) or 0


# The flag, the setting, the metavar, what reads it, the default, the help.
_OPTIONS = (
    ("quota", "quota_bytes", "SIZE", size, "10G", "Of all artifacts and uploads on the disk."),
    ("owner-quota", "owner_quota_bytes", "SIZE", size, "none", "Of each owner's artifacts."),
    ("max-size", "max_artifact_bytes", "SIZE", size, "1G", "Of one artifact."),
    ("min-free", "min_free_bytes", "SIZE", _size_or_nothing, "64M", "What uploads leave of the disk."),
    ("partial-ttl", "partial_ttl_s", "SPAN", _above_zero(span), "1d", "How long an upload that was cut is kept."),
    ("scrub-rate", "scrub_bytes_per_s", "SIZE", _above_zero(size), "20M", "What is re-read and proven in a second."),
    ("scrub-period", "scrub_period_s", "SPAN", _above_zero(span), "7d", "In which everything is re-read once."),
    ("keep-events", "keep_events", "N", click.IntRange(min=1), "10000", "How many changes are kept for watches."),
)


class StoreVerb(Verb):
    """A verb with the options of a store, which its help shows below the others."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes both sections."""
        plain, stores = list[tuple[str, str]](), list[tuple[str, str]]()
        for parameter in self.get_params(ctx):
            if (record := parameter.get_help_record(ctx)) is not None:
                (stores if record[0].startswith(_PREFIX) else plain).append(record)
        for title, records in (("Options", plain), ("Artifact store", stores)):
            with formatter.section(title):
                formatter.write_dl(records)


def store_options(command: CommandT) -> CommandT:
    """Gives a command the options; what they say is had from `store_settings`."""
    for word, setting, metavar, kind, default, told in reversed(_OPTIONS):
        command = click.option(
            _PREFIX + word,
            type=kind,
            metavar=metavar,
            default=default,
            show_default=True,
            expose_value=False,
            callback=_keeper(setting),
            help=told,
        )(command)
    return command


def store_settings(context: click.Context) -> StoreSettings:
    """The settings that the options of this command line say."""
    return StoreSettings(**{setting: context.meta[_META + setting] for _, setting, *_ in _OPTIONS})


def _keeper(setting: str) -> Callable[[click.Context, click.Parameter, object], None]:
    def keep(context: click.Context, _parameter: click.Parameter, value: object) -> None:
        context.meta[_META + setting] = value

    return keep
