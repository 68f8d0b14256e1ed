"""What `paglets host serve --resident` takes: a service that the host starts by itself, and how."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

import click

from paglets.cli.types import span
from paglets.config import ResidentLifecycle, ResidentServiceSpec
from paglets.discovery import ServiceScope
from paglets.errors import InvalidArgumentError
from paglets.values import check_id

__all__ = ["RESIDENT_METAVAR", "resident"]

T = TypeVar("T")

RESIDENT_METAVAR = "MODULE.CLASS[=lazy|eager][,KEY=VALUE]..."
_STATE = ",state="


def resident(value: object) -> ResidentServiceSpec:
    """A resident service: `MODULE.CLASS`, lazy unless `=eager`, and what else is wanted of it.

    `state=JSON` comes last, since JSON has commas.
    """
    text, has_state, state = str(value).partition(_STATE)
    first, *others = text.split(",")
    name, equals, kind = first.partition("=")
    if not name.rpartition(".")[0] or kind not in ({*ResidentLifecycle} if equals else {""}):
        raise click.BadParameter(f"{str(value)!r} is no resident service; give MODULE.CLASS, and =lazy or =eager")
    spec = ResidentServiceSpec(type=name, lifecycle=ResidentLifecycle(kind) if kind else ResidentLifecycle.LAZY)
    for other in others:
        spec = _with(spec, *other.partition("=")[::2])
    return replace(spec, state_json=_object(state)) if has_state else spec


def _with(spec: ResidentServiceSpec, key: str, value: str) -> ResidentServiceSpec:
    if key not in _SETTINGS:
        raise click.BadParameter(f"{key!r} says nothing of a resident service; give {', '.join(_SETTINGS)} or state")
    try:
        return _SETTINGS[key](spec, value)
    except InvalidArgumentError as error:
        raise click.BadParameter(error.message) from error


def _one_of(value: str, choices: Mapping[str, T]) -> T:
    if value not in choices:
        raise click.BadParameter(f"{value!r} is none of {', '.join(choices)}")
    return choices[value]


def _positive(text: str) -> float:
    seconds = span(text)
    if not seconds > 0:
        raise click.BadParameter(f"{text!r} is not above 0")
    return seconds


def _object(text: str) -> str:
    try:
        is_object = isinstance(json.loads(text), dict)
    except ValueError as error:
        raise click.BadParameter(f"state={text} is no JSON: {error}") from error
    if not is_object:
        raise click.BadParameter(f"state={text} is no JSON object, with the fields of the state")
    return text


_SETTINGS: Mapping[str, Callable[[ResidentServiceSpec, str], ResidentServiceSpec]] = {
    "scope": lambda spec, value: replace(spec, scope=_one_of(value, {scope.value: scope for scope in ServiceScope})),
    "one-in": lambda spec, value: replace(spec, singleton=_one_of(value, {"mesh": True, "host": False})),
    "id": lambda spec, value: replace(spec, paglet_id=check_id(value, "id")),
    "idle": lambda spec, value: replace(spec, idle_timeout_s=_positive(value)),
    "tag": lambda spec, value: replace(spec, tags=(*spec.tags, check_id(value, "tag"))),
}
