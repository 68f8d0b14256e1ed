"""A paglet that answers a service that it has no descriptors of: `--allow tests.host.bridge`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from paglets.core.raw_call import RawCall
from paglets.patterns.operations import OperationPaglet
from tests.host.stage import STAGE

__all__ = ["BRIDGED", "BRIDGE_MODULE", "BRIDGE_TYPE", "Bridge", "BridgeState"]

BRIDGE_MODULE = "tests.host.bridge"
BRIDGE_TYPE = "tests.host.bridge.Bridge"
BRIDGED = "acme.Lines"
"""The service that it answers."""


@dataclass
class BridgeState:
    """All that it was told."""

    lines: list[str] = field(default_factory=list[str])


class Bridge(OperationPaglet[BridgeState]):
    """Keeps what it is told as lines, whatever it is."""

    async def handle_operation_message(self, call: RawCall) -> bytes | None:
        """`Add`, `Hold` and `Fail` keep a line; all else keeps one, and is not answered."""
        self.state.lines.append(call.request.hex())
        if call.operation == f"{BRIDGED}/Fail":
            raise ValueError("not told to anybody")
        if call.operation == f"{BRIDGED}/Hold":
            await STAGE.at("bridge")
        if call.operation == f"{BRIDGED}/Wrong":
            wrong: Any = 7
            return wrong
        if call.operation == f"{BRIDGED}/NotImplemented":
            return NotImplemented
        if call.operation in {f"{BRIDGED}/Add", f"{BRIDGED}/Hold"}:
            return " ".join(self.state.lines).encode()
        return None
