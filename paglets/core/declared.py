"""What the definition of a paglet class says of itself."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args

__all__ = ["reserved_names", "state_argument"]


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
