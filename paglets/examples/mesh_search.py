"""A search of the files of many hosts at once: a clone looks on each of them, and its parent tells what comes.

`paglets host serve --allow paglets.examples.mesh_search --file-root FOLDER` on every host, then `paglets search`.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path

from google.protobuf.any_pb2 import Any as AnyMessage

from paglet.examples.mesh_search.v1.mesh_search_pb2 import DESCRIPTOR, Found, SearchRequest, SearchResponse
from paglets.core.context import Context
from paglets.core.turn import StateCell
from paglets.errors import InvalidArgumentError, PreconditionError
from paglets.patterns.fanout import MeshFanoutMixin
from paglets.patterns.fanout_state import MeshFanoutState
from paglets.patterns.operations import OperationPaglet

__all__ = ["MeshSearch", "SearchState"]

_TIMEOUT_S = 30.0
_MAX_FOUND = 1000
_BATCH = 100
_MAX_LINE_BYTES = 1 << 20
_MAX_LINE_CHARS = 1000


@dataclass(kw_only=True)
class SearchState(MeshFanoutState):
    """The book of a fan-out is all that a search keeps."""


class MeshSearch(MeshFanoutMixin[SearchState], OperationPaglet[SearchState]):
    """Looks for files, or for lines in them."""

    Services = (DESCRIPTOR.services_by_name["MeshSearchService"],)

    def __init__(self, context: Context, cell: StateCell[SearchState]) -> None:
        super().__init__(context, cell)
        self._heard: asyncio.Queue[SearchResponse | None] | None = None

    async def search(self, request: SearchRequest) -> AsyncIterator[SearchResponse]:
        """Tells what comes, as it comes, and at last who failed."""
        _pattern(request)
        if self._heard is not None:
            raise PreconditionError("HANDLER_FAILED", f"paglet {self.paglet_id} is searching; ask another one")
        heard = self._heard = asyncio.Queue()
        looking = asyncio.create_task(self._look_everywhere(request))
        looking.add_done_callback(lambda _: heard.put_nowait(None))
        try:
            while (response := await heard.get()) is not None:
                yield response
            await looking
            for host, error in self.state.errors.items():
                yield SearchResponse(host=host, error=error)
        finally:
            looking.cancel()
            await asyncio.wait([looking])
            self._heard = None

    async def _look_everywhere(self, request: SearchRequest) -> None:
        timeout_s = request.timeout.ToTimedelta().total_seconds() or _TIMEOUT_S
        await self.fan_out(request, hosts=request.hosts, timeout_s=timeout_s)

    async def on_child_result(self, host: str, result: AnyMessage) -> None:
        """Passes on what a host has found; nobody hears it when the search was left meanwhile."""
        response = SearchResponse()
        if self._heard is not None and result.Unpack(response):
            self._heard.put_nowait(response)

    async def run_child(self, request: AnyMessage) -> None:
        """Looks on one host, and reports a hundred at a time."""
        wanted = SearchRequest()
        request.Unpack(wanted)
        found = islice(_look(self.context.resolve_source(wanted.path or "."), wanted), wanted.max_found or _MAX_FOUND)
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
        size_bytes = path.stat().st_size
        if not request.text:
            yield Found(path=str(path), size_bytes=size_bytes)
            continue
        for number, line in _lines(path):
            if pattern.search(line):
                yield Found(path=str(path), size_bytes=size_bytes, line_number=number, line=line[:_MAX_LINE_CHARS])


def _files(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
    for folder, folders, names in os.walk(root):
        folders.sort()
        paths = (Path(folder, name) for name in sorted(names))
        yield from (path for path in paths if path.is_file() and not path.is_symlink())


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
