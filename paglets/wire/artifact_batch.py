"""Many small artifacts as messages and back, in pairs; none is larger than gRPC takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from paglet.v1 import artifact_pb2
from paglets.artifacts.store import MAX_BATCH_ITEMS, ArtifactWrite, ArtifactWriteResult, SmallArtifact, SmallWrite
from paglets.digest import Digest
from paglets.errors import CallerError, DataLossError, InvalidArgumentError, PagletError
from paglets.values import check_id
from paglets.wire.artifact import (
    artifact_from_message,
    artifact_to_message,
    outcome_from_message,
    outcome_to_message,
    policy_from_message,
    policy_to_message,
)
from paglets.wire.channel_options import MAX_MESSAGE_BYTES
from paglets.wire.digest import digest_from_message, digest_to_message
from paglets.wire.item_error import error_from_item, error_to_item
from paglets.wire.times import duration_from_message, duration_to_message

__all__ = [
    "add_read_results",
    "checked_batch",
    "read_results_from_message",
    "small_writes_from_message",
    "small_writes_to_messages",
    "write_results_from_message",
    "write_results_to_message",
]

T = TypeVar("T")
_FULL_BYTES = MAX_MESSAGE_BYTES - 32 * 1024  # with room for one artifact of the largest kind, and for what is around
_AROUND_BYTES = 8  # tag and length of one more message in a list


def checked_batch(items: Sequence[T], field: str) -> Sequence[T]:
    """The same items. Raises MALFORMED_REQUEST for too many."""
    if len(items) > MAX_BATCH_ITEMS:
        message = f"a batch may have {MAX_BATCH_ITEMS} items, this one has {len(items)}"
        raise InvalidArgumentError("MALFORMED_REQUEST", message, field=field)
    return items


def small_writes_to_messages(items: Sequence[SmallWrite]) -> Iterator[artifact_pb2.BatchWriteArtifactsRequest]:
    """What is to be written, in as few messages as will do."""
    request, size = artifact_pb2.BatchWriteArtifactsRequest(), 0
    for item in items:
        message = _small_write_to_message(item)
        more = message.ByteSize() + _AROUND_BYTES
        if request.items and (len(request.items) >= MAX_BATCH_ITEMS or size + more > _FULL_BYTES):
            yield request
            request, size = artifact_pb2.BatchWriteArtifactsRequest(), 0
        request.items.append(message)
        size += more
    if request.items:
        yield request


def small_writes_from_message(
    request: artifact_pb2.BatchWriteArtifactsRequest,
) -> list[SmallWrite | PagletError]:
    """A message as what is to be written; an error in the place of what cannot be read."""
    results: list[SmallWrite | PagletError] = []
    for message in checked_batch(request.items, "items"):
        try:
            results.append(_small_write_from_message(message))
        except PagletError as error:
            results.append(error)
    return results


def write_results_to_message(
    results: Iterable[ArtifactWriteResult | PagletError],
) -> artifact_pb2.BatchWriteArtifactsResponse:
    """What became of each, as a message."""
    return artifact_pb2.BatchWriteArtifactsResponse(results=[_write_result_to_message(result) for result in results])


def write_results_from_message(
    request: artifact_pb2.BatchWriteArtifactsRequest, reply: artifact_pb2.BatchWriteArtifactsResponse
) -> list[ArtifactWriteResult | PagletError]:
    """A message as what became of each. Raises TRANSPORT for an answer that does not tell."""
    if len(reply.results) != len(request.items):
        raise _no_answer(f"{len(reply.results)} results for {len(request.items)} items")
    return [_write_result_from_message(message) for message in reply.results]


def add_read_results(
    reply: artifact_pb2.BatchReadArtifactsResponse, results: Iterable[SmallArtifact | PagletError]
) -> bool:
    """Adds what was read to an answer; False when it has no room for more."""
    size = reply.ByteSize()
    for result in results:
        message = _read_result_to_message(result)
        size += message.ByteSize() + _AROUND_BYTES
        if reply.results and size > _FULL_BYTES:
            return False
        reply.results.append(message)
    return True


def read_results_from_message(
    request: artifact_pb2.BatchReadArtifactsRequest, reply: artifact_pb2.BatchReadArtifactsResponse
) -> list[SmallArtifact | PagletError]:
    """A message as what was read, for the first of the ids, each proven.

    Raises TRANSPORT for an answer that is none.
    """
    if not 0 < len(reply.results) <= len(request.artifact_ids):
        raise _no_answer(f"{len(reply.results)} results for {len(request.artifact_ids)} ids")
    return [
        _read_result_from_message(artifact_id, message)
        for artifact_id, message in zip(request.artifact_ids, reply.results, strict=False)
    ]


def _small_write_to_message(item: SmallWrite) -> artifact_pb2.SmallArtifact:
    write = item.write
    return artifact_pb2.SmallArtifact(
        upload_id=write.upload_id,
        artifact_id=write.artifact_id,
        name=write.name,
        owner=write.owner,
        labels=write.labels,
        content_type=write.content_type,
        content_encoding=write.content_encoding,
        expected_digest=None if write.expected_digest is None else digest_to_message(write.expected_digest),
        ttl=None if write.ttl_s is None else duration_to_message(write.ttl_s, "ttl"),
        owner_policy=policy_to_message(write.owner_policy),
        data=item.data,
        as_file=write.as_file,
    )


def _small_write_from_message(message: artifact_pb2.SmallArtifact) -> SmallWrite:
    write = ArtifactWrite(
        upload_id=message.upload_id and check_id(message.upload_id, "upload_id"),
        artifact_id=message.artifact_id,
        name=message.name,
        owner=message.owner,
        owner_policy=policy_from_message(message.owner_policy),
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        labels=dict(message.labels),
        ttl_s=duration_from_message(message.ttl) if message.HasField("ttl") else None,
        expected_digest=digest_from_message(message.expected_digest) if message.HasField("expected_digest") else None,
        as_file=message.as_file,
    )
    return SmallWrite(write, message.data)


def _write_result_to_message(result: ArtifactWriteResult | PagletError) -> artifact_pb2.BatchWriteResult:
    if isinstance(result, PagletError):
        return artifact_pb2.BatchWriteResult(error=error_to_item(result))
    return artifact_pb2.BatchWriteResult(
        outcome=outcome_to_message(result.outcome), artifact=artifact_to_message(result.ref)
    )


def _write_result_from_message(message: artifact_pb2.BatchWriteResult) -> ArtifactWriteResult | PagletError:
    if message.HasField("error"):
        return error_from_item(message.error)
    outcome = outcome_from_message(message.outcome)
    return ArtifactWriteResult(artifact_from_message(message.artifact), outcome)


def _read_result_to_message(result: SmallArtifact | PagletError) -> artifact_pb2.BatchReadResult:
    if isinstance(result, PagletError):
        return artifact_pb2.BatchReadResult(error=error_to_item(result))
    return artifact_pb2.BatchReadResult(artifact=artifact_to_message(result.ref), data=result.data)


def _read_result_from_message(artifact_id: str, message: artifact_pb2.BatchReadResult) -> SmallArtifact | PagletError:
    if message.HasField("error"):
        return error_from_item(message.error)
    ref = artifact_from_message(message.artifact)
    if ref.artifact_id != artifact_id:
        raise _no_answer(f"artifact {ref.artifact_id} for {artifact_id}")
    if Digest.of(message.data) != ref.digest:
        text = f"artifact {artifact_id}: what came does not have its digest"
        return DataLossError("STORED_BLOB_CORRUPT", text, metadata={"artifact_id": artifact_id})
    return SmallArtifact(ref, message.data)


def _no_answer(what: str) -> CallerError:
    return CallerError("TRANSPORT", f"the host answered with {what}")
