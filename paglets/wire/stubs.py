"""What a generated stub is made of, for those who hand one on and know nothing of gRPC."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeVar

import grpc

__all__ = ["StubMaker"]

StubT = TypeVar("StubT")

StubMaker: TypeAlias = Callable[[grpc.aio.Channel], StubT]
"""A generated class, e.g. `CounterServiceStub`, which makes an asyncio stub of an asyncio channel."""
