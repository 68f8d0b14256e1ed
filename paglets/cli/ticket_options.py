"""The options of a move that say what it asks for beside its target, and the ticket that they come to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from paglets.cli.types import span
from paglets.values import ArrivalMode, TransferTicket

__all__ = ["ticket_of", "ticket_options"]

CommandT = TypeVar("CommandT", bound=Callable[..., object])

Kind = click.ParamType[Any] | Callable[[str], object]

_META = "paglets.ticket."


def ticket_options(command: CommandT) -> CommandT:
    """Gives a command the options; what they say is had from `ticket_of`."""
    modes = click.Choice([mode.value for mode in ArrivalMode])
    for option in (
        _option("--arrive", "arrival", modes, "What becomes of it there.", default="active"),
        _option("--state-version", "state_version", click.IntRange(1), "The state version that HOST must have."),
        _option("--require-tag", "required_tags", str, "A tag that HOST must have; repeat it.", multiple=True),
        _option("--require-type", "required_types", str, "A type that HOST must offer; repeat it.", multiple=True),
        _option("--retries", "retries", click.IntRange(0, 100), "How often to try anew while HOST cannot be reached."),
        _option("--deadline", "deadline_s", span, "Give it up unless it is committed in this time, e.g. 30s."),
    ):
        command = option(command)
    return command


def ticket_of(context: click.Context) -> TransferTicket:
    """The ticket that the options of this command line say."""
    found = context.meta
    return TransferTicket(
        deadline_s=found[_META + "deadline_s"],
        retries=found[_META + "retries"] or 0,
        required_types=found[_META + "required_types"],
        required_tags=found[_META + "required_tags"],
        state_version=found[_META + "state_version"] or 0,
        arrival=ArrivalMode(found[_META + "arrival"]),
    )


def _option(
    flag: str, field: str, kind: Kind, told: str, *, default: str | None = None, multiple: bool = False
) -> Callable[[CommandT], CommandT]:
    def keep(context: click.Context, _parameter: click.Parameter, value: object) -> None:
        context.meta[_META + field] = value

    return click.option(
        flag,
        type=kind,
        default=default,
        multiple=multiple,
        show_default=default is not None,
        expose_value=False,
        callback=keep,
        help=told,
    )
