"""Type arguments that a class must have at run time: found where it is defined, refused where they are missing."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.message import Message

from paglets.core.declared import type_arguments

__all__ = ["declare_message", "declare_messages", "is_open"]


def is_open(cls: type) -> bool:
    """Whether a generic class leaves type parameters for those who derive from it."""
    return bool(getattr(cls, "__parameters__", ()))


def declare_messages(cls: type, base: type, names: tuple[str, ...], optional: Mapping[str, int]) -> None:
    """Sets the class attributes `names` to the message classes that are the first type arguments of `base`.

    `optional` names more, with the places of their type arguments; nothing said is any message, `Message` itself.

    An attribute that is set already, or inherited, stays. Raises TypeError when one is still missing in a class that
    leaves no type parameter open.
    """
    arguments = type_arguments(cls, base)
    for name, index in {**{name: index for index, name in enumerate(names)}, **optional}.items():
        declared = getattr(cls, name, None) or next(iter(arguments[index:]), Message if name in optional else None)
        if isinstance(declared, type) and issubclass(declared, Message):
            if not (is_open(cls) and declared is Message):
                setattr(cls, name, declared)
        elif not is_open(cls):
            examples = ", ".join(f"My{each}" for each in names)
            raise TypeError(
                f"{cls.__qualname__} must declare {' and '.join(names)} as protobuf message classes, e.g."
                f" `class {cls.__name__}({base.__name__}[{examples}])`; its {name} is {declared!r}"
            )


def declare_message(cls: type, base: type, index: int, name: str) -> None:
    """Sets the class attribute `name` to the message class that is a type argument of `base`; else to `Message`.

    An attribute that the class sets itself stays, and so does an inherited one if no argument is given. Raises
    TypeError for one that is no message class.
    """
    argument = next(iter(type_arguments(cls, base)[index:]), None)
    given = argument if isinstance(argument, type) and argument is not Message else None  # the default, if it is
    declared = cls.__dict__.get(name) or given or getattr(cls, name, Message)
    if not (isinstance(declared, type) and issubclass(declared, Message)):
        raise TypeError(f"{cls.__qualname__}.{name} is {declared!r}, which is no protobuf message class")
    setattr(cls, name, declared)
