"""The class that authors derive from: a dataclass state, hooks, and one method per rpc of the services it names."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, suppress
from typing import Any, ClassVar, Generic, TypeVar, get_args

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message

from paglets.core.context import Context
from paglets.core.declared import require_answered, require_tuples, reserved_names, state_argument
from paglets.core.handlers import Handler, bind_handlers
from paglets.core.hooks import Hooks
from paglets.core.own_files import OwnFiles
from paglets.core.resources import Resources
from paglets.core.services import Advertisement, Services
from paglets.core.timers import Timer
from paglets.core.turn import StateCell, current_turn
from paglets.errors import NotFoundError
from paglets.state import StateCodec, Upcaster
from paglets.values import (
    DeactivationPolicy,
    Durability,
    HostRef,
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


class PatternService(Generic[PagletT]):
    """A service that a pattern brings along: one method per rpc, beside the paglet's own methods."""

    Service: ClassVar[ServiceDescriptor]

    def __init__(self, paglet: PagletT) -> None:
        self.paglet = paglet


class Paglet(Hooks[StateT], OwnFiles):
    """A stateful object that lives on a host, answers calls and moves with its state and files.

    Give the state class as `class Counter(Paglet[CounterState])`: a dataclass, the only thing that moves and persists;
    other attributes are transient. `Services` names the protobuf services it answers, one method per rpc in snake_case,
    `def` (run in a thread) or `async def`. Each call without the option NO_SIDE_EFFECTS is a turn: it changes
    `self.state` and is committed durably before the reply leaves, or raises and leaves the state as it was. A reply
    without fields need not be returned: None is one.

    An rpc with a stream is answered by `async def`, with `AsyncIterator` for each stream: an async generator where
    replies are one. It runs beside the turns, reads the durable state, changes it in `async with self.turn() as state:`
    only, and is cancelled when its caller leaves, or the paglet does; its caller then opens another one.

    `state_version` is to be raised when the state class changes its shape; `upcasters[v]` then turns the fields of
    version v into those of v + 1, and has to do so for good: states rest on disks, and come from hosts of older code.
    What a host cannot read it refuses, or keeps as it is until it is started with a class that can.

    `Advertises` names those of its services that others find by looking for them, as long as the paglet lives. It is
    said anew, with the class's own tags, wherever a host takes the paglet up, so that a newer class is heard: a paglet
    that has tags of its own advertises the service itself, once and for good, and leaves it out here.

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

    resources: Resources
    """What it has open there, and what closes it before it leaves or rests."""

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        require_tuples(cls, ("Services", "Patterns", "Advertises"))
        state_class = state_argument(cls, Paglet)
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

    # What a paglet asks of its host.

    def turn(self) -> AbstractAsyncContextManager[StateT]:
        """`async with self.turn() as state:` is a short queued turn for background code, durable on exit.

        Inside a turn it is that turn's own state. `state_locked` makes one of a whole method. Background code that is
        cancelled because the paglet leaves or rests gets none any more, but another CancelledError.
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

        It is asked at once, after every change of the state, and when somebody notifies, and must only look: all who
        wait are shown the same copy of the state. In a thread of the background
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

        `ticket` is what the move asks for beside that. Raises at once INVALID_ID for a malformed name, and
        MALFORMED_REQUEST for a ticket out of bounds; a move that fails later calls `on_dispatch_aborted`.
        """
        self.context.request_dispatch(check_id(target, "target"), ticket)
        return self.ref

    def clone(self, target: str = "", *, ticket: TransferTicket | None = None) -> PagletProxyRef:
        """Asks for a clone on the host named `target`, begun when this turn or task body has ended and is committed.

        By default it is made on this host. Gives a reference to the clone, which is not there yet. One turn asks for
        one thing: the last one if it asks again. Clones that several turns, or a body, ask for are all made, but a host
        that is killed, and a move that overtakes them, know of the last request alone. Raises at once as `dispatch`; a
        clone that fails later calls `on_dispatch_aborted`.
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

    @property
    def services(self) -> Services:
        """The services of the mesh: to find those of others, and to advertise this paglet's own."""
        return self.context.services

    def blocking(self, work: Coroutine[Any, Any, T] | Callable[[], Awaitable[T]]) -> T:
        """`self.blocking(self.upload_artifact(path))` in a `def` handler: any of these coroutines, waited for.

        What begins when it is called, as the call of a stub does, is begun on the event loop: give a function that
        does, `self.blocking(lambda: self.stub(ref, CounterServiceStub).Get(GetRequest()))`.

        In a turn it is part of the turn. It cannot be interrupted: a move waits for it. Raises WAIT_IN_TURN in a
        coroutine, where `await` does the same.
        """
        return self.context.blocking(work)

    async def available_hosts(self, *, online_only: bool = True, include_self: bool = True) -> Sequence[HostRef]:
        """The hosts of the mesh, in the order of their names."""
        return await self.context.available_hosts(online_only=online_only, include_self=include_self)
