"""Arguments that are one of a few: a text in the place of a member is refused, since it would be taken for another one.

It must never know which enumerations there are.
"""

from __future__ import annotations

from enum import Enum

__all__ = ["require_member"]


def require_member(value: object, kind: type[Enum], field: str) -> None:
    """Raises TypeError, with the members that there are, for anything but one of them, their texts included."""
    if not isinstance(value, kind):
        members = ", ".join(f"{kind.__name__}.{member.name}" for member in kind)
        raise TypeError(f"{field} must be one of {members}, got {value!r}")
