"""The class that authors derive from: a dataclass state, hooks, and one method per rpc of the services it names."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, suppress
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, get_args

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message

from paglet.v1 import artifact_pb2
from paglets.artifacts.store import ArtifactWrite
from paglets.core import artifacts
from paglets.core.context import Context
from paglets.core.declared import require_answered, reserved_names, state_argument
from paglets.core.events import (
    ActivationEvent,
    ArrivalTarget,
    CloneEvent,
    CreationEvent,
    DeactivationEvent,
    DeactivationRequest,
    DisposalEvent,
    MobilityEvent,
)
from paglets.core.handlers import Handler, bind_handlers
from paglets.core.raw_call import RawCall
from paglets.core.resources import Resources
from paglets.core.sending import SENT_TTL_S, sent_write
from paglets.core.services import Advertisement, Services
from paglets.core.sources import checked_mode, safe_name
from paglets.core.storage import Storage
from paglets.core.timers import Timer
from paglets.core.turn import StateCell, current_turn
from paglets.errors import NotFoundError, PagletError, Resource
from paglets.state import StateCodec, Upcaster
from paglets.values import (
    ArtifactRef,
    DeactivationPolicy,
    Durability,
    FileMode,
    HostRef,
    PagletFileRef,
    PagletProxyRef,
    TransferTicket,
    check_id,
    new_id,
)
from paglets.wire.stubs import StubMaker

__all__ = ["Paglet", "PatternService"]

T = TypeVar("T")
StateT = TypeVar("StateT")
StubT = TypeVar("StubT")
PagletT = TypeVar("PagletT")

_NOTHING_MORE = ArtifactWrite()


class PatternService(Generic[PagletT]):
    """A service that a pattern brings along: one method per rpc, beside the paglet's own methods."""

    Service: ClassVar[ServiceDescriptor]

    def __init__(self, paglet: PagletT) -> None:
        self.paglet = paglet


