"""The two rpcs that move an artifact's bytes, under the names that stubs give them, with chunks that are not copied.

This file must never know what is in the streams.
"""

from __future__ import annotations

import grpc

from paglet.v1 import artifact_pb2
from paglets.wire.chunk_codec import ReadFrame, WriteFrame, decode_read, encode_write

__all__ = ["ArtifactStreams"]

_PREFIX = f"/{artifact_pb2.DESCRIPTOR.services_by_name['ArtifactService'].full_name}/"


class ArtifactStreams:
    """Like the generated stub, for WriteArtifact and ReadArtifact alone."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.WriteArtifact: grpc.aio.StreamUnaryMultiCallable[WriteFrame, artifact_pb2.WriteArtifactResponse] = (
            channel.stream_unary(
                f"{_PREFIX}WriteArtifact",
                request_serializer=encode_write,
                response_deserializer=artifact_pb2.WriteArtifactResponse.FromString,
            )
        )
        self.ReadArtifact: grpc.aio.UnaryStreamMultiCallable[artifact_pb2.ReadArtifactRequest, ReadFrame] = (
            channel.unary_stream(
                f"{_PREFIX}ReadArtifact",
                request_serializer=artifact_pb2.ReadArtifactRequest.SerializeToString,
                response_deserializer=decode_read,
            )
        )
