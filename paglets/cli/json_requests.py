"""Requests in JSON as the user gives them: all at once, or line by line as they come."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import click

from paglets.cli.stdin import stdin_chunks

__all__ = ["JsonRequests", "given_requests", "lines_of_stdin"]


@dataclass(frozen=True, slots=True)
class JsonRequests:
    """Texts of JSON objects: those `given`, or, where that is None, those that are still to come."""

    given: Sequence[str] | None
    coming: AsyncIterator[str]


def given_requests(text: str | None) -> JsonRequests:
    """The objects of a text, one after another; none without a text."""
    texts = [] if text is None else _split(text)
    return JsonRequests(texts, _each(texts))


def lines_of_stdin() -> JsonRequests:
    """The lines of standard input; empty ones are left out."""
    return JsonRequests(None, _lines())


def _split(text: str) -> list[str]:
    """The JSON values of a text. What is none is left whole, for whoever says what is wrong with it."""
    decoder, found, start = json.JSONDecoder(), list[str](), 0
    while rest := text[start:].lstrip():
        start = len(text) - len(rest)
        try:
            _, end = decoder.raw_decode(text, start)
        except ValueError:
            return [*found, rest] if found else [text]
        found.append(text[start:end])
        start = end
    return found or [text]


async def _each(texts: Sequence[str]) -> AsyncIterator[str]:
    for text in texts:
        yield text


async def _lines() -> AsyncIterator[str]:
    rest = b""
    async for piece in stdin_chunks():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.strip():
                yield _text(line)
    if rest.strip():
        yield _text(rest)


def _text(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise click.BadParameter(f"standard input is no text in UTF-8: {error}") from error
