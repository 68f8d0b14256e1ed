"""A paglet that spreads work over hosts: `--allow tests.patterns.spreader`.

Its service is made of well-known messages, so that no compiler is needed to call it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial

from google.protobuf import descriptor_pb2, descriptor_pool, struct_pb2
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import StringValue

from paglets.patterns.fanout import MeshFanoutMixin
from paglets.patterns.fanout_state import MeshFanoutState
from paglets.patterns.operations import OperationPaglet

__all__ = ["SERVICE", "SPREADER_MODULE", "SPREADER_TYPE", "Spreader", "SpreaderState"]

SPREADER_MODULE = "tests.patterns.spreader"
SPREADER_TYPE = f"{SPREADER_MODULE}.Spreader"
SERVICE = "paglets.tests.spreader.v1.SpreaderService"


def _describe() -> ServiceDescriptor:
    file = descriptor_pb2.FileDescriptorProto(
        name="paglets/tests/spreader/v1/spreader.proto",
        package=SERVICE.rpartition(".")[0],
        syntax="proto3",
        dependency=[struct_pb2.DESCRIPTOR.name],
    )
    struct = f".{struct_pb2.Struct.DESCRIPTOR.full_name}"
    service = file.service.add(name="SpreaderService")
    service.method.add(name="Spread", input_type=struct, output_type=struct)
    service.method.add(name="Tell", input_type=struct, output_type=struct, server_streaming=True)
    pool = descriptor_pool.Default()
    pool.Add(file)
    return pool.FindServiceByName(SERVICE)


@dataclass(kw_only=True)
class SpreaderState(MeshFanoutState):
    """What a spreader keeps. `found` has a line for each result, `ended` counts the fan-outs that are over."""

    found: list[str] = field(default_factory=list[str])
    ended: int = 0


class Spreader(MeshFanoutMixin[SpreaderState], OperationPaglet[SpreaderState]):
    """Its children say where they are; at hosts named in the word of the request they fail, or never end."""

    Services = (_describe(),)

    async def spread(self, request: Struct) -> Struct:
        """Begins a fan-out: `word`, `timeout_s`, `hosts`."""
        self.state.found.clear()
        self.start_background(partial(self._spread, request))
        return request

    async def tell(self, request: Struct) -> AsyncIterator[Struct]:
        """A fan-out as `spread` begins it, told as it comes: `host`, `text`."""
        word, hosts, timeout_s = _read(request)
        async with aclosing(self.fan_out_results(word, hosts=hosts, timeout_s=timeout_s)) as results:
            async for host, result in results:
                told = Struct()
                told.update({"host": host, "text": _text(result)})
                yield told

    async def _spread(self, request: Struct) -> None:
        word, hosts, timeout_s = _read(request)
        await self.fan_out(word, hosts=hosts, timeout_s=timeout_s)
        async with self.turn() as state:
            state.ended += 1

    async def run_child(self, request: AnyMessage) -> Message | None:
        """Tells where it is, in two parts, unless its host is named."""
        word = _text(request)
        if word == f"fail at {self.context.host}":
            raise ValueError("it was told to fail")
        if word == f"stay at {self.context.host}":
            await asyncio.Event().wait()
        await self.report_to_parent(StringValue(value="first"))
        return StringValue(value=f"last of {word}")

    async def on_child_result(self, host: str, result: AnyMessage) -> None:
        """Keeps a line."""
        self.state.found.append(f"{host}: {_text(result)}")


def _read(request: Struct) -> tuple[StringValue, list[str], float]:
    """The word, the hosts and the time of a fan-out."""
    hosts = [host.string_value for host in request.fields["hosts"].list_value.values]
    word = StringValue(value=request.fields["word"].string_value)
    return word, hosts, request.fields["timeout_s"].number_value


def _text(packed: AnyMessage) -> str:
    text = StringValue()
    packed.Unpack(text)
    return text.value
