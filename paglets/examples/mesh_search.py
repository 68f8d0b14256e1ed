"""A search of the files of many hosts at once: a clone looks on each of them, and its parent tells what comes.

`paglets host serve --allow paglets.examples.mesh_search --file-root FOLDER` on every host, then `paglets search`.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path

from paglet.examples.mesh_search.v1.mesh_search_pb2 import DESCRIPTOR, Found, SearchRequest, SearchResponse
from paglets.errors import InvalidArgumentError
from paglets.patterns.fanout import MeshFanoutMixin
from paglets.patterns.fanout_state import MeshFanoutState
from paglets.patterns.operations import OperationPaglet
from paglets.wire.times import duration_from_message

__all__ = ["MeshSearch", "SearchState"]

_TIMEOUT_S = 30.0
_MAX_FOUND = 1000
_BATCH = 100
_MAX_LINE_BYTES = 1 << 20
_MAX_LINE_CHARS = 1000


@dataclass(kw_only=True)
class SearchState(MeshFanoutState):
    """The book of a fan-out is all that a search keeps."""


class MeshSearch(MeshFanoutMixin[SearchState, SearchRequest, SearchResponse], OperationPaglet[SearchState]):
    """Looks for files, or for lines in them."""

    Services = (DESCRIPTOR.services_by_name["MeshSearchService"],)

    async def search(self, request: SearchRequest) -> AsyncIterator[SearchResponse]:
        """Tells what comes, as it comes, and at last who failed."""
        _pattern(request)
        if request.max_found < 0:
            raise InvalidArgumentError("MALFORMED_REQUEST", "max_found is 0 or more", field="max_found")
        timeout_s = duration_from_message(request.timeout) or _TIMEOUT_S
        async with aclosing(self.fan_out_results(request, hosts=request.hosts, timeout_s=timeout_s)) as results:
            async for _, response in results:
                yield response
        for host, error in self.state.errors.items():
            yield SearchResponse(host=host, error=error)

    async def run_child(self, request: SearchRequest) -> None:
        """Looks on one host, and reports a hundred at a time."""
        found = islice(
            _look(self.context.resolve_source(request.path or "."), request), request.max_found or _MAX_FOUND
        )
        while batch := await asyncio.to_thread(lambda: list(islice(found, _BATCH))):
            await self.report_to_parent(SearchResponse(host=self.context.host, found=batch))


def _pattern(request: SearchRequest) -> re.Pattern[str]:
    try:
        return re.compile(request.text, re.IGNORECASE if request.ignore_case else 0)
    except re.error as error:
        raise InvalidArgumentError(
            "HANDLER_FAILED", f"{request.text!r} is no pattern: {error}", field="text"
        ) from error


def _look(root: Path, request: SearchRequest) -> Iterator[Found]:
    """What is found in a file or folder, files in the order of their names. Links are not followed."""
    pattern = _pattern(request)
    for path in filter(lambda path: fnmatchcase(path.name, request.name or "*"), _files(root)):
        try:
            size_bytes = path.stat().st_size
        except OSError:  # it was deleted since it was listed, or may not be looked at any more
            continue
        shown = os.fsencode(path).decode(errors="replace")  # a name may be any bytes
        if not request.text:
            yield Found(path=shown, size_bytes=size_bytes)
            continue
        for number, line in _lines(path):
            if pattern.search(line):
                yield Found(path=shown, size_bytes=size_bytes, line_number=number, line=line[:_MAX_LINE_CHARS])


def _files(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
    for folder, folders, names in os.walk(root):
        folders.sort()
        yield from filter(_is_file, (Path(folder, name) for name in sorted(names)))


def _is_file(path: Path) -> bool:
    """Whether it is a regular file, and no link; one that nobody may look at is none."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text; none of a file that is none, or that cannot be read."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(_MAX_LINE_BYTES), b""), 1):
                if b"\0" in line:
                    return
                yield number, line.decode(errors="replace").rstrip("\r\n")
    except OSError:
        return