class Paglet(Generic[StateT]):
    """A stateful object that lives on a host, answers calls and moves with its state and files.

    Give the state class as `class Counter(Paglet[CounterState])`: a dataclass, the only thing that moves and persists;
    other attributes are transient. `Services` names the protobuf services it answers, one method per rpc in snake_case,
    `def` (run in a thread) or `async def`. Each call without the option NO_SIDE_EFFECTS is a turn: it changes
    `self.state` and is committed durably before the reply leaves, or raises and leaves the state as it was.

    An rpc with a stream is answered by `async def`, with `AsyncIterator` for each stream: an async generator where
    replies are one. It runs beside the turns, reads the durable state, changes it in `async with self.turn() as state:`
    only, and is cancelled when its caller leaves, or the paglet does; its caller then opens another one.

    `state_version` is to be raised when the state class changes its shape; `upcasters[v]` then turns the fields of
    version v into those of v + 1, and has to do so for good: states rest on disks, and come from hosts of older code.
    What a host cannot read it refuses, or keeps as it is until it is started with a class that can.

    `Advertises` names those of its services that others find by looking for them, as long as the paglet lives.

    `durability` says what that promises when a host is killed. With "turn" every acknowledged turn is there after the
    restart. With "lifecycle" turns count at once and cost no wait for the disk: the state is saved at creation, before
    a move, a rest or the host's regular end, by `checkpoint()`, and by a turn that asks for one of these. A killed host
    falls back to the last save, and with the state it forgets the outcomes of all requests since, whoever was told of
    them: a request that comes again runs again, on the state as it is. A replayed reply is in the state, always.
    `on_activation` with the reason "restart" tells the paglet that its host was started again, and `paglet-epoch`, in
    the trailing metadata of every reply, has grown then: who sees it grow may find less than he was told. Such a state
    may be larger than 1 MiB, up to the host's `max_saved_state_bytes`; every turn takes the time to encode all of it.
    """

    State: ClassVar[type[Any]]
    state_version: ClassVar[int] = 1
    durability: ClassVar[Durability] = "turn"
    upcasters: ClassVar[Mapping[int, Upcaster]] = {}
    Services: ClassVar[tuple[ServiceDescriptor, ...]] = ()
    Patterns: ClassVar[tuple[type[PatternService[Any]], ...]] = ()
    Advertises: ClassVar[tuple[Advertisement, ...]] = ()
    codec: ClassVar[StateCodec[Any]]
    handlers: ClassVar[Mapping[str, Handler]] = {}

    context: Context
    """The host it is on; set before any hook runs."""
    resources: Resources
    """What it has open there, and what closes it before it leaves or rests."""

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        state_class = state_argument(cls)
        if state_class is not None:
            cls.State = state_class
        if "State" in cls.__dict__ or "state_version" in cls.__dict__ or "upcasters" in cls.__dict__:
            cls.codec = StateCodec(cls.State, cls.state_version, cls.upcasters)
        if cls.durability not in get_args(Durability):
            raise TypeError(f"{cls.__qualname__}.durability is {cls.durability!r}, not one of {get_args(Durability)}")
        if inspect.iscoroutinefunction(cls.check_arrival):
            raise TypeError(f"{cls.__qualname__}.check_arrival is a coroutine function; it has to be a plain one")
        cls.Patterns = tuple(dict.fromkeys(found for base in cls.__mro__ for found in vars(base).get("Patterns", ())))
        bound = bind_handlers(cls, cls.Services, reserved=reserved_names(cls))
        for index, pattern in enumerate(cls.Patterns):
            brought = bind_handlers(pattern, (pattern.Service,), index)
            if brought.keys() & bound.keys():
                service = pattern.Service.full_name
                raise TypeError(f"{cls.__qualname__} names {service}, which {pattern.__qualname__} answers already")
            bound.update(brought)
        cls.handlers = bound
        require_answered(cls, cls.Advertises, bound)

    def __init__(self, context: Context, cell: StateCell[StateT]) -> None:
        self.context = context
        self.resources = Resources(context.paglet_id)
        self._cell = cell
        self.pattern_services = tuple(pattern(self) for pattern in self.Patterns)

    @classmethod
    def type_name(cls) -> str:
        """The name of the type in the mesh: `module.Class`."""
        return f"{cls.__module__}.{cls.__qualname__}"

    @property
    def paglet_id(self) -> str:
        """The paglet's id, which never changes."""
        return self.context.paglet_id

    @property
    def ref(self) -> PagletProxyRef:
        """A reference to this paglet that never goes stale."""
        return PagletProxyRef(self.paglet_id)

    @property
    def state(self) -> StateT:
        """In a turn: the state to read and change. Elsewhere: the durable state, to read; changes to it are dropped."""
        turn = current_turn()
        if turn is not None and turn.cell is self._cell:
            own: StateT = turn.state
            return own
        return self._cell.read()

    # Hooks. Each is a turn; `def` or `async def`.

    async def on_creation(self, event: CreationEvent) -> None:
        """The paglet begins to exist; an exception, or not to end in the host's quiesce time, refuses the creation."""

    async def on_dispatching(self, event: MobilityEvent) -> None:
        """The last turn before a move; an exception gives the move up."""

    async def on_dispatch_aborted(self, error: PagletError) -> None:
        """The first turn after a move, a rest, or a clone of its own wish, was given up: the paglet is where it was.

        Its resources may be closed and its bodies gone, but for `run()`, which begins anew. It comes once more for a
        body that did not end in time and ends only later.
        """

    async def on_arrival(self, event: MobilityEvent) -> None:
        """The first turn at the new host; it may run again after a crash. An exception marks the paglet FAILED."""

    async def on_arrival_failed(self, error: PagletError) -> None:
        """The turn after an arrival turn that failed and was rolled back."""

    async def on_cloning(self, event: CloneEvent) -> None:
        """A turn of the original, whose state as it leaves it is what the clone has; an exception refuses the clone."""

    async def on_clone(self, event: CloneEvent) -> None:
        """The first turn of a clone; it may run again after a crash. An exception marks the clone FAILED."""

    async def on_cloned(self, event: CloneEvent) -> None:
        """A turn of the original when its clone is there; not if its host was restarted, or it has left, meanwhile."""

    async def on_deactivating(self, event: DeactivationEvent) -> None:
        """The last turn before a rest, or before the host ends; an exception refuses a rest that was asked for."""

    async def on_activation(self, event: ActivationEvent) -> None:
        """The first turn after a rest, or after the host was started again; an exception keeps the paglet at rest."""

    async def on_disposing(self, event: DisposalEvent) -> None:
        """The last turn of all; an exception is logged and does not keep the paglet alive."""

    async def run(self) -> None:
        """Work beside the turns, begun after creation, arrival and activation; cancelled when the paglet leaves."""

    def deactivation_policy(self, request: DeactivationRequest) -> DeactivationPolicy:
        """Asked before a rest what is to bring the paglet back: by default what was asked for, else the defaults."""
        return request.policy or DeactivationPolicy()

    def handle_operation_message(self, call: RawCall) -> Awaitable[bytes | None] | bytes | None:
        """Answers a unary call of an operation that none of the class's services has; `def` or `async def`.

        For a bridge to services that it has no descriptors of. A class that overrides this gets each such call, and
        each such post, as a turn, and returns the encoded reply; after None or `NotImplemented` the call fails with
        OPERATION_NOT_FOUND, and the turn is as if it had not been. A request id holds for the bytes as they came: the
        same message in another encoding is another request.
        """
        return None

    @classmethod
    def check_arrival(cls, state: StateT, target: ArrivalTarget) -> None:
        """Asked by the target before anything moves, in a thread: raise a PagletError to refuse.

        Pure; `state` is a copy.
        """

    # What a paglet asks of its host.

    def turn(self) -> AbstractAsyncContextManager[StateT]:
        """`async with self.turn() as state:` is a short queued turn for background code, durable on exit.

        Inside a turn it is that turn's own state. `state_locked` makes one of a whole method.
        """
        return self.context.turn()

    def locked_state(self) -> AbstractContextManager[StateT]:
        """`with self.locked_state() as state:` is `turn` for code in a worker thread."""
        return self.context.locked_state()

    async def checkpoint(self) -> None:
        """Saves a paglet whose durability is "lifecycle"; of one whose turns are durable anyway it changes nothing.

        In the background it returns when all turns that have ended are durable, with the outcomes of their requests. In
        a turn it returns at once, and the turn is durable, with all before it, before its reply leaves.
        """
        await self.context.checkpoint()

    async def wait_state(self, predicate: Callable[[StateT], bool], timeout_s: float | None = None) -> bool:
        """Waits until the durable state satisfies `predicate`; at the timeout (seconds, None for ever) its last value.

        It is asked at once, after every change of the state, and when somebody notifies. In a thread of the background
        `self.blocking(self.wait_state(...))` waits, until the paglet leaves. Raises WAIT_IN_TURN inside a turn, which
        nobody could wake.
        """
        return await self.context.wait_state(predicate, timeout_s)

    def notify_state_changed(self) -> None:
        """Lets the one of `wait_state` look again that has waited longest, e.g. for what is not in the state.

        A change of the state wakes all of them by itself. In a turn it is done when that is durable, elsewhere at once.
        """
        self.context.notify(everybody=False)

    def notify_all_state_changed(self) -> None:
        """As `notify_state_changed`, for all that wait."""
        self.context.notify(everybody=True)

    def start_background(self, body: Callable[[], Awaitable[None]]) -> None:
        """Runs `body`, a coroutine function, beside the turns, once this turn is durable or this body has ended well.

        It is cancelled and awaited when the paglet leaves, rests or ends, like `run()`, but not begun anew.
        """
        self.context.start_background(body)

    def call_later(self, delay_s: float, body: Callable[[], Awaitable[None]]) -> Timer:
        """Runs `body` beside the turns in `delay_s` seconds, counted from when `start_background` would begin it.

        It is gone with the paglet's stay: what is to be done at a certain time belongs in the state.
        """
        timer = Timer(self.context, body, delay_s, again=False)
        timer.start()
        return timer

    def call_every(self, period_s: float, body: Callable[[], Awaitable[None]]) -> Timer:
        """As `call_later`, again and again, each time `period_s` seconds after the last call has ended well.

        An exception ends it, and is in the log. Begun in `run()`, which may return then, it is there on every host.
        """
        timer = Timer(self.context, body, period_s, again=True)
        timer.start()
        return timer

    def post(self, paglet: str | PagletProxyRef, operation: str, request: Message) -> None:
        """Leaves an operation, `pkg.Service/Method`, with a paglet, also this one, and does not wait for it.

        It is kept with the turn that makes it, and sent when that is durable, until it is acknowledged: once, in the
        order of this paglet's posts to that one, wherever the two are by then. What is refused for good is a dead
        letter of this paglet. Only turns post; background code does so in `async with self.turn()`. Raises NOT_IN_TURN,
        INVALID_ID, POSTS_FULL, MALFORMED_REQUEST for a request over 1 MiB.
        """
        self.context.post(paglet if isinstance(paglet, str) else paglet.paglet_id, operation, request)

    def stub(self, paglet: str | PagletProxyRef, make: StubMaker[StubT]) -> StubT:
        """A generated stub bound to a paglet: `await self.stub(ref, CounterServiceStub).Add(AddRequest(amount=1))`.

        As `PagletProxy.stub`, by way of this host. What a turn calls leaves at once, not with its commit; if the turn
        has a request id and is run again, its calls are not: their ids follow from it, and their order. A call that
        would wait for this very turn is refused. Raises INVALID_ID; calls raise PagletErrors.
        """
        return self.context.stub(check_id(paglet if isinstance(paglet, str) else paglet.paglet_id, "paglet_id"), make)

    def dispatch(self, target: str, *, ticket: TransferTicket | None = None) -> PagletProxyRef:
        """Asks for a move to the host named `target`, begun when this turn or task body has ended and is committed.

        `ticket` is what the move asks for beside that. Raises INVALID_ID at once for a malformed name; a move that
        fails later calls `on_dispatch_aborted`.
        """
        self.context.request_dispatch(check_id(target, "target"), ticket)
        return self.ref

    def clone(self, target: str = "", *, ticket: TransferTicket | None = None) -> PagletProxyRef:
        """Asks for a clone on the host named `target`, begun when this turn or task body has ended and is committed.

        By default it is made on this host. Gives a reference to the clone, which is not there yet. One turn asks for
        one thing: the last one if it asks again. Raises INVALID_ID at once for a malformed name; a clone that fails
        later calls `on_dispatch_aborted`.
        """
        return PagletProxyRef(self.context.request_clone(target and check_id(target, "target"), ticket))

    async def make_clone(
        self,
        target: str = "",
        *,
        parameters: Message | None = None,
        ticket: TransferTicket | None = None,
        request_id: str = "",
    ) -> PagletProxyRef:
        """Makes a clone now on the host named `target`, by default this one, and waits until it is there.

        For the background: the clone is copied between two turns. `parameters`, any message of at most 64 KiB, are told
        to its `on_clone` alone: what it is for. `ticket` bounds the time. Raises WAIT_IN_TURN in a turn, where `clone`
        asks for one, HOST_NOT_FOUND, HOST_UNREACHABLE, ARRIVAL_FAILED for a clone that is there and FAILED, and why
        there is none. With a `request_id` it is safe to repeat, and the clone's id is known before it is there:
        `clone_id(paglet_id, request_id)`; without one each call makes another clone.
        """
        target, request_id = target and check_id(target, "target"), request_id or new_id()
        return PagletProxyRef(await self.context.make_clone(target, parameters, ticket, request_id))

    async def dispose_of(self, paglet: str | PagletProxyRef) -> None:
        """Ends another paglet for good, wherever it is; one that is gone already is none of its worries.

        Raises INVALID_ID, UNAVAILABLE when its host is away, DEADLINE_EXCEEDED. Safe to repeat.
        """
        paglet_id = check_id(paglet if isinstance(paglet, str) else paglet.paglet_id, "paglet_id")
        with suppress(NotFoundError):
            await self.context.dispose_of(paglet_id)

    def deactivate(self, policy: DeactivationPolicy | None = None) -> PagletProxyRef:
        """Asks for a rest on the host's disk, begun when this turn or task body has ended and is committed.

        `policy` says what brings the paglet back; without one `deactivation_policy` does. A rest that fails later calls
        `on_dispatch_aborted`.
        """
        self.context.request_deactivate(policy)
        return self.ref

    def dispose(self) -> None:
        """Asks for the paglet's end, begun when this turn or task body has ended and is committed."""
        self.context.request_dispose()

    async def register_file(self, path: str, name: str = "", mode: FileMode = FileMode.COPY) -> PagletFileRef:
        """Registers a file of this host to travel along, under a logical name (default: its own name).

        The digest is made now, and the registration is kept at once, also when the turn is rolled back. Registering a
        name again replaces it, so it is safe to repeat. Raises SOURCE_NOT_A_FILE, PATH_OUTSIDE_ROOTS, FILE_CHANGED
        (while it was read), and MALFORMED_REQUEST for a name of no or over 255 bytes or an unknown mode.
        """
        source = self.context.resolve_source(path)
        return await self.context.register_file(source, (name or source.name).strip(), checked_mode(mode))

    async def unregister_file(self, name: str) -> None:
        """Forgets a registration; the file itself stays. Safe to repeat."""
        await self.context.unregister_file(name)

    def registered_files(self) -> Sequence[PagletFileRef]:
        """The registered files, in the order of their names."""
        return self.context.registered_files()

    def file_path(self, name: str | PagletFileRef) -> Path:
        """Where a registered file's bytes are on this host: to read, never to write, until it is registered no more.

        What came along is a read-only file of the host's store, under a name of the store's; `save_file` makes a copy
        that is the paglet's own. Nobody looks whether a file that was registered here is there still. Raises
        FILE_NOT_FOUND.
        """
        wanted = name if isinstance(name, str) else name.name
        for found in self.registered_files():
            if found.name == wanted:
                return found.path
        raise NotFoundError(
            "FILE_NOT_FOUND",
            f"paglet {self.paglet_id} has no registered file {wanted!r}",
            resource=Resource("file", wanted),
        )

    async def save_file(self, name: str | PagletFileRef, destination: str = "", *, overwrite: bool = False) -> Path:
        """Writes a private copy of a file that came along, verified and durable, in one step; says where it is.

        `destination` is below the file roots, inside if that is a folder, by default named after the file. Safe to
        repeat with `overwrite`. Raises FILE_NOT_FOUND, DESTINATION_EXISTS, PATH_OUTSIDE_ROOTS, DESTINATION_UNWRITABLE.
        """
        wanted = name if isinstance(name, str) else name.name
        path = self.context.resolve_destination(destination, safe_name(wanted))
        await self.context.save_file(wanted, path, overwrite=overwrite)
        return path

    async def upload_artifact(
        self,
        path: str,
        *,
        host: str = "",
        owner: str | None = None,
        name: str = "",
        ttl_s: float | None = None,
        more: ArtifactWrite = _NOTHING_MORE,
    ) -> ArtifactRef:
        """Stores a file below the file roots as an artifact of a host of the mesh, by default of this one.

        It is this paglet's unless `owner` says whose, named after the file, and stays until it is deleted, or for
        `ttl_s` seconds. `more` is what else is known of it; its `upload_id` makes the upload safe to repeat, e.g. in a
        turn that may run again: the same artifact is returned then. It stays if the turn is rolled back.

        Raises SOURCE_NOT_A_FILE, PATH_OUTSIDE_ROOTS, HOST_NOT_FOUND, HOST_UNREACHABLE, and as the store does.
        """
        write = dataclasses.replace(
            more,
            owner=self.paglet_id if owner is None else owner,
            name=name or more.name,
            ttl_s=more.ttl_s if ttl_s is None else ttl_s,
        )
        return await artifacts.upload(self.context, path, write, host)

    async def download_artifact(
        self, artifact: artifacts.AnyArtifact, target: str, *, move: bool = False, overwrite: bool = False
    ) -> Path:
        """Writes an artifact of any host of the mesh to a file below the file roots; says where that is.

        `target` is as in `save_file`, and so is the file: verified, durable, under its name in one step. With `move`
        the artifact is deleted thereafter; if that fails, the error is raised and the file stays. Safe to repeat with
        `overwrite`, unless it was moved. Raises DESTINATION_EXISTS, PATH_OUTSIDE_ROOTS, DESTINATION_UNWRITABLE,
        ARTIFACT_NOT_FOUND, HOST_NOT_FOUND, HOST_UNREACHABLE, STORED_BLOB_CORRUPT.
        """
        return await artifacts.download(self.context, artifact, target, move=move, overwrite=overwrite)

    async def take_artifact(self, artifact: artifacts.AnyArtifact) -> ArtifactRef:
        """Makes an artifact that came with a call this paglet's own: it does not expire any more.

        It is taken at once, not when the turn is committed: a state never names what has expired, but if the turn is
        rolled back and the sender does not hear of it, the artifact stays until the paglet's end. It stays where it is,
        also when that is another host. Safe to repeat. Raises ARTIFACT_NOT_FOUND, also for one that has expired or has
        other bytes by now, MALFORMED_REQUEST, HOST_NOT_FOUND, HOST_UNREACHABLE.
        """
        return await artifacts.take(self.context, artifact)

    async def delete_artifact(self, artifact: artifacts.AnyArtifact) -> bool:
        """Deletes an artifact of any host of the mesh, at once; says whether it was there. Safe to repeat.

        Raises HOST_NOT_FOUND, HOST_UNREACHABLE.
        """
        return await artifacts.delete(self.context, artifact)

    def send_artifact(
        self, paglet_id: str, path: str, *, name: str = "", move: bool = False, ttl_s: float = SENT_TTL_S
    ) -> AbstractAsyncContextManager[artifact_pb2.Artifact]:
        """`async with self.send_artifact(paglet_id, path) as artifact:` is a file for one call of another paglet.

        It is stored on that paglet's host, as its own, before the block begins; make the call inside, with `artifact`
        in its request. Its receiver keeps it by `take_artifact`, else it expires after `ttl_s` seconds. An error of the
        call after which nothing can have changed deletes it; UNAVAILABLE, a deadline and a broken connection do not,
        nor does an error of another kind. With `move` the file is deleted after the call, if it is unchanged,
        whether the artifact was taken or not. Each block is a new artifact. Raises as `upload_artifact`, and
        PAGLET_NOT_FOUND.
        """
        return artifacts.send(self.context, path, sent_write(paglet_id, name, ttl_s), move=move)

    @property
    def services(self) -> Services:
        """The services of the mesh: to find those of others, and to advertise this paglet's own."""
        return self.context.services

    @property
    def storage(self) -> Storage:
        """Small files that all paglets of this class on this host share, within a quota; they stay here for good."""
        return self.context.storage

    async def work_folder(self) -> Path:
        """This paglet's private folder on this host, made when first asked for: it may do there what it likes.

        It stays over rests and restarts, and goes when the paglet leaves or ends; nothing of it travels that is not a
        registered file. `register_file` and the others that take paths take absolute ones of it, too.
        """
        return await self.context.work_folder()

    def blocking(self, work: Coroutine[Any, Any, T]) -> T:
        """`self.blocking(self.upload_artifact(path))` in a `def` handler: any of these coroutines, waited for.

        In a turn it is part of the turn. It cannot be interrupted: a move waits for it. Raises WAIT_IN_TURN in a
        coroutine, where `await` does the same.
        """
        return self.context.blocking(work)

    async def available_hosts(self, *, online_only: bool = True, include_self: bool = True) -> Sequence[HostRef]:
        """The hosts of the mesh, in the order of their names."""
        return await self.context.available_hosts(online_only=online_only, include_self=include_self)
