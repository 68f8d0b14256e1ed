"""How commands are grouped: a noun is loaded when it is asked for, and every verb takes the options that all share."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import click

from paglets.cli.session import DEFAULT_ADDRESS, Session
from paglets.cli.types import address, timeout

__all__ = ["Noun", "Nouns", "Verb", "check_settings"]


def _keep_address(context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.ensure_object(Session).address = value


def _keep_timeout(context: click.Context, _parameter: click.Parameter, value: float | None) -> None:
    if value is not None:
        context.ensure_object(Session).timeout_s = value


def _keep_json(context: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's own
    if value:
        context.ensure_object(Session).json = True


def _shared(*, root: bool) -> list[click.Parameter]:
    """The options that may stand before the noun or after the verb; the latter win."""
    return [
        click.Option(
            ["--host", "address"],
            type=address,
            metavar="ADDRESS",
            help="The host to ask.",
            envvar="PAGLETS_HOST" if root else None,
            allow_from_autoenv=root,
            default=DEFAULT_ADDRESS if root else None,
            show_default=root,
            expose_value=False,
            callback=_keep_address,
        ),
        click.Option(
            ["--timeout"],
            type=timeout,
            metavar="SPAN",
            help="How long to wait for an answer, e.g. 5s or 2m; 30s unless given, for moves and transfers as long as"
            " it takes.",
            allow_from_autoenv=root,
            expose_value=False,
            callback=_keep_timeout,
        ),
        click.Option(
            ["--json"],
            is_flag=True,
            is_eager=True,  # so that errors of the others are told in JSON
            help="Print JSON: one object, or one a line.",
            allow_from_autoenv=root,
            expose_value=False,
            callback=_keep_json,
        ),
    ]


def check_settings(context: click.Context) -> None:
    """Raises UsageError for a setting of a command in the configuration file that nothing would ever read."""
    command = context.command
    known = _names(command.get_params(context))
    if isinstance(command, click.Group):
        commands = command.list_commands(context)
        known.update(commands)
        _check_tables(context, commands)
    unknown = sorted(set(context.default_map or {}) - known)
    if unknown:
        # What is said to the root is the table [client], where the address is called host.
        told = {"host" if name == "address" and context.parent is None else name for name in known}
        raise click.UsageError(
            f"the configuration file sets {', '.join(unknown)} for `{context.command_path}`,"
            f" which knows {', '.join(sorted(told))}",
            context,
        )


def _check_tables(context: click.Context, commands: Iterable[str]) -> None:
    """Refuses a value in the place of a command's table, which click would take for one."""
    for name in commands:
        if not isinstance(context.lookup_default(name) or {}, Mapping):
            raise click.UsageError(
                f"the configuration file sets {name} to a value; it is a table: the options of"
                f" `{context.command_path} {name}`",
                context,
            )


_BEFORE_THE_NOUN = _shared(root=True)
_AFTER_THE_VERB = _shared(root=False)


class Verb(click.Command):
    """A command that does something; it takes the shared options unless it has some of the same name."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Its own parameters, then the shared ones."""
        own = super().get_params(ctx)
        taken = {flag for parameter in own for flag in parameter.opts}
        return [*own, *(option for option in _AFTER_THE_VERB if taken.isdisjoint(option.opts))]

    def invoke(self, ctx: click.Context) -> object:
        """Looks at the settings first."""
        check_settings(ctx)
        return super().invoke(ctx)


class Noun(click.Group):
    """What the verbs of one file are about."""

    command_class = Verb

    def invoke(self, ctx: click.Context) -> object:
        """Looks at the settings first."""
        check_settings(ctx)
        return super().invoke(ctx)


class Nouns(click.Group):
    """The root of all: nouns and verbs, each at the `module:attribute` from which it is loaded when it is asked for."""

    places: ClassVar[Mapping[str, str]]

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Its own parameters, then the shared ones."""
        return [*super().get_params(ctx), *_BEFORE_THE_NOUN]

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands, in the order of their listing."""
        return list(self.places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Loads a command; None for a name that there is not."""
        place = self.places.get(cmd_name)
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


def _names(parameters: Sequence[click.Parameter]) -> set[str]:
    return {parameter.name for parameter in parameters if parameter.name and not parameter.name.startswith("_")}
