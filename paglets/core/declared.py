"""What the definition of a paglet class says of itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, get_args

from paglets.core.services import Advertisement

__all__ = ["require_answered", "reserved_names", "state_argument"]


def require_answered(cls: type, advertised: Iterable[Advertisement], paths: Iterable[str]) -> None:
    """Raises TypeError for a service that a class advertises and does not answer; `paths` are those it answers."""
    answered = {path[1:].partition("/")[0] for path in paths}
    for one in advertised:
        if one.service.full_name not in answered:
            told = ", ".join(sorted(answered)) or "none"
            raise TypeError(f"{cls.__qualname__}.Advertises names {one.service.full_name}, but it answers: {told}")


def reserved_names(cls: type) -> set[str]:
    """What the framework's own classes among the bases of a class call their own."""
    own = [base for base in cls.__mro__[1:] if base.__module__.startswith(("paglets.core.", "paglets.patterns."))]
    return {name for base in own for name in vars(base)}


def state_argument(cls: type) -> type[Any] | None:
    """The dataclass among the type arguments of a class's bases; None when there is none."""
    if "State" in cls.__dict__:
        return None
    for base in cls.__dict__.get("__orig_bases__", ()):
        for argument in get_args(base):
            if isinstance(argument, type) and dataclasses.is_dataclass(argument):
                return argument
    return None
