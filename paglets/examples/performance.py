"""How fast the hosts of a mesh are: each measures itself, one measurement at a time, and says what came of it.

`paglets host serve --allow paglets.examples.performance` on every host; then, for example,
`paglets op call ID paglet.examples.performance.v1.PerformanceService/Measure`.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from paglet.examples.performance.v1.performance_pb2 import DESCRIPTOR, MeasureRequest, MeasureResponse
from paglets.errors import InvalidArgumentError
from paglets.patterns.fanout import MeshFanoutMixin
from paglets.patterns.fanout_state import MeshFanoutState
from paglets.patterns.operations import OperationPaglet
from paglets.wire.times import duration_from_message

__all__ = ["Performance", "PerformanceState"]

_ONE_AT_A_TIME = threading.Lock()
"""Measurements of one host would measure each other."""

_PIECE = bytes(1 << 20)
_DURATION_S, _MAX_DURATION_S = 1.0, 60.0
_DISK_BYTES, _MAX_DISK_BYTES = 128 << 20, 1 << 30
_TIMEOUT_S = 120.0


@dataclass(kw_only=True)
class PerformanceState(MeshFanoutState):
    """The book of a fan-out is all that is kept."""


class Performance(
    MeshFanoutMixin[PerformanceState, MeasureRequest, MeasureResponse], OperationPaglet[PerformanceState]
):
    """Measures hosts."""

    Services = (DESCRIPTOR.services_by_name["PerformanceService"],)

    async def measure(self, request: MeasureRequest) -> AsyncIterator[MeasureResponse]:
        """Tells what comes, as it comes, and at last who was not measured."""
        if duration_from_message(request.duration) > _MAX_DURATION_S or request.disk_bytes > _MAX_DISK_BYTES:
            raise InvalidArgumentError("HANDLER_FAILED", "at most a minute, and 1 GiB of a disk, are measured")
        timeout_s = duration_from_message(request.timeout) or _TIMEOUT_S
        async with aclosing(self.fan_out_results(request, hosts=request.hosts, timeout_s=timeout_s)) as results:
            async for _, response in results:
                yield response
        for host, error in self.state.errors.items():
            yield MeasureResponse(host=host, error=error)

    async def run_child(self, request: MeasureRequest) -> MeasureResponse:
        """Measures one host."""
        return await asyncio.to_thread(_measured, self.context.host, await self.work_folder(), request)


def _measured(host: str, folder: Path, request: MeasureRequest) -> MeasureResponse:
    duration_s = duration_from_message(request.duration) or _DURATION_S
    target = bytearray(_PIECE)

    def copy() -> None:
        target[:] = _PIECE

    with _ONE_AT_A_TIME:
        return MeasureResponse(
            host=host,
            cores=os.cpu_count() or 1,
            hash_bytes_per_second=_rate(lambda: blake3(_PIECE).digest(), duration_s),
            copy_bytes_per_second=_rate(copy, duration_s),
            disk_bytes_per_second=_disk_rate(folder / "measured", request.disk_bytes or _DISK_BYTES),
        )


def _rate(work: Callable[[], object], duration_s: float) -> float:
    """Bytes a second of what does something with a piece, over and over."""
    begun, pieces = time.perf_counter(), 0
    while (taken := time.perf_counter() - begun) < duration_s:
        work()
        pieces += 1
    return pieces * len(_PIECE) / taken


def _disk_rate(path: Path, size_bytes: int) -> float:
    begun, left = time.perf_counter(), size_bytes
    try:
        with path.open("wb", buffering=0) as file:
            while left > 0:
                left -= file.write(_PIECE[:left])
            os.fsync(file.fileno())
        return size_bytes / (time.perf_counter() - begun)
    finally:
        path.unlink(missing_ok=True)
