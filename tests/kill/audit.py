"""What the disks and processes of a mesh say, read from outside: nothing here asks a host.

Every function returns problems in words, none when all is well; a mesh at work may have some.
"""

from __future__ import annotations

import math
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec

from paglets.digest import Digest
from paglets.host.files import RegisteredFile
from paglets.host.post_records import StoredPost
from paglets.testing import HostProcess
from tests.kill.ledger import Ledger, LedgerState
from tests.kill.mesh import Mesh

__all__ = ["Row", "blobs", "journal_ids", "mesh_problems", "posts_of", "registered_files", "row_of", "rows", "state_of"]

_MOST_OF_ONE_FILE = 4
_MOST_DESCRIPTORS = 120


@dataclass(frozen=True, slots=True)
class Row:
    """A paglet's row in the directory."""

    owner: str
    state: str
    epoch: int
    transfer_id: str


def rows(path: Path, query: str, *values: object) -> list[tuple[object, ...]]:
    """Reads a SQLite file that a host may have open, or may have left behind when it was killed."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as connection:
        return connection.execute(query, values).fetchall()


def row_of(mesh: Mesh, paglet_id: str) -> Row | None:
    """The directory's row of a paglet."""
    query = "SELECT owner, state, epoch, transfer_id FROM paglets WHERE paglet_id = ?"
    found = rows(mesh.folder / mesh.directory / "directory.db", query, paglet_id)
    if not found:
        return None
    owner, state, epoch, transfer_id = found[0]
    return Row(str(owner), str(state), int(str(epoch)), str(transfer_id))


def journal_ids(host: HostProcess) -> set[str]:
    """The paglets in a host's journal."""
    return {str(paglet_id) for (paglet_id,) in rows(host.data / "journal.db", "SELECT paglet_id FROM paglets")}


def state_of(host: HostProcess, paglet_id: str) -> LedgerState | None:
    """The state of a ledger as a host's journal keeps it."""
    found = rows(host.data / "journal.db", "SELECT state, state_version FROM paglets WHERE paglet_id = ?", paglet_id)
    for state, version in found:
        assert isinstance(state, bytes)
        return Ledger.codec.load(state, int(str(version)))
    return None


def posts_of(host: HostProcess, paglet_id: str) -> list[StoredPost]:
    """The posts of a paglet that a host's journal keeps, in their order."""
    found = rows(host.data / "journal.db", "SELECT post FROM posts WHERE paglet_id = ? ORDER BY number", paglet_id)
    return [msgspec.msgpack.decode(post, type=StoredPost) for (post,) in found if isinstance(post, bytes)]


def blobs(host: HostProcess) -> dict[str, Path]:
    """The blobs on a host's disk by the hexadecimal digest that they are named after."""
    return {path.name.partition(".")[0]: path for path in _files(host.data / "artifacts" / "blobs")}


def mesh_problems(mesh: Mesh, *, posted_before_s: float = math.inf) -> list[str]:
    """Everything that a quiet mesh must not have; what its paglets posted since a time may be on its way."""
    found = [f"{problem} ({host.name})" for host in mesh for problem in _host_problems(host, posted_before_s)]
    directory = mesh.folder / mesh.directory / "directory.db"
    found += [f"journey {key} is in the directory" for (key,) in rows(directory, "SELECT transfer_id FROM journeys")]
    query = "SELECT paglet_id, state FROM paglets WHERE transfer_id <> '' OR state NOT IN ('active', 'disposed')"
    found += [f"paglet {key} is {state}" for key, state in rows(directory, query)]
    owners = {str(key): str(owner) for key, owner in rows(directory, _LIVE)}
    for host in mesh:
        mine = {key for key, owner in owners.items() if owner == host.name}
        found += [f"{key} is in the journal of {host.name} and not its own" for key in journal_ids(host) - mine]
        found += [f"{key} is not in the journal of {host.name}" for key in mine - journal_ids(host)]
    found += [f"a stray file: {path}" for path in _files(mesh.folder) if path.name.endswith((".tmp", ".part"))]
    return found


_LIVE = "SELECT paglet_id, owner FROM paglets WHERE state <> 'disposed'"


def _host_problems(host: HostProcess, posted_before_s: float) -> list[str]:
    """What is left over in one host's journal, store and process."""
    journal = host.data / "journal.db"
    return [*_journal_problems(journal, posted_before_s), *_store_problems(host.data), *_process_problems(host)]


