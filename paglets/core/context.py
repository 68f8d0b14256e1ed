"""All that a paglet may ask of the host it is on. A host keeps these promises; so does a fake one in unit tests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from google.protobuf.message import Message

from paglets.artifacts.store import ArtifactStore
from paglets.core.call import OperationCall
from paglets.core.cursor_events import CursorEvent
from paglets.core.services import Services
from paglets.core.storage import Storage
from paglets.operations import ServiceOperation
from paglets.values import DeactivationPolicy, FileMode, HostRef, PagletFileRef, TransferTicket
from paglets.wire.stubs import StubMaker

__all__ = ["Context"]

T = TypeVar("T")
StubT = TypeVar("StubT")
ReplyT = TypeVar("ReplyT", bound=Message)


class Context(Protocol):
    """The host, as one paglet sees it. Valid until the paglet leaves the host."""

    @property
    def paglet_id(self) -> str:
        """The paglet's own id."""
        ...

    @property
    def host(self) -> str:
        """The name of the host the paglet is on."""
        ...

    @property
    def address(self) -> str:
        """Where that host listens."""
        ...

    @property
    def artifacts(self) -> ArtifactStore:
        """The host's artifact store."""
        ...

    @property
    def storage(self) -> Storage:
        """What the paglets of this class keep together on this host."""
        ...

    @property
    def call(self) -> OperationCall:
        """The call that the running code answers: its metadata and deadline, and what it is told beside the reply.

        Raises NOT_IN_CALL in hooks, posts and the paglet's own background.
        """
        ...

    @property
    def services(self) -> Services:
        """The services of the mesh, and those of this paglet among them."""
        ...

    async def work_folder(self) -> Path:
        """The paglet's private folder on this host, made if it is not there."""
        ...

    def artifact_store(self, host: str) -> AbstractAsyncContextManager[ArtifactStore]:
        """The artifact store of a host of the mesh, for use inside the block; without a name this host's.

        Raises HOST_NOT_FOUND, and HOST_UNREACHABLE for whatever keeps it from answering, inside the block too.
        """
        ...

    async def paglet_host(self, paglet_id: str) -> str:
        """The name of the host that a paglet is on now; it may be elsewhere a moment later. Raises PAGLET_NOT_FOUND."""
        ...

    def blocking(self, work: Coroutine[Any, Any, T] | Callable[[], Awaitable[T]]) -> T:
        """Runs a coroutine, or what a function gives, on the host's event loop for a worker thread that waits for it.

        Raises WAIT_IN_TURN on the event loop.
        """
        ...

    def turn(self) -> AbstractAsyncContextManager[Any]:
        """A queued turn: yields the state to change; durable on exit, rolled back by an exception."""
        ...

    async def checkpoint(self) -> None:
        """Makes the state durable as it is now; in a turn, the turn is when it has ended."""
        ...

    def locked_state(self) -> AbstractContextManager[Any]:
        """As `turn`, for code in a worker thread. Raises WAIT_IN_TURN on the event loop."""
        ...

    async def wait_state(self, predicate: Callable[[Any], bool], timeout_s: float | None) -> bool:
        """Waits until the durable state satisfies `predicate`; False at the timeout. Raises WAIT_IN_TURN in a turn."""
        ...

    def notify(self, *, everybody: bool) -> None:
        """Lets those who wait look again, or the one who waited longest; in a turn when that is durable."""
        ...

    def start_background(self, body: Callable[[], Awaitable[None]]) -> None:
        """Runs `body` beside the turns, once the running turn has been committed.

        It is cancelled when the paglet leaves, and awaited.
        """
        ...

    def request_dispatch(self, target: str, ticket: TransferTicket | None = None) -> None:
        """Moves the paglet when the running turn or background body has ended and been committed."""
        ...

    def request_clone(self, target: str, ticket: TransferTicket | None = None) -> str:
        """Clones the paglet when the running turn or background body has ended and been committed; the clone's id."""
        ...

    def stub(self, paglet_id: str, make: StubMaker[StubT]) -> StubT:
        """A generated stub bound to a paglet, wherever that is."""
        ...

    async def ask(
        self,
        paglet_id: str,
        operation: ServiceOperation,
        request: Message,
        reply_type: type[ReplyT],
        *,
        timeout_s: float,
    ) -> ReplyT:
        """Calls a unary operation of another paglet, for those who must know no stub. Raises as the operation does."""
        ...

    async def make_clone(
        self, target: str, parameters: Message | None, ticket: TransferTicket | None, request_id: str
    ) -> str:
        """Makes a clone of the paglet now, and gives its id when it is there: `clone_id(paglet_id, request_id)`.

        Raises WAIT_IN_TURN, and why there is none.
        """
        ...

    async def dispose_of(self, paglet_id: str) -> None:
        """Ends another paglet, wherever it is. Raises PAGLET_NOT_FOUND, and UNAVAILABLE when its host is away."""
        ...

    def request_deactivate(self, policy: DeactivationPolicy | None) -> None:
        """Lets the paglet rest when the running turn or background body has ended and been committed."""
        ...

    def request_dispose(self) -> None:
        """Ends the paglet when the running turn or background body has ended and been committed."""
        ...

    def post(self, paglet_id: str, operation: str, request: Message) -> None:
        """Leaves an operation with another paglet when the running turn has been committed.

        Raises NOT_IN_TURN, INVALID_ID, POSTS_FULL, MALFORMED_REQUEST for a request over 1 MiB.
        """
        ...

    def append_events(self, messages: Sequence[Message]) -> int:
        """Adds events to the paglet's when the running turn has been committed; the cursor of the last one.

        Raises NOT_IN_TURN, MALFORMED_REQUEST for an event over 64 KiB.
        """
        ...

    @property
    def last_event(self) -> int:
        """The cursor of the last event that is durable; 0 for none."""
        ...

    async def read_events(self, after: int, limit: int) -> Sequence[CursorEvent]:
        """The oldest durable events after a cursor, `limit` at most; fewer if they are large, none only at the end.

        Raises CURSOR_EXPIRED when the next one is not kept, MALFORMED_REQUEST for a negative cursor.
        """
        ...

    async def wait_events(self, after: int, timeout_s: float | None) -> bool:
        """Waits until an event after a cursor is durable; False at the timeout. Raises WAIT_IN_TURN in a turn."""
        ...

    async def register_file(self, path: Path, name: str, mode: FileMode) -> PagletFileRef:
        """Registers a file below the host's file roots. Raises SOURCE_NOT_A_FILE, PATH_OUTSIDE_ROOTS."""
        ...

    async def unregister_file(self, name: str) -> None:
        """Forgets a registration; the file stays. Safe to repeat."""
        ...

    def registered_files(self) -> Sequence[PagletFileRef]:
        """The registered files, in the order of their names."""
        ...

    async def save_file(self, name: str, destination: Path, *, overwrite: bool) -> None:
        """Writes a verified, durable copy of a registered file in one step. Raises DESTINATION_EXISTS."""
        ...

    def resolve_source(self, path: str) -> Path:
        """The absolute path of a file to read. Raises PATH_OUTSIDE_ROOTS."""
        ...

    def resolve_destination(self, destination: str, source_name: str) -> Path:
        """The absolute path of a file to write. Raises PATH_OUTSIDE_ROOTS."""
        ...

    async def available_hosts(self, *, online_only: bool = True, include_self: bool = True) -> Sequence[HostRef]:
        """The hosts of the mesh, in the order of their names."""
        ...

    async def host_status(self, name: str) -> HostRef | None:
        """One host of the mesh; None when there is none of this name."""
        ...
