"""What the definition of a paglet class says of itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, TypeVar, get_args, get_origin

from paglets.core.services import Advertisement

__all__ = ["require_answered", "reserved_names", "state_argument", "type_arguments"]


def require_answered(cls: type, advertised: Iterable[Advertisement], paths: Iterable[str]) -> None:
    """Raises TypeError for a service that a class advertises and does not answer; `paths` are those it answers."""
    answered = {path[1:].partition("/")[0] for path in paths}
    for one in advertised:
        if one.service.full_name not in answered:
            told = ", ".join(sorted(answered)) or "none"
            raise TypeError(f"{cls.__qualname__}.Advertises names {one.service.full_name}, but it answers: {told}")


def require_tuples(cls: type, names: Iterable[str]) -> None:
    """Raises TypeError for a class attribute that is no tuple, as one in parentheses without a comma is not."""
    for name in names:
        if not isinstance(vars(cls).get(name, ()), tuple):
            raise TypeError(f"{cls.__qualname__}.{name} has to be a tuple; one alone is written `{name} = (it,)`")


def reserved_names(cls: type) -> set[str]:
    """What the framework's own classes among the bases of a class call their own."""
    own = [base for base in cls.__mro__[1:] if base.__module__.startswith(("paglets.core.", "paglets.patterns."))]
    return {name for base in own for name in vars(base)}


def state_argument(cls: type, paglet: type) -> type[Any] | None:
    """The state class that a class gives `paglet`, seen through its generic bases; None when it gives none.

    Raises TypeError for one that is no dataclass.
    """
    if "State" in cls.__dict__:
        return None
    for parent in cls.__dict__.get("__orig_bases__", ()):
        arguments: tuple[object, ...] = _given_by(parent, paglet) if get_origin(parent) else ()
        for argument in arguments:
            named: object = getattr(argument, "__qualname__", argument)
            if isinstance(argument, type) and dataclasses.is_dataclass(argument):
                return argument
            if argument is not Any and not isinstance(argument, TypeVar):
                raise TypeError(f"{cls.__qualname__} has {named} as its state, which is no dataclass: is it decorated?")
    return None


def _given_by(parent: object, base: type) -> tuple[object, ...]:
    """What a base of a class gives for the type parameters of `base`, seen through the generic classes between them."""
    origin: object = get_origin(parent) or parent
    if origin is base:
        return get_args(parent)
    if not isinstance(origin, type) or base not in origin.__mro__:
        return ()
    parameters: tuple[object, ...] = getattr(origin, "__parameters__", ())
    given = dict(zip(parameters, get_args(parent), strict=False))
    return tuple(given.get(argument, argument) for argument in type_arguments(origin, base))


def type_arguments(cls: type, base: type) -> tuple[object, ...]:
    """What a class gives for the type parameters of `base`, by the first of its bases that derives from it."""
    parents = cls.__dict__.get("__orig_bases__", cls.__bases__)
    return next((given for given in (_given_by(parent, base) for parent in parents) if given), ())
