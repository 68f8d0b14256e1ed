"""A call as it came: what a paglet is given of an operation that none of its services has."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RawCall"]


@dataclass(frozen=True, slots=True)
class RawCall:
    """One unary call: its operation as `pkg.Service/Method`, and the encoded request, which nobody has parsed."""

    operation: str
    request: bytes
