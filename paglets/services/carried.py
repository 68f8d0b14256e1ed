"""What a handler is given for a call that came in a stream of calls: the same as gRPC gives it for its own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import grpc

from paglet.v1 import call_pb2 as pb
from paglets.errors import InvalidArgumentError
from paglets.services.call_meta import RawMetadata
from paglets.wire.carried import carried_bytes, is_legal, metadata_from_messages, metadata_to_messages
from paglets.wire.channel_options import MAX_METADATA_BYTES

__all__ = ["CarriedContext"]


class CarriedContext(grpc.aio.ServicerContext[Any, Any]):
    """One unary call and what its answer has so far. It may take `timeout_s`, None for no deadline.

    `beside` is how many of its stream were under way when it came.
    """

    def __init__(self, call: pb.CarriedCall, timeout_s: float | None, peer: str, *, beside: int) -> None:
        self.beside = beside
        self._call = call
        self._metadata: RawMetadata | None = None
        self._now = asyncio.get_running_loop().time
        self._deadline = None if timeout_s is None else self._now() + timeout_s
        self._peer = peer
        self._initial: RawMetadata = ()
        self._trailing: RawMetadata = ()
        self._code: grpc.StatusCode | None = None
        self._details = ""

    def answer(self, reply: bytes) -> pb.CarriedAnswer:
        """The call's answer: with the status if it has one, else with the reply.

        Metadata that gRPC would not have sent fail the call as they do there, and no other call of the stream.
        """
        if not is_legal((*self._initial, *self._trailing)):
            return self._failure(grpc.StatusCode.INTERNAL, "Invalid metadata")
        if max(carried_bytes(self._initial), carried_bytes(self._trailing)) > MAX_METADATA_BYTES:
            return self._failure(
                grpc.StatusCode.RESOURCE_EXHAUSTED, f"metadata of more than {MAX_METADATA_BYTES} bytes"
            )
        return pb.CarriedAnswer(
            number=self._call.number,
            code=self._code.value[0] if self._code is not None else 0,
            message=self._details,
            reply=reply,
            initial_metadata=metadata_to_messages(self._initial),
            trailing_metadata=metadata_to_messages(self._trailing),
        )

    def _failure(self, code: grpc.StatusCode, message: str) -> pb.CarriedAnswer:
        return pb.CarriedAnswer(number=self._call.number, code=code.value[0], message=message)

    def invocation_metadata(self) -> Any:  # noqa: ANN401 - a type that the stubs do not name
        """The call's metadata. Raises MALFORMED_REQUEST for what gRPC would not have sent."""
        if self._metadata is None:
            found = metadata_from_messages(self._call.metadata)
            if not is_legal(found):
                raise InvalidArgumentError("MALFORMED_REQUEST", f"{found} are no metadata of a call", field="metadata")
            self._metadata = found
        return self._metadata

    def time_remaining(self) -> Any:  # noqa: ANN401 - None without a deadline, whatever the stubs say
        """Seconds until the deadline; None without one."""
        return None if self._deadline is None else max(self._deadline - self._now(), 0.0)

    def peer(self) -> str:
        """The connection by which the stream came."""
        return self._peer

    def trailing_metadata(self) -> Any:  # noqa: ANN401 - a type that the stubs do not name
        """What was set last."""
        return self._trailing

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:  # noqa: ANN401 - as above
        """Takes the place of what was set before."""
        self._trailing = tuple(trailing_metadata)

    async def send_initial_metadata(self, initial_metadata: Any) -> None:  # noqa: ANN401 - as above
        """They go with the answer."""
        self._initial = tuple(initial_metadata)

    def code(self) -> Any:  # noqa: ANN401 - None before there is one, whatever the stubs say
        """The status; None before the call has one."""
        return self._code

    def details(self) -> str:
        """What the status says."""
        return self._details

    def set_code(self, code: grpc.StatusCode) -> None:
        """Sets the status."""
        self._code = code

    def set_details(self, details: str) -> None:
        """Sets what the status says."""
        self._details = details

    async def abort(
        self,
        code: grpc.StatusCode,
        details: str = "",
        trailing_metadata: Any = (),  # noqa: ANN401 - as above
    ) -> NoReturn:
        """Ends the call with a status."""
        self._code, self._details, self._trailing = code, details, tuple(trailing_metadata)
        raise grpc.aio.AbortError

    async def abort_with_status(self, status: grpc.Status) -> NoReturn:
        """Ends the call with a status."""
        await self.abort(status.code, status.details, status.trailing_metadata or ())

    async def read(self) -> Any:  # noqa: ANN401 - EOF has no type of its own
        """There is one request, which the handler has."""
        return grpc.aio.EOF

    async def write(self, message: Any) -> None:  # noqa: ANN401 - gRPC's own
        """There is one reply, which the handler returns."""
        raise TypeError("a unary call is answered by what its handler returns")

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        """Nothing is known of the caller."""
        return {}

    def peer_identities(self) -> Sequence[bytes] | None:
        """Nothing is known of the caller."""
        return None

    def peer_identity_key(self) -> str | None:
        """Nothing is known of the caller."""
        return None

    def set_compression(self, compression: grpc.Compression) -> None:
        """The stream's own holds."""

    def disable_next_message_compression(self) -> None:
        """The stream's own holds."""