def _journal_problems(journal: Path, posted_before_s: float) -> Iterator[str]:
    for table in ("departures", "arrivals", "dormant"):
        count = len(rows(journal, f"SELECT 1 FROM {table}"))  # noqa: S608 - the names above
        if count:
            yield f"{count} {table} in the journal"
    if count := len(rows(journal, "SELECT 1 FROM outbox WHERE number < ?", posted_before_s * 1e6)):
        yield f"{count} outbox in the journal"
    for table in ("replies", "files", "own_requests", "posts"):
        query = f"SELECT count(*) FROM {table} WHERE paglet_id NOT IN (SELECT paglet_id FROM paglets)"  # noqa: S608 - the names above
        ((count,),) = rows(journal, query)
        if count:
            yield f"{count} {table} of no paglet in the journal"


def _store_problems(data: Path) -> Iterator[str]:
    """Holds the catalogue against the disk and the counters, the registered files and every blob's name."""
    root, ledger = data / "artifacts", data / "artifacts" / "artifacts.db"
    catalogued = rows(ledger, "SELECT digest, generation, size, refs FROM blobs")
    wanted = {f"{_hex(digest)}.{generation}" for digest, generation, _, _ in catalogued}
    on_disk = {path.name: path for path in _files(root / "blobs")}
    if set(on_disk) != wanted:
        yield f"blobs on disk {sorted(on_disk)}, in the catalogue {sorted(wanted)}"
    if any(_files(root / "parts")):
        yield "parts are left"
    artifacts = {str(key) for (key,) in rows(ledger, "SELECT artifact_id FROM artifacts")}
    if sum(int(str(refs)) for _, _, _, refs in catalogued) != len(artifacts):
        yield "references do not add up"
    for what, query in (("tombstones", "SELECT 1 FROM tombstones"), ("unfinished uploads", _UNFINISHED)):
        if count := len(rows(ledger, query)):
            yield f"{count} {what}"
    ((used, reserved),) = rows(ledger, "SELECT used, reserved FROM usage WHERE scope = 'host'")
    taken = sum(_size(path) for path in on_disk.values())
    if (used, reserved) != (taken, 0):
        yield f"{used} bytes are counted and {reserved} reserved, {taken} are on disk"
    registered = {file.artifact_id for file in registered_files(data) if file.artifact_id}
    yield from (f"artifact {key} is registered by no paglet" for key in artifacts - registered)
    yield from (f"the bytes of a registered file are gone: {key}" for key in registered - artifacts)
    yield from (f"{name} has other bytes" for name, path in on_disk.items() if not _is_whole(path))


_UNFINISHED = "SELECT 1 FROM uploads WHERE state <> 'done'"


def registered_files(data: Path, paglet_id: str = "%") -> list[RegisteredFile]:
    """The registrations in a host's journal, of one paglet or all."""
    found = rows(data / "journal.db", "SELECT file FROM files WHERE paglet_id LIKE ? ORDER BY name", paglet_id)
    return [msgspec.msgpack.decode(file, type=RegisteredFile) for (file,) in found if isinstance(file, bytes)]


def _process_problems(host: HostProcess) -> Iterator[str]:
    """Files that are open and should not be; too many descriptors for so few connections."""
    try:
        links = [_link(path) for path in Path(f"/proc/{host.pid}/fd").iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        yield "the process is gone"
        return
    ours = Counter(link for link in links if link.startswith(f"{host.data}/"))
    yield from (f"open though it is deleted: {link}" for link in ours if link.endswith("(deleted)"))
    yield from (f"open though no call is: {link}" for link in ours if not link.endswith(_KEPT_OPEN))
    yield from (f"open {count} times: {link}" for link, count in ours.items() if count > _MOST_OF_ONE_FILE)
    if len(links) > _MOST_DESCRIPTORS:
        yield f"{len(links)} descriptors: {Counter(links)}"


_KEPT_OPEN = (".db", ".db-wal", ".db-shm", "/lock", "(deleted)")


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except FileNotFoundError:  # closed meanwhile
        return ""


def _is_whole(blob: Path) -> bool:
    """Whether a blob has its bytes; one that was unlinked since it was listed is the next look's."""
    try:
        return Digest.of(blob.read_bytes()).hex == blob.name.partition(".")[0]
    except FileNotFoundError:
        return True


def _size(path: Path) -> int:
    """How large a file is; nothing for one that was deleted since it was listed."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _hex(digest: object) -> str:
    return digest.hex() if isinstance(digest, bytes) else ""


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())
