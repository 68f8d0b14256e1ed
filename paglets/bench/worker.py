"""The inside of a program that the bench starts: it says that it is ready, then obeys commands until its input ends.

A command is one line of JSON, and so is its answer. This file must never know what is measured.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import msgspec

__all__ = ["Ready", "obey", "say", "until_eof"]

CommandT = TypeVar("CommandT")


@dataclass(frozen=True, slots=True)
class Ready:
    """The first line of every program: it can be used now, at `address` if it listens."""

    address: str = ""
    pid: int = 0


def say(answer: object) -> None:
    """Writes one line of JSON."""
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()


async def obey(command_type: type[CommandT], handle: Callable[[CommandT], Awaitable[object]]) -> None:
    """Answers one command after the other."""
    say(Ready(pid=os.getpid()))
    while line := await asyncio.to_thread(sys.stdin.buffer.readline):
        say(await handle(msgspec.json.decode(line, type=command_type)))


async def until_eof(address: str) -> None:
    """What a program that listens does beside serving: it waits until whoever started it is done, or gone."""
    say(Ready(address, os.getpid()))
    while await asyncio.to_thread(sys.stdin.buffer.readline):
        pass
