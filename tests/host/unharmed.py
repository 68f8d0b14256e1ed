"""Whether a refused journey left everything as it was."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from paglet.v1 import lifecycle_pb2, lifecycle_pb2_grpc
from paglets.artifacts.store import ArtifactPage
from paglets.directory.contract import PagletRow
from tests.artifacts.support import is_empty
from tests.host.conftest import Mesh, Site
from tests.host.support import ask, eventually

__all__ = [
    "CONTENT",
    "ILLEGAL",
    "Case",
    "assert_nothing_left",
    "assert_unharmed",
    "dispatch",
    "nothing",
    "probe_with_file",
    "row_of",
]

CONTENT = b"0123456789" * 400
ILLEGAL = grpc.StatusCode.FAILED_PRECONDITION


@dataclass(frozen=True)
class Case:
    """One way to be refused: what is done first, and what the caller is told.

    `intended` says that the refusal came after the intent was written, so that the epoch must have grown.
    """

    prepare: Callable[[Mesh, Path], Awaitable[object]]
    code: grpc.StatusCode
    reason: str
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    target: str = "beta"
    intended: bool = True
    told: bool = True


async def nothing(_mesh: Mesh, _path: Path) -> None:
    """The hosts are as they are."""


async def probe_with_file(mesh: Mesh, mode: str = "copy") -> Path:
    """A probe with one line and one file; gives the file's path."""
    path = mesh.alpha.files / "source.bin"
    path.write_bytes(CONTENT)
    await mesh.probe()
    await ask(mesh.alpha.channel, "probe", "Append", "a")
    await ask(mesh.alpha.channel, "probe", "Ask", f"{mode} {path}")
    return path


async def dispatch(at: Site, paglet_id: str, target: str, request_id: str = "") -> None:
    """Moves a paglet by the generated stub."""
    stub = lifecycle_pb2_grpc.LifecycleServiceStub(at.channel)
    request = lifecycle_pb2.DispatchPagletRequest(paglet_id=paglet_id, target=target, request_id=request_id)
    await stub.DispatchPaglet(request, timeout=20)


async def row_of(mesh: Mesh) -> PagletRow:
    """The probe's row in the directory."""
    row = await mesh.alpha.host.parts.directory.get("probe")
    assert row is not None
    return row


async def assert_unharmed(mesh: Mesh, folder: Path, before: PagletRow, case: Case, lines: str = "a") -> None:
    """State, files, directory, journals and both stores are as before; the paglet was told, and answers on."""
    told = f"aborted {case.code.name} {case.reason}" if case.told else ""
    expected = " ".join(filter(None, (lines, told)))
    assert (await ask(mesh.alpha.channel, "probe", "Read")).text == expected
    assert (await ask(mesh.alpha.channel, "probe", "Append", "next")).text == f"{expected} next"
    assert (await ask(mesh.beta.channel, "probe", "Read")).text == f"{expected} next"
    await assert_nothing_left(mesh, folder, before, grown=int(case.intended))


async def assert_nothing_left(mesh: Mesh, folder: Path, before: PagletRow, *, grown: int) -> None:
    """The row is as before but for its epoch, and neither host keeps anything of the journey."""
    after = await row_of(mesh)
    assert (after.owner, after.state, after.intent, after.epoch) == ("alpha", "active", None, before.epoch + grown)
    assert await mesh.alpha.host.parts.journal.departures() == []
    assert mesh.alpha.host.journey("probe") is None
    await eventually(lambda: _target_is_empty(mesh.beta, folder), what="an empty target")
    assert await mesh.beta.host.parts.journal.paglet("probe") is None


async def _target_is_empty(beta: Site, folder: Path) -> bool:
    page: ArtifactPage = await beta.host.parts.store.list()
    arrivals = await beta.host.parts.journal.arrivals()
    return not page.refs and not arrivals and is_empty(folder / "beta" / "artifacts")
