"""A paglet that goes where a file is, takes it, and brings it home, or wherever it is wanted.

`paglets host serve --allow paglets.examples.file_grabber --file-root FOLDER` on every host; then a `TaskClient` starts
one, or `paglets task start`, with a `GrabRequest`.
`paglets.patterns.file_mobility.SingleFileTransferPaglet` has the shorter way of it: from where it is to another host.
"""

from __future__ import annotations

from dataclasses import dataclass

from paglet.examples.file_grabber.v1.file_grabber_pb2 import GrabRequest
from paglet.v1.file_transfer_pb2 import FileTransferRequest, FileTransferResult
from paglets.core.events import ArrivalTarget, MobilityEvent
from paglets.patterns.file_mobility import FileMobilityMixin
from paglets.patterns.file_plan import FileTransferState
from paglets.patterns.tasks import TaskPaglet
from paglets.values import PagletProxyRef

__all__ = ["FileGrabber", "GrabberState"]


@dataclass(kw_only=True)
class GrabberState(FileTransferState):
    """What a transfer keeps, and: where the grabber came from, and whether it is on its way to the file."""

    home: str = ""
    going_out: bool = False


class FileGrabber(FileMobilityMixin[GrabberState], TaskPaglet[GrabRequest, FileTransferResult, GrabberState]):
    """Grabs a file."""

    registered_file_name = "grabbed-file"
    notification_title = "File grabber"

    async def run_task(self, request: GrabRequest) -> PagletProxyRef:
        """Goes to the file, or, where it is here, takes it and goes to where it is wanted."""
        away = request.source_host not in {"", self.context.host}
        async with self.turn() as state:
            state.home, state.going_out = self.context.host, away
        return self.dispatch(request.source_host) if away else await self._take(request)

    async def on_arrival(self, event: MobilityEvent) -> None:
        """At the source it takes the file and goes on; at the target it saves the file and has done."""
        await super().on_arrival(event)
        if self.state.going_out:
            self.state.going_out = False
            await self._take(self._asked())
        elif (arrival := self.current_transfer_arrival()) is not None:
            path = await self.save_arrived_file(arrival, attempt=event.attempt)
            await self.remember_transfer_arrival(path)
            await self.complete_task(self.build_transfer_result())
            await self.notify_transfer_info("saved file", str(path))

    @classmethod
    def check_arrival(cls, state: GrabberState, target: ArrivalTarget) -> None:
        """On its way out it carries nothing that could be refused."""
        if not state.going_out:
            super().check_arrival(state, target)

    async def _take(self, request: GrabRequest) -> PagletProxyRef:
        """Registers the file, to travel along, and asks for the way to the target."""
        plan = await self.prepare_file_transfer(
            FileTransferRequest(
                source_path=request.source_path,
                destination_path=request.destination_path,
                target_host=request.target_host or self.state.home,
                mode=request.mode,
                overwrite=request.overwrite,
            )
        )
        await self.notify_transfer_info("found file", str(plan.source.path))
        await self.register_transfer_file(plan)
        await self.mark_waiting_for_arrival()
        return self.dispatch(plan.target_host)

    def _asked(self) -> GrabRequest:
        """What the task was started with."""
        packed = self.state.request
        return GrabRequest() if packed is None else GrabRequest.FromString(packed.value)
