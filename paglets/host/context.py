"""The promises of `core.context.Context`, kept by a host for one paglet."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from paglets.artifacts.store import ArtifactStore
from paglets.client.operations import OperationClient
from paglets.core.call import OperationCall, current_call
from paglets.core.cause import OutgoingPost
from paglets.core.cursor_events import CursorEvent
from paglets.core.services import Services
from paglets.core.storage import Storage
from paglets.core.turn import OwnAction, OwnRequest, Turn, current_turn, next_request_id
from paglets.errors import InvalidArgumentError, NotFoundError, PreconditionError, Resource
from paglets.host.activities import Activities
from paglets.host.event_log import EventLog
from paglets.host.files import FileRoots, RegisteredFile, register
from paglets.host.gate import not_found
from paglets.host.outbox import Outbox
from paglets.host.paglet_services import PagletServices
from paglets.host.parts import HostParts
from paglets.host.post_records import MAX_POST_BYTES
from paglets.host.sections import Sections
from paglets.host.stores import artifact_store
from paglets.operations import ServiceOperation
from paglets.values import (
    DeactivationPolicy,
    FileMode,
    HostRef,
    PagletFileRef,
    PagletState,
    TransferTicket,
    check_id,
    clone_id,
    new_id,
)
from paglets.wire.stubs import StubMaker
from paglets.wire.ticket import checked_ticket

__all__ = ["HostContext"]

T = TypeVar("T")
StubT = TypeVar("StubT")
ReplyT = TypeVar("ReplyT", bound=Message)


class HostContext:
    """The host, as one resident paglet sees it. `files` are its registrations, shared with its resident."""

    def __init__(
        self,
        parts: HostParts,
        paglet_id: str,
        type_name: str,
        sections: Sections,
        activities: Activities,
        files: dict[str, RegisteredFile],
        outbox: Outbox,
        events: EventLog,
    ) -> None:
        self._parts = parts
        self._paglet_id = paglet_id
        self._type_name = type_name
        self._sections = sections
        self._activities = activities
        self._files = files
        self._outbox = outbox
        self._events = events

    @property
    def paglet_id(self) -> str:
        """The paglet's own id."""
        return self._paglet_id

    @property
    def host(self) -> str:
        """The name of the host."""
        return self._parts.name

    @property
    def address(self) -> str:
        """Where the host listens."""
        return self._parts.address

    @property
    def artifacts(self) -> ArtifactStore:
        """The host's artifact store."""
        return self._parts.store

    @property
    def storage(self) -> Storage:
        """What the paglets of this class keep together."""
        return self._parts.storages.of(self._type_name)

    @property
    def call(self) -> OperationCall:
        """The call that the running code answers."""
        found = current_call()
        if found is None:
            raise PreconditionError(
                "NOT_IN_CALL",
                f"what paglet {self._paglet_id} does here answers no call",
                resource=Resource("paglet", self._paglet_id),
            )
        return found

    @property
    def services(self) -> Services:
        """The services of the mesh, as this paglet sees them."""
        return PagletServices(self._parts, self._paglet_id, self._parts.registry.get(self._type_name), self._sections)

    async def work_folder(self) -> Path:
        """The paglet's private folder."""
        return await self._parts.work.make(self._paglet_id)

    def artifact_store(self, host: str) -> AbstractAsyncContextManager[ArtifactStore]:
        """The artifact store of a host of the mesh."""
        return artifact_store(self._parts, host)

    async def paglet_host(self, paglet_id: str) -> str:
        """The host that a paglet is on."""
        row = await self._parts.directory.get(check_id(paglet_id, "paglet_id"))
        if row is None or row.state is PagletState.DISPOSED:
            raise not_found(paglet_id)
        return row.owner

    def blocking(self, work: Coroutine[Any, Any, T] | Callable[[], Awaitable[T]]) -> T:
        """Runs a coroutine, or what a function gives, on the loop for a worker thread."""
        return self._sections.blocking(work)

    def turn(self) -> AbstractAsyncContextManager[Any]:
        """A queued turn."""
        return self._sections.section()

    async def checkpoint(self) -> None:
        """Makes the state durable."""
        await self._sections.checkpoint()

    def locked_state(self) -> AbstractContextManager[Any]:
        """A queued turn for a worker thread."""
        return self._sections.locked_state()

    async def wait_state(self, predicate: Callable[[Any], bool], timeout_s: float | None) -> bool:
        """Waits for a change of the durable state."""
        return await self._sections.wait(predicate, timeout_s)

    def notify(self, *, everybody: bool) -> None:
        """Lets those who wait look again."""
        self._sections.notify(everybody=everybody)

    def start_background(self, body: Callable[[], Awaitable[None]]) -> None:
        """Runs `body` beside the turns, once the running turn is durable."""
        self._activities.start_background(body)

    def request_dispatch(self, target: str, ticket: TransferTicket | None = None) -> None:
        """Moves the paglet when the running turn or body has ended well."""
        checked = ticket and checked_ticket(ticket)
        self._activities.request(OwnRequest(OwnAction.DISPATCH, target, ticket=checked))

    def request_clone(self, target: str, ticket: TransferTicket | None = None) -> str:
        """Clones the paglet when the running turn or body has ended well."""
        request_id = new_id()
        checked = ticket and checked_ticket(ticket)
        self._activities.request(OwnRequest(OwnAction.CLONE, target, ticket=checked, request_id=request_id))
        return clone_id(self.paglet_id, request_id)

    def stub(self, paglet_id: str, make: StubMaker[StubT]) -> StubT:
        """A stub by way of this host, which finds the paglet."""
        return self._parts.peers.client(self._parts.address).proxy(paglet_id).stub(make)

    async def ask(
        self,
        paglet_id: str,
        operation: ServiceOperation,
        request: Message,
        reply_type: type[ReplyT],
        *,
        timeout_s: float,
    ) -> ReplyT:
        """A call by way of this host."""
        proxy = self._parts.peers.client(self._parts.address).proxy(paglet_id)
        return await OperationClient(proxy).call(operation, request, reply_type, timeout_s=timeout_s)

    async def make_clone(
        self, target: str, parameters: Message | None, ticket: TransferTicket | None, request_id: str
    ) -> str:
        """Makes a clone now, as anybody else would have it made."""
        if self._sections.own_turn() is not None:
            raise PreconditionError(
                "WAIT_IN_TURN",
                f"paglet {self._paglet_id} cannot be copied in a turn that waits for the copy: use `self.clone()`, or"
                " make the clone in the background",
                resource=Resource("paglet", self._paglet_id),
            )
        client = self._parts.peers.client(self._parts.address)
        made = await client.clone(self._paglet_id, target, parameters=parameters, ticket=ticket, request_id=request_id)
        return made.paglet_id

    async def dispose_of(self, paglet_id: str) -> None:
        """Ends another paglet, as anybody else would."""
        await self._parts.peers.client(self._parts.address).dispose(paglet_id)

    def request_deactivate(self, policy: DeactivationPolicy | None) -> None:
        """Lets the paglet rest when the running turn or body has ended well."""
        self._activities.request(OwnRequest(OwnAction.DEACTIVATE, policy=policy))

    def request_dispose(self) -> None:
        """Ends the paglet when the running turn or body has ended well."""
        self._activities.request(OwnRequest(OwnAction.DISPOSE))

    def post(self, paglet_id: str, operation: str, request: Message) -> None:
        """Leaves an operation with another paglet when the running turn is durable."""
        turn = self._require_turn("posts", "a post")
        if not _is_text(operation):
            raise InvalidArgumentError("MALFORMED_REQUEST", f"{operation!r} names no operation", field="operation")
        packed = AnyMessage()
        packed.Pack(request)
        if len(packed.value) > MAX_POST_BYTES:
            raise InvalidArgumentError(
                "MALFORMED_REQUEST",
                f"a post has at most {MAX_POST_BYTES} bytes; send more as an artifact",
                field="request",
            )
        self._outbox.require_room(turn.posts, len(packed.value))
        turn.posts.put(
            OutgoingPost(
                number=self._outbox.number(),
                request_id=next_request_id(),
                paglet_id=check_id(paglet_id, "paglet_id"),
                operation=operation,
                type_url=packed.type_url,
                request=packed.value,
                create_ms=time.time_ns() // 1_000_000,
            )
        )

    def _require_turn(self, does: str, what: str) -> Turn[Any]:
        turn = self._sections.own_turn()
        if turn is None:
            raise PreconditionError(
                "NOT_IN_TURN",
                f"paglet {self._paglet_id} {does} outside of a turn, with which {what} is kept: use"
                " `async with self.turn()`",
                resource=Resource("paglet", self._paglet_id),
            )
        return turn

    def append_events(self, messages: Sequence[Message]) -> int:
        """Says something to the paglet's readers when the running turn is durable."""
        return self._events.append(self._require_turn("appends events", "an event").events, messages)

    @property
    def last_event(self) -> int:
        """How far the durable events go."""
        return self._events.last

    async def read_events(self, after: int, limit: int) -> Sequence[CursorEvent]:
        """Reads durable events."""
        return await self._events.page(after, limit)

    async def wait_events(self, after: int, timeout_s: float | None) -> bool:
        """Waits for a durable event."""
        if self._sections.own_turn() is not None:
            raise PreconditionError(
                "WAIT_IN_TURN",
                f"paglet {self._paglet_id} cannot wait for its own events in a turn: wait in the background",
                resource=Resource("paglet", self._paglet_id),
            )
        return await self._events.until_after(after, timeout_s)

    async def register_file(self, path: Path, name: str, mode: FileMode) -> PagletFileRef:
        """Reads a file once and keeps its registration durably."""
        found = await register(path, name, mode, self.host)
        replaced = self._files.get(name)
        # In memory first: once begun the write is made, also when the caller gives up waiting for it.
        self._files[name] = found
        await self._parts.journal.put_file(self.paglet_id, found)
        await self._let_go(replaced)
        return found.ref

    async def unregister_file(self, name: str) -> None:
        """Forgets a registration."""
        dropped = self._files.pop(name, None)
        if dropped is not None:
            await self._parts.journal.drop_file(self.paglet_id, name)
            await self._let_go(dropped)

    async def _let_go(self, file: RegisteredFile | None) -> None:
        """Frees the bytes of a file that came along and is registered no more; a file of the host's user stays.

        In a turn when that is durable: an arrival that a crash cuts begins again, and wants its files.
        """
        if file is None or not file.artifact_id:
            return

        async def free() -> None:
            await self._parts.store.delete(file.artifact_id)

        if current_turn() is None:
            await free()
        else:
            self._activities.start_background(free)

    def registered_files(self) -> Sequence[PagletFileRef]:
        """The registrations, in the order of their names."""
        return tuple(file.ref for _, file in sorted(self._files.items()))

    async def save_file(self, name: str, destination: Path, *, overwrite: bool) -> None:
        """Writes a verified, durable copy of a delivered file."""
        found = self._files.get(name)
        if found is None or not found.artifact_id:
            raise NotFoundError(
                "FILE_NOT_FOUND",
                f"no file {name!r} was delivered to paglet {self.paglet_id} on host {self.host}",
                resource=Resource("file", name),
            )
        await self._parts.store.export_to_path(found.artifact_id, destination, overwrite=overwrite)

    def resolve_source(self, path: str) -> Path:
        """A file to read, below the file roots or in the work folder."""
        return self._roots_of(path).source(path)

    def resolve_destination(self, destination: str, source_name: str) -> Path:
        """A file to write, below the file roots or in the work folder."""
        return self._roots_of(destination).destination(destination, source_name)

    def _roots_of(self, path: str) -> FileRoots:
        own = self._parts.work.where(self._paglet_id)
        return FileRoots((own,)) if Path(path).is_relative_to(own) else self._parts.roots

    async def available_hosts(self, *, online_only: bool = True, include_self: bool = True) -> Sequence[HostRef]:
        """The hosts of the mesh."""
        found = await self._parts.peers.hosts()
        return [host for host in found if (host.online or not online_only) and (include_self or host.name != self.host)]

    async def host_status(self, name: str) -> HostRef | None:
        """One host of the mesh."""
        return next((host for host in await self._parts.peers.hosts() if host.name == name), None)


def _is_text(name: object) -> bool:
    """Whether the journal can keep a name that an author gives, and read it again."""
    try:
        return isinstance(name, str) and bool(name.encode())
    except UnicodeEncodeError:
        return False
