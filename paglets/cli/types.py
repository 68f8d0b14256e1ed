"""Values that a command line gives as text: sizes, spans, labels, JSON from where it is.

Each is a function that click calls; a text that is none of its kind is a usage error that shows the form.
"""

from __future__ import annotations

import re
import sys
from datetime import datetime
from pathlib import Path

import click

__all__ = [
    "address",
    "address_or_none",
    "byte_range",
    "label",
    "listening_address",
    "moment",
    "one_of_each",
    "read_text_argument",
    "size",
    "span",
    "timeout",
    "wanted_label",
]

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)?", re.IGNORECASE)
_MAX_PORT = 65535
_MAX_SECONDS = 100 * 366 * 86400  # a century: what clocks and messages of any host can add to now
_MAX_TIMEOUT_S = 10_000_000
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def address(value: object) -> str:
    """Where a host is: `NAME:PORT` or `unix:PATH`."""
    text = str(value)
    if not text.startswith("unix:"):
        name, port = _name_and_port(text)
        if not name or port == 0:
            raise click.BadParameter(f"{text!r} is no address of a host; give NAME:PORT, port 1 to 65535, or unix:PATH")
    return text


def address_or_none(value: object) -> str:
    """The same, or an empty text for none."""
    return address(value) if str(value) else ""


def listening_address(value: object) -> str:
    """Where a host listens: `NAME:PORT`, with a port of 0 for any and without a name for everywhere, or `unix:PATH`."""
    text = str(value)
    if not text.startswith("unix:"):
        _name_and_port(text)
    return text


def _name_and_port(text: str) -> tuple[str, int]:
    name, _, port = text.rpartition(":")
    if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > _MAX_PORT or ":" not in text:
        raise click.BadParameter(f"{text!r} is no address; give NAME:PORT, port at most {_MAX_PORT}, or unix:PATH")
    return name, int(port)


def size(text: str) -> int | None:
    """A number of bytes, with K, M, G or T for powers of 1024; None for `none`, which is no bound."""
    if text.strip().lower() == "none":
        return None
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise click.BadParameter(f"{text!r} is no size; give bytes, or 512K, 100M, 10G, none")
    return int(float(found[1]) * 1024 ** " kmgt".index(found[2].lower() or " "))


def byte_range(text: str) -> tuple[int, int | None]:
    """An offset and a number of bytes, None for the rest, from `OFFSET` or `OFFSET:LENGTH`; both are sizes."""
    first, colon, second = text.partition(":")
    offset, length = size(first), size(second) if colon else None
    if offset is None or (colon and not length):
        raise click.BadParameter(
            f"{text!r} is no range; give OFFSET or OFFSET:LENGTH, e.g. 0:512K, of one byte or more"
        )
    return offset, length


def span(text: str) -> float:
    """Seconds, with ms, s, m, h, d or w."""
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        raise click.BadParameter(f"{text!r} is no span of time; give seconds, or 30s, 15m, 12h, 7d")
    seconds = float(found[1]) * _SECONDS[(found[2] or "s").lower()]
    if seconds > _MAX_SECONDS:
        raise click.BadParameter(f"{text!r} is too long; give at most {_MAX_SECONDS // _SECONDS['w']}w, or nothing")
    return seconds


def moment(text: str) -> float:
    """Seconds since the epoch, from a date and time of ISO 8601; without an offset it is local time."""
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise click.BadParameter(f"{text!r} is no time; give e.g. 2030-01-31T12:00:00Z, or a local time") from error


def timeout(value: object) -> float:
    """How long to wait, in seconds: a number, or a span."""
    text = str(value)
    try:
        seconds = float(text)
    except ValueError:
        seconds = span(text)
    if not 0 < seconds <= _MAX_TIMEOUT_S:
        raise click.BadParameter(f"{value!r} is not above 0 and at most {_MAX_TIMEOUT_S} seconds")
    return seconds


def label(text: str) -> tuple[str, str]:
    """A key and a value, from `KEY=VALUE`."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise click.BadParameter(f"{text!r} is no label; give KEY=VALUE")
    return key, value


def one_of_each(
    context: click.Context, parameter: click.Parameter, given: tuple[tuple[str, str], ...]
) -> dict[str, str]:
    """What each key is to be. Two values for one are a mistake: nobody knows which of them was meant."""
    found = dict[str, str]()
    for key, value in given:
        if key in found:
            raise click.BadParameter(f"{key!r} is given twice", context, parameter)
        found[key] = value
    return found


def wanted_label(text: str) -> tuple[str, str]:
    """A key and a value, from `KEY=VALUE`; from `KEY` a key with any value, which is said by an empty one."""
    return label(text) if "=" in text else label(f"{text}=")


def read_text_argument(text: str) -> str:
    """The text itself, or what `@FILE` or `-`, standard input, holds."""
    try:
        if text == "-":
            return _read_stdin()
        return Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text
    except UnicodeDecodeError as error:
        where = "standard input" if text == "-" else text[1:]
        raise click.BadParameter(f"{where} is no text in UTF-8: {error}") from error


def _read_stdin() -> str:
    """All that standard input holds."""
    if sys.stdin is None:
        raise click.BadParameter("standard input is closed")
    return sys.stdin.read()
