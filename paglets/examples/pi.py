"""Pi by many hosts: the Chudnovsky series is cut into parts, each host sums one, and the parent joins what comes.

`paglets host serve --allow paglets.examples.pi` on every host; then, for example,
`paglets op call ID paglet.examples.pi.v1.PiService/Compute '{"digits": 1000}'`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import reduce
from math import isqrt

from paglet.examples.pi.v1.pi_pb2 import DESCRIPTOR, ComputeRequest, ComputeResponse, Part, Parts
from paglets.errors import InvalidArgumentError
from paglets.patterns.fanout import MeshFanoutMixin
from paglets.patterns.fanout_state import MeshFanoutState
from paglets.patterns.operations import OperationPaglet
from paglets.wire.times import duration_from_message

__all__ = ["Pi", "PiState", "pi_text"]

_MAX_DIGITS = 100_000
_TIMEOUT_S = 60.0
_DIGITS_OF_A_TERM = 14.18
_AT_ONCE = 1000


@dataclass(kw_only=True)
class PiState(MeshFanoutState):
    """The book of a fan-out is all that is kept."""


class Pi(MeshFanoutMixin[PiState, Parts, Part], OperationPaglet[PiState]):
    """Computes digits of Pi."""

    Services = (DESCRIPTOR.services_by_name["PiService"],)

    async def compute(self, request: ComputeRequest) -> AsyncIterator[ComputeResponse]:
        """Tells who has done his part, then the digits in their order."""
        if not 1 <= request.digits <= _MAX_DIGITS:
            raise InvalidArgumentError("HANDLER_FAILED", f"from 1 to {_MAX_DIGITS} digits, not {request.digits}")
        parts = _shared_out(request.digits, request.hosts or await self.fanout_available_hosts())
        timeout_s = duration_from_message(request.timeout) or _TIMEOUT_S
        async with aclosing(self.fan_out_results(parts, hosts=list(parts.of_host), timeout_s=timeout_s)) as results:
            async for host, part in results:
                parts.of_host[host].CopyFrom(part)
                yield ComputeResponse(host_done=host)
        text = await asyncio.to_thread(_joined, parts, request.digits)
        for start in range(0, len(text), _AT_ONCE):
            yield ComputeResponse(digits=text[start : start + _AT_ONCE])

    async def run_child(self, request: Parts) -> Part:
        """Sums the part of this host."""
        return await asyncio.to_thread(_summed, request.of_host[self.context.host])


def _shared_out(digits: int, hosts: Sequence[str]) -> Parts:
    """Equal parts of all terms that are needed."""
    terms, parts = int(digits / _DIGITS_OF_A_TERM) + 2, Parts()
    for index, host in enumerate(sorted(hosts)):
        first, end = terms * index // len(hosts), terms * (index + 1) // len(hosts)
        if first < end:
            parts.of_host[host].CopyFrom(Part(first=first, end=end))
    return parts


def _summed(part: Part) -> Part:
    p, q, t = _split(part.first, part.end)
    return Part(first=part.first, end=part.end, p=_bytes(p), q=_bytes(q), t=_bytes(t))


def _split(first: int, end: int) -> tuple[int, int, int]:
    """Binary splitting of the series: P, Q and T of the terms from `first` to before `end`."""
    if end - first == 1:
        p = 1 if first == 0 else (6 * first - 5) * (2 * first - 1) * (6 * first - 1)
        q = 1 if first == 0 else first**3 * 10939058860032000
        t = p * (13591409 + 545140134 * first)
        return p, q, -t if first % 2 else t
    middle = (first + end) // 2
    return _merged(_split(first, middle), _split(middle, end))


def _merged(left: tuple[int, int, int], right: tuple[int, int, int]) -> tuple[int, int, int]:
    return left[0] * right[0], left[1] * right[1], left[2] * right[1] + left[0] * right[2]


def _joined(parts: Parts, digits: int) -> str:
    """The digits; a part that did not come is summed here."""
    in_order = sorted(parts.of_host.values(), key=lambda part: part.first)
    _, q, t = reduce(_merged, (_numbers(part if part.q else _summed(part)) for part in in_order))
    one = 10 ** (digits + 10)
    return pi_text(426880 * isqrt(10005 * one * one) * q // t // 10**10, digits)


def _numbers(part: Part) -> tuple[int, int, int]:
    return int.from_bytes(part.p), int.from_bytes(part.q), int.from_bytes(part.t, signed=True)


def pi_text(scaled: int, digits: int) -> str:
    """A number times 10 to the power of `digits`, as text; Python itself refuses to write long ones in one go."""
    text = _decimal(scaled, digits + 1)
    return f"{text[:-digits]}.{text[-digits:]}"


def _decimal(number: int, width: int) -> str:
    if width <= _AT_ONCE:
        return f"{number:0{width}d}"
    low = width // 2
    upper, lower = divmod(number, 10**low)
    return _decimal(upper, width - low) + _decimal(lower, low)


def _bytes(number: int) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1, signed=True)
