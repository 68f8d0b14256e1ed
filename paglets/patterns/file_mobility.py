"""Paglets that carry a file to another host: the parts of a transfer, and the task that is made of them.

A file travels as a registered file of the paglet. Paths are text until a host has resolved them below its file roots.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import anyio
import typing_extensions

from paglet.v1.file_transfer_pb2 import FileTransferRequest, FileTransferResult
from paglets.artifacts.kept import is_kept
from paglets.artifacts.placement import unwritable_told
from paglets.core.events import ArrivalTarget, CloneEvent, MobilityEvent
from paglets.digest import Digest
from paglets.errors import AlreadyExistsError, InvalidArgumentError, PagletError, PreconditionError, Resource
from paglets.offloop import off_loop
from paglets.patterns.file_plan import (
    FileTransferArrival,
    FileTransferPlan,
    FileTransferSource,
    FileTransferState,
    format_bytes,
    planned_destination,
    transfer_result,
)
from paglets.patterns.notifications import NotificationMixin, NotificationSeverity
from paglets.patterns.task_bodies import has_a_say
from paglets.patterns.tasks import TaskPaglet
from paglets.values import PagletFileRef, PagletProxyRef, TaskPhase, check_id, new_id
from paglets.wire.files import file_mode_from_message

__all__ = ["FileMobilityMixin", "SingleFileTransferPaglet"]

FileStateT = typing_extensions.TypeVar("FileStateT", bound=FileTransferState, default=FileTransferState)


class FileMobilityMixin(NotificationMixin[FileStateT]):
    """The parts of a file transfer, for a task whose state derives from `FileTransferState`.

    `registered_file_name` is what the file is called while it travels, `notification_title` what notes begin with.
    """

    registered_file_name: ClassVar[str] = "file"
    notification_title: ClassVar[str] = "File transfer"

    # At the source.

    def require_transfer_target(self, request: FileTransferRequest) -> str:
        """The name of the host to go to. Raises MALFORMED_REQUEST when there is none, INVALID_ID for a bad one."""
        target = request.target_host.strip()
        if not target:
            raise InvalidArgumentError("MALFORMED_REQUEST", "target_host is required", field="target_host")
        return check_id(target, "target_host")

    async def stat_transfer_source(self, source_path: str) -> FileTransferSource:
        """Looks at the file to bring, through links. Raises SOURCE_NOT_A_FILE, PATH_OUTSIDE_ROOTS."""
        path = anyio.Path(self.context.resolve_source(source_path))
        if not await path.is_file():
            raise InvalidArgumentError(
                "SOURCE_NOT_A_FILE",
                f"source is not a file: {path}",
                resource=Resource("file", str(path)),
                metadata={"path": str(path)},
                field="source_path",
            )
        found = await path.stat()
        return FileTransferSource(
            path=Path(path),
            size_bytes=found.st_size,
            created_ns=found.st_ctime_ns,
            modified_ns=found.st_mtime_ns,
        )

    async def prepare_file_transfer(self, request: FileTransferRequest) -> FileTransferPlan:
        """Makes the plan of a transfer and remembers it; the target is not asked. Raises as the two above."""
        target = self.require_transfer_target(request)
        plan = FileTransferPlan(
            transfer_id=request.transfer_id or f"file-transfer-{new_id()}",
            mode=file_mode_from_message(request.mode, "mode"),
            dry_run=request.dry_run,
            overwrite=request.overwrite,
            source=await self.stat_transfer_source(request.source_path),
            source_host=self.context.host,
            target_host=target,
            destination_path=request.destination_path,
            destination_label=request.destination_label,
        )
        await self.remember_transfer_request(plan)
        return plan

    async def remember_transfer_request(self, plan: FileTransferPlan) -> None:
        """Writes a plan into the state."""
        async with self.turn() as state:
            state.remember_plan(plan)

    async def check_transfer_target(self, request: FileTransferRequest) -> None:
        """Asks the target whether it would take the file of a dry run; nothing is registered, moved or written.

        For the background. A clone asks to come, as the paglet itself would, and ends where it arrives. Raises
        HOST_NOT_FOUND, HOST_UNREACHABLE, TYPE_NOT_ALLOWED, what `check_arrival` raises, and WAIT_IN_TURN in a turn.
        """
        await self.unregister_file(self.registered_file_name)  # of an earlier transfer: it would go along
        await self.make_clone(self.state.destination_host, parameters=request)

    async def register_transfer_file(self, plan: FileTransferPlan) -> PagletFileRef:
        """Registers the planned file to travel along. Raises SOURCE_NOT_A_FILE, PATH_OUTSIDE_ROOTS, FILE_CHANGED."""
        file = await self.register_file(str(plan.source.path), self.registered_file_name, plan.mode)
        async with self.turn() as state:
            state.remember_file(file)
        return file

    async def mark_waiting_for_arrival(self) -> None:
        """Says that the task goes on at the planned target, unless it was cancelled meanwhile."""
        async with self.turn() as state:
            if has_a_say(state):
                state.wait_for_arrival(state.destination_host)

    async def on_dispatching(self, event: MobilityEvent) -> None:
        """The file goes along only while the transfer waits for its arrival; any other move leaves it alone."""
        await super().on_dispatching(event)
        if self.state.phase is not TaskPhase.WAITING_FOR_ARRIVAL:
            await self.unregister_file(self.registered_file_name)

    # At the target.

    async def on_clone(self, event: CloneEvent) -> None:
        """A clone that came to look whether the file would be taken has done so."""
        await super().on_clone(event)
        if event.parameters is not None and event.parameters.Is(FileTransferRequest.DESCRIPTOR):
            self.dispose()

    @classmethod
    def check_arrival(cls, state: FileStateT, target: ArrivalTarget) -> None:
        """Refuses a file that could not be saved there, before anything moves.

        Raises DESTINATION_EXISTS unless a file may be overwritten, PATH_OUTSIDE_ROOTS, DESTINATION_UNWRITABLE for what
        can be no path there, and ARRIVAL_REFUSED at any host but the one that the file is for.
        """
        super().check_arrival(state, target)
        looks = state.dry_run and state.phase is TaskPhase.RUNNING and target.host == state.destination_host
        if state.phase is not TaskPhase.WAITING_FOR_ARRIVAL and not looks:
            return
        if target.host != state.destination_host:
            raise PreconditionError(
                "ARRIVAL_REFUSED", f"the file {state.file_name} is for host {state.destination_host}, not {target.host}"
            )
        with unwritable_told(Path(state.final_path)):
            destination = target.resolve_destination(state.destination_path, state.file_name)
            in_the_way = destination.is_dir() or (destination.exists() and not state.overwrite)
        if in_the_way:
            raise AlreadyExistsError(
                "DESTINATION_EXISTS",
                f"destination already exists: {destination}",
                resource=Resource("file", str(destination)),
            )

    def current_transfer_arrival(self) -> FileTransferArrival | None:
        """The file that waits to be saved; None for a task that does not wait, so that its later moves do nothing."""
        state = self.state
        if state.phase is not TaskPhase.WAITING_FOR_ARRIVAL:
            return None
        return FileTransferArrival(
            destination_path=state.destination_path,
            source_name=state.file_name,
            overwrite=state.overwrite,
            digest=Digest(state.digest, state.size_bytes),
        )

    async def save_arrived_file(self, arrival: FileTransferArrival, *, attempt: int) -> Path:
        """Writes the file to its destination in one step; says where that is.

        An earlier attempt may have written it before a crash: from the second on, a destination that has the right
        bytes is a success. Raises DESTINATION_EXISTS for any other, PATH_OUTSIDE_ROOTS, DESTINATION_UNWRITABLE,
        DISK_FULL.
        """
        destination = self.resolve_destination_path(arrival.destination_path, arrival.source_name)
        try:
            await self.context.save_file(self.registered_file_name, destination, overwrite=arrival.overwrite)
        except AlreadyExistsError:
            if attempt == 1 or not await off_loop(is_kept, destination, arrival.digest):
                raise
        return destination

    async def remember_transfer_arrival(self, path: Path) -> None:
        """Writes into the state where the file is now."""
        async with self.turn() as state:
            state.remember_arrival(self.context.host, path)

    # At both ends.

    def plan_destination_path(self, destination: str, source_name: str) -> str:
        """Where a file is to go, as text; nobody is asked."""
        return planned_destination(destination, source_name)

    def resolve_destination_path(self, destination: str, source_name: str) -> Path:
        """Where a file is to go on this host; inside, if that is an existing folder. Raises PATH_OUTSIDE_ROOTS."""
        with unwritable_told(Path(planned_destination(destination, source_name))):
            return self.context.resolve_destination(destination, source_name)

    def build_transfer_result(self) -> FileTransferResult:
        """What the transfer has done, or would do."""
        return transfer_result(self.state)

    async def notify_transfer_info(self, title: str, message: str) -> bool:
        """Gives a note about the transfer; as `notify_user_info`."""
        return await self._notify_transfer(NotificationSeverity.INFO, title, message)

    async def notify_transfer_error(self, title: str, message: str) -> bool:
        """Gives a note about what went wrong with the transfer; as `notify_user_info`."""
        return await self._notify_transfer(NotificationSeverity.ERROR, title, message)

    async def _notify_transfer(self, severity: NotificationSeverity, title: str, message: str) -> bool:
        title = f"{self.notification_title} {title}"
        return await self.notify_user_info(severity, title, message, job_id=self.state.transfer_id)


class SingleFileTransferPaglet(
    FileMobilityMixin[FileTransferState], TaskPaglet[FileTransferRequest, FileTransferResult, FileTransferState]
):
    """Brings one file to another host: started where the file is, it goes along and ends there.

    With `dry_run` it only tells what it would do; with `check_target`, too, after it has asked the target. A
    destination that exists is refused before anything moves, the source of a move is deleted after the file was saved,
    and any failure leaves the source where it is.
    """

    async def run_task(self, request: FileTransferRequest) -> PagletProxyRef | None:
        """Plans the transfer, then asks for the move; the rest happens in `on_arrival`."""
        plan = await self.prepare_file_transfer(request)
        source = f"{plan.source.path} ({format_bytes(plan.source.size_bytes)})"
        await self.notify_transfer_info("found file", source)
        if plan.dry_run:
            if request.check_target:
                await self.check_transfer_target(request)
            await self.complete_task(self.build_transfer_result())
            await self.notify_transfer_info("dry run", f"Would {plan.mode} {source} to {self.state.destination_text}")
            return None
        await self.register_transfer_file(plan)
        await self.mark_waiting_for_arrival()
        await self.notify_transfer_info("dispatching", f"{source} to {self.state.destination_text}")
        return self.dispatch(plan.target_host)

    async def on_arrival(self, event: MobilityEvent) -> None:
        """Saves the file; a failure fails the arrival, and with it the task."""
        await super().on_arrival(event)
        arrival = self.current_transfer_arrival()
        if arrival is None:
            return
        path = await self.save_arrived_file(arrival, attempt=event.attempt)
        await self.remember_transfer_arrival(path)
        await self.complete_task(self.build_transfer_result())
        await self.notify_transfer_info("saved file", f"{path} ({format_bytes(arrival.digest.size_bytes)})")

    async def on_dispatch_aborted(self, error: PagletError) -> None:
        """The file could not be brought to the target; it is where it was."""
        was_under_way = self.state.under_way
        await super().on_dispatch_aborted(error)
        await self._note_failure(was_under_way=was_under_way)

    async def on_arrival_failed(self, error: PagletError) -> None:
        """The file could not be saved at the target; the source is where it was."""
        was_under_way = self.state.under_way
        await super().on_arrival_failed(error)
        await self._note_failure(was_under_way=was_under_way)

    async def _note_failure(self, *, was_under_way: bool) -> None:
        if was_under_way and self.state.phase is TaskPhase.FAILED:
            await self.notify_transfer_error("failed", self.state.error)
