"""What a check has found, and what to do about it. It must never know what was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding", "failed", "ok", "reason", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a diagnosis; `remedy` says what to do next, and is empty where nothing need be done."""

    check: str
    status: Literal["ok", "warning", "failed"]
    found: str
    remedy: str = ""


def ok(check: str, found: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", found)


def warning(check: str, found: str, remedy: str) -> Finding:
    """Something may be in somebody's way."""
    return Finding(check, "warning", found, remedy)


def failed(check: str, found: str, remedy: str) -> Finding:
    """Something does not work."""
    return Finding(check, "failed", found, remedy)


def reason(error: Exception) -> str:
    """What an error says, without its number and path, which the finding names."""
    return (error.strerror if isinstance(error, OSError) else "") or str(error)
