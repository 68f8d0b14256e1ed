"""The files of a journey on their way to its target: the large ones one by one, the small ones many by one message.

A file that a message could not bring is brought as a large one is, which finds out why. This file must never know what
else a journey consists of.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from paglets.artifacts.store import SMALL_FILE_BYTES, ArtifactWrite, ArtifactWriteResult, SmallWrite
from paglets.digest import Digest
from paglets.errors import DeadlineError, InvalidArgumentError, PagletError, PreconditionError, Resource
from paglets.host.files import RegisteredFile, require_unchanged
from paglets.host.journey import Journey
from paglets.host.parts import HostParts
from paglets.offloop import off_loop
from paglets.values import OwnerPolicy

__all__ = ["counted", "push_files", "staged"]

_log = logging.getLogger(__name__)
_BATCH_BYTES = 2 * 1024 * 1024  # as much is in memory, and on its way
_BATCH_FILES = 250  # so that also a slow disk has them in the time of a call
_OTHER_BYTES = frozenset({"DIGEST_MISMATCH", "SIZE_MISMATCH", "PREFIX_MISMATCH", "SOURCE_NOT_A_FILE"})


async def push_files(parts: HostParts, journey: Journey, files: Mapping[str, RegisteredFile]) -> None:
    """Pushes registered files straight from where they lie, each as the artifact of its id.

    Raises FILE_CHANGED when one is not what was registered, and what the target, or the way to it, refuses with.
    """
    left = dict(files)
    try:
        for some in _batches({each: file for each, file in files.items() if file.size_bytes <= SMALL_FILE_BYTES}):
            for artifact_id in await _push_small(parts, journey, some):
                del left[artifact_id]
    except DeadlineError as error:  # a stream may take as long as it moves
        _log.info("the way to host %s is slow: %s", journey.departure.target, error)
    for artifact_id, file in left.items():
        await _push_file(parts, journey, file, artifact_id)


def _batches(files: Mapping[str, RegisteredFile]) -> Iterator[dict[str, RegisteredFile]]:
    """Files in parts that go into a message each; one alone needs none."""
    some: dict[str, RegisteredFile] = {}
    size = 0
    for artifact_id, file in files.items():
        if len(some) == _BATCH_FILES or size + file.size_bytes > _BATCH_BYTES:
            yield some
            some, size = {}, 0
        some[artifact_id] = file
        size += file.size_bytes
    if len(some) > 1:
        yield some


async def _push_small(parts: HostParts, journey: Journey, files: Mapping[str, RegisteredFile]) -> list[str]:
    """Pushes files by one message; the ids of those that are there now."""
    store = await parts.peers.store(journey.departure.target)
    items = await off_loop(_read, journey, files)
    results = await store.create_batch(items)
    there = [item for item, result in zip(items, results, strict=True) if isinstance(result, ArtifactWriteResult)]
    journey.bytes_done += sum(len(item.data) for item in there)
    return [item.write.artifact_id for item in there]


def _read(journey: Journey, files: Mapping[str, RegisteredFile]) -> list[SmallWrite]:
    """Those of the files that are there, and look as registered, with their bytes."""
    items: list[SmallWrite] = []
    for artifact_id, file in files.items():
        try:
            require_unchanged(file)
            data = Path(file.path).read_bytes()
        except (PagletError, OSError):
            continue
        if len(data) == file.size_bytes:  # the target holds its digest against it
            items.append(SmallWrite(staged(journey, artifact_id, file.content, file.name), data))
    return items


async def _push_file(parts: HostParts, journey: Journey, file: RegisteredFile, artifact_id: str) -> None:
    """Pushes a registered file straight from where it lies. Raises FILE_CHANGED when it is not what was registered."""
    await off_loop(require_unchanged, file)
    store = await parts.peers.store(journey.departure.target)
    write = staged(journey, artifact_id, file.content, file.name)
    try:
        await store.create_from_path(write, Path(file.path), progress=counted(journey))
    except (InvalidArgumentError, PreconditionError, OSError) as error:
        await off_loop(require_unchanged, file)
        if isinstance(error, PagletError) and error.reason not in _OTHER_BYTES:
            raise
        raise PreconditionError(
            "FILE_CHANGED",
            f"registered file {file.name!r} no longer has the bytes it was registered with: {error}",
            resource=Resource("file", file.name),
            metadata={"file": file.name},
        ) from error


def staged(journey: Journey, artifact_id: str, digest: Digest, name: str) -> ArtifactWrite:
    """Bytes that a transfer brings, under ids that any attempt of it takes again."""
    return ArtifactWrite(
        upload_id=artifact_id,
        artifact_id=artifact_id,
        name=name,
        owner=journey.departure.paglet_id,
        owner_policy=OwnerPolicy.DELETE_WITH_OWNER,
        size_bytes=digest.size_bytes,
        expected_digest=digest,
        as_file=True,  # paglets are told the paths of their files
    )


def counted(journey: Journey) -> Callable[[int], None]:
    """Adds what one artifact has done so far to what the journey had done before."""
    before = journey.bytes_done

    def count(done: int) -> None:
        journey.bytes_done = before + done

    return count
