"""What a file transfer is to do and has done: values, texts and messages. Pure: it never looks at a file or a host."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from google.protobuf.timestamp_pb2 import Timestamp

from paglet.v1 import file_transfer_pb2
from paglets.digest import Digest
from paglets.patterns.task_state import TaskState
from paglets.values import FileMode, PagletFileRef
from paglets.wire.files import file_mode_to_message

__all__ = [
    "FileTransferArrival",
    "FileTransferPlan",
    "FileTransferSource",
    "FileTransferState",
    "format_bytes",
    "planned_destination",
    "transfer_result",
]

_UNITS = ("KB", "MB", "GB", "TB")
_NANOS = 1_000_000_000


def format_bytes(size_bytes: int) -> str:
    """A size for people, in steps of 1024: `0 B`, `1.0 KB`; terabytes are the largest unit, a negative size is none."""
    if size_bytes < 1024:
        return f"{max(0, size_bytes)} B"
    power = 1
    while power < len(_UNITS) and round(size_bytes / 1024**power, 1) >= 1024:
        power += 1
    return f"{size_bytes / 1024**power:.1f} {_UNITS[power - 1]}"


def planned_destination(destination: str, source_name: str) -> str:
    """Where a file is to go, as text: the host at the other end has the last word on what it means there.

    Empty or `.` is the source's name; a trailing separator puts the file inside.
    """
    text = destination.strip()
    if text in {"", "."}:
        return source_name
    return text + source_name if text.endswith(("/", "\\")) else text


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTransferSource:
    """The file to bring; times are nanoseconds since the epoch."""

    path: Path
    size_bytes: int
    created_ns: int
    modified_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTransferPlan:
    """What is to be done. `destination_path` is as requested, `final_path` the text that follows from it."""

    transfer_id: str
    mode: FileMode
    dry_run: bool
    overwrite: bool
    source: FileTransferSource
    source_host: str
    target_host: str
    destination_path: str
    destination_label: str

    @property
    def final_path(self) -> str:
        """The destination as planned."""
        return planned_destination(self.destination_path, self.source.path.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTransferArrival:
    """A file that has come along and waits to be saved."""

    destination_path: str
    source_name: str
    overwrite: bool
    digest: Digest


@dataclass
class FileTransferState(TaskState):
    """A task that brings one file; times of the source are nanoseconds since the epoch."""

    transfer_id: str = ""
    mode: FileMode = FileMode.COPY
    dry_run: bool = False
    overwrite: bool = False
    source_host: str = ""
    source_path: str = ""
    source_created_ns: int = 0
    source_modified_ns: int = 0
    file_name: str = ""
    size_bytes: int = 0
    digest: bytes = b""
    destination_host: str = ""
    destination_label: str = ""
    destination_path: str = ""
    final_path: str = ""

    @property
    def destination_text(self) -> str:
        """The destination as notes call it."""
        return f"{self.destination_label or self.destination_host}:{self.final_path}"

    def remember_plan(self, plan: FileTransferPlan) -> None:
        """Takes a plan over; nothing of an earlier transfer remains."""
        self.transfer_id, self.mode = plan.transfer_id, plan.mode
        self.dry_run, self.overwrite = plan.dry_run, plan.overwrite
        self.source_host, self.source_path = plan.source_host, str(plan.source.path)
        self.source_created_ns, self.source_modified_ns = plan.source.created_ns, plan.source.modified_ns
        self.file_name, self.size_bytes, self.digest = plan.source.path.name, plan.source.size_bytes, b""
        self.destination_host, self.destination_label = plan.target_host, plan.destination_label
        self.destination_path, self.final_path = plan.destination_path, plan.final_path

    def remember_file(self, file: PagletFileRef) -> None:
        """Takes over what the file was when it was registered: that is what will arrive."""
        self.digest, self.size_bytes = file.digest.value, file.digest.size_bytes
        self.source_created_ns, self.source_modified_ns = file.created_ns, file.modified_ns

    def remember_arrival(self, host: str, path: Path) -> None:
        """Takes over where the file is now."""
        self.destination_host, self.final_path = host, str(path)


def transfer_result(state: FileTransferState) -> file_transfer_pb2.FileTransferResult:
    """What the transfer has done, or would do, as a message."""
    return file_transfer_pb2.FileTransferResult(
        transfer_id=state.transfer_id,
        mode=file_mode_to_message(state.mode),
        dry_run=state.dry_run,
        source=file_transfer_pb2.FileTransferEndpoint(
            host=state.source_host,
            path=state.source_path,
            create_time=_timestamp(state.source_created_ns),
            modify_time=_timestamp(state.source_modified_ns),
        ),
        destination=file_transfer_pb2.FileTransferEndpoint(host=state.destination_host, path=state.final_path),
        file_name=state.file_name,
        size_bytes=state.size_bytes,
        size=format_bytes(state.size_bytes),
    )


def _timestamp(nanos: int) -> Timestamp:
    seconds, rest = divmod(nanos, _NANOS)
    return Timestamp(seconds=seconds, nanos=rest)
