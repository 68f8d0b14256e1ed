"""A home for one paglet in memory: the promises of `Context` kept with the real turns, and nothing of a host.

It commits at once, so what is committed is durable; `restarted` is what a crash would leave of it.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

from anyio import from_thread, to_thread
from google.protobuf.message import Message

from paglets.artifacts.store import ArtifactStore
from paglets.core.call import OperationCall
from paglets.core.cursor_events import CursorEvent
from paglets.core.paglet import Paglet
from paglets.core.services import Services
from paglets.core.storage import Storage
from paglets.core.turn import StateCell, Turn, current_turn
from paglets.core.waits import Waits
from paglets.errors import NotFoundError, PagletError, PreconditionError
from paglets.operations import ServiceOperation
from paglets.values import DeactivationPolicy, FileMode, HostRef, PagletFileRef, TransferTicket, clone_id
from tests.fake_files import confined, copy_in_one_step, describe, destination_below
from tests.fake_services import FakeServices

__all__ = ["FakeHome"]

T = TypeVar("T")
ReplyT = TypeVar("ReplyT", bound=Message)
MAX_STATE_BYTES = 64 * 1024

_outputs: ContextVar[list[Callable[[], None]] | None] = ContextVar("fake_body", default=None)


class FakeHome:
    """One paglet on a host called `host`, whose files are below `root`.

    `departures` are the moves it asked for, in order; `mishaps` what its bodies raised. `store` is the one store there
    is, whichever host is asked for.
    """

    def __init__(
        self,
        paglet_class: type[Paglet[Any]],
        *,
        host: str = "alpha",
        paglet_id: str = "p-1",
        root: Path | None = None,
        state: bytes = b"",
        files: Mapping[str, PagletFileRef] | None = None,
        store: ArtifactStore | None = None,
    ) -> None:
        codec = paglet_class.codec
        decoded = codec.check(state) if state else paglet_class.State()
        self.cell: StateCell[Any] = StateCell(codec, decoded, MAX_STATE_BYTES)
        self.host = host
        self.paglet_id = paglet_id
        self.root = root
        self.store = store
        self.files = dict(files or {})
        self.departures: list[str] = []
        self.clones: list[str] = []
        self.posts: list[tuple[str, str, Message]] = []
        self.rests: list[DeactivationPolicy | None] = []
        self.disposals = 0
        self.made: list[tuple[str, Message | None]] = []
        self.ended: list[str] = []
        self.refusals: dict[str, PagletError] = {}
        self.stubs: dict[str, Any] = {}
        self.found_services = FakeServices()
        self.questions: list[tuple[str, str, Message]] = []
        self.mishaps: list[Exception] = []
        self._one_at_a_time = asyncio.Lock()
        self._waits = Waits()
        self._loop = asyncio.get_running_loop()
        self._bodies: set[asyncio.Task[None]] = set()
        self.paglet: Paglet[Any] = paglet_class(self, self.cell)

    # What a test does with it.

    async def answer(self, path: str, request: Message) -> Any:  # noqa: ANN401 - as many kinds of reply as there are rpcs
        """Calls an operation, e.g. "/pkg.Service/Method": beside the turns if it is read-only, otherwise as a turn."""
        handler = self.paglet.handlers[path]
        owner = self.paglet if handler.pattern is None else self.paglet.pattern_services[handler.pattern]
        method = getattr(owner, handler.attribute)
        if handler.operation.is_read_only:
            return await _invoke(method, request)
        async with self.turn():
            return await _invoke(method, request)

    async def answers(self, path: str, request: Message) -> AsyncGenerator[Any]:
        """Calls an operation that is answered by a stream, beside the turns."""
        handler = self.paglet.handlers[path]
        owner = self.paglet if handler.pattern is None else self.paglet.pattern_services[handler.pattern]
        async with aclosing(getattr(owner, handler.attribute)(request)) as replies:
            async for reply in replies:
                yield reply

    async def hook(self, hook: Callable[..., Any], *arguments: object) -> None:
        """Runs a hook as a turn."""
        async with self.turn():
            await _invoke(hook, *arguments)

    async def bodies_ended(self) -> None:
        """Waits until no background body is left."""
        while self._bodies:
            await asyncio.wait(self._bodies)

    async def body_ended(self) -> None:
        """Waits until one of the background bodies has ended."""
        await asyncio.wait(self._bodies, return_when=asyncio.FIRST_COMPLETED)

    async def quiesce(self) -> None:
        """Cancels the bodies and awaits their end, as before a move."""
        for body in self._bodies:
            body.cancel()
        await self.bodies_ended()

    async def restarted(self) -> FakeHome:
        """The same paglet after its host was killed and started again: what was committed, and nothing else."""
        durable = self.cell.latest
        await self.quiesce()
        return FakeHome(
            type(self.paglet),
            host=self.host,
            paglet_id=self.paglet_id,
            root=self.root,
            state=durable,
            files=self.files,
            store=self.store,
        )

    # What `Context` promises.

    @property
    def address(self) -> str:
        """Nobody listens here."""
        return "127.0.0.1:0"

    @property
    def artifacts(self) -> ArtifactStore:
        """The store that the test gave."""
        if self.store is None:
            raise NotImplementedError("this fake home has no artifact store")
        return self.store

    @property
    def call(self) -> OperationCall:
        """There is none."""
        raise NotImplementedError("a fake home answers no calls")

    @property
    def storage(self) -> Storage:
        """There is none."""
        raise NotImplementedError("this fake home has no storage")

    @property
    def services(self) -> Services:
        """There are none."""
        return self.found_services

    async def work_folder(self) -> Path:
        """A folder below the root."""
        folder = (self.root or Path()) / "work"
        folder.mkdir(exist_ok=True)
        return folder

    @asynccontextmanager
    async def artifact_store(self, host: str) -> AsyncGenerator[ArtifactStore]:
        """The same, for every host that there is."""
        if host not in ("", self.host):
            raise NotFoundError("HOST_NOT_FOUND", f"there is no host {host}")
        yield self.artifacts

    async def paglet_host(self, paglet_id: str) -> str:
        """Here, where no other paglet is."""
        if paglet_id != self.paglet_id:
            raise NotFoundError("PAGLET_NOT_FOUND", f"there is no paglet {paglet_id}")
        return self.host

    def blocking(self, work: Coroutine[Any, Any, T] | Callable[[], Awaitable[T]]) -> T:
        """Runs a coroutine, or what a function gives, on the loop of the test."""
        try:
            self._refuse_loop("block: use `await`")
        except PreconditionError:
            if not callable(work):
                work.close()
            raise
        return from_thread.run(_awaited, work)

    @asynccontextmanager
    async def turn(self) -> AsyncGenerator[Any]:
        """A turn of its own, or the running one."""
        running = self._running()
        if running is not None:
            yield running.state
            return
        async with self._one_at_a_time:
            turn = self.cell.begin()
            try:
                with turn.entered():
                    yield turn.state
                changed = turn.finish()
            except BaseException:
                turn.roll_back()
                raise
            self._commit(turn, changed)

    async def checkpoint(self) -> None:
        """Everything is durable here."""

    @contextmanager
    def locked_state(self) -> Generator[Any]:
        """A turn for a worker thread."""
        running = self._running()
        if running is not None:
            yield running.state
            return
        self._refuse_loop("wait for a turn")
        from_thread.run(self._one_at_a_time.acquire)
        turn = self.cell.begin()
        try:
            with turn.entered():
                yield turn.state
            from_thread.run_sync(self._commit, turn, turn.finish())
        except BaseException:
            turn.roll_back()
            raise
        finally:
            from_thread.run_sync(self._one_at_a_time.release)

    async def wait_state(self, predicate: Callable[[Any], bool], timeout_s: float | None) -> bool:
        """Waits for a committed state."""
        if self._running() is not None:
            raise PreconditionError("WAIT_IN_TURN", "a turn cannot wait for its own state")
        return await self._waits.until(lambda: predicate(self.cell.view), timeout_s)

    def notify(self, *, everybody: bool) -> None:
        """Wakes them."""
        wake, running = self._waits.wake if everybody else self._waits.wake_one, self._running()
        if running is not None:
            running.outputs.append(wake)
        else:
            self._loop.call_soon_threadsafe(wake)

    def start_background(self, body: Callable[[], Awaitable[None]]) -> None:
        """Starts a body when the running turn is committed."""
        self._after(lambda: self._spawn(body))

    def post(self, paglet_id: str, operation: str, request: Message) -> None:
        """Notes the post when the running turn has ended well."""
        self._after(lambda: self.posts.append((paglet_id, operation, request)))

    def append_events(self, messages: Sequence[Message]) -> int:
        """Nobody reads here."""
        raise NotImplementedError("a fake home keeps no events")

    @property
    def last_event(self) -> int:
        """There is none."""
        return 0

    async def read_events(self, after: int, limit: int) -> Sequence[CursorEvent]:
        """There are none."""
        raise NotImplementedError("a fake home keeps no events")

    async def wait_events(self, after: int, timeout_s: float | None) -> bool:
        """None will come."""
        raise NotImplementedError("a fake home keeps no events")

    def request_dispatch(self, target: str, ticket: TransferTicket | None = None) -> None:
        """Notes the move when the running turn or body has ended well."""
        self._after(lambda: self.departures.append(target))

    def request_clone(self, target: str, ticket: TransferTicket | None = None) -> str:
        """Notes the clone when the running turn or body has ended well."""
        self._after(lambda: self.clones.append(target))
        return f"{self.paglet_id}-{target}"

    def stub(self, paglet_id: str, make: Callable[[Any], Any]) -> Any:  # noqa: ANN401 - what the test gave
        """What the test gave for a paglet."""
        del make
        return self.stubs[paglet_id]

    async def ask(
        self,
        paglet_id: str,
        operation: ServiceOperation,
        request: Message,
        reply_type: type[ReplyT],
        *,
        timeout_s: float,
    ) -> ReplyT:
        """Notes the call, and answers with nothing; a test may have it fail."""
        del timeout_s
        if (error := self.refusals.get(paglet_id)) is not None:
            raise error
        self.questions.append((paglet_id, operation.full_name, request))
        return reply_type()

    async def make_clone(
        self, target: str, parameters: Message | None, ticket: TransferTicket | None, request_id: str
    ) -> str:
        """Notes the clone, with what it is for; a test may have it fail."""
        self.made.append((target, parameters))
        if (error := self.refusals.get(target)) is not None:
            raise error
        return clone_id(self.paglet_id, request_id)

    async def dispose_of(self, paglet_id: str) -> None:
        """Notes the end of another paglet; a test may have it fail."""
        if (error := self.refusals.get(paglet_id)) is not None:
            raise error
        self.ended.append(paglet_id)

    def request_deactivate(self, policy: DeactivationPolicy | None) -> None:
        """Notes the rest when the running turn or body has ended well."""
        self._after(lambda: self.rests.append(policy))

    def request_dispose(self) -> None:
        """Notes the end when the running turn or body has ended well."""

        def dispose() -> None:
            self.disposals += 1

        self._after(dispose)

    async def register_file(self, path: Path, name: str, mode: FileMode) -> PagletFileRef:
        """Describes a file as it is now."""
        self.files[name] = describe(path, name, mode, self.host)
        return self.files[name]

    async def unregister_file(self, name: str) -> None:
        """Forgets a registration."""
        self.files.pop(name, None)

    def registered_files(self) -> Sequence[PagletFileRef]:
        """The registrations."""
        return [file for _, file in sorted(self.files.items())]

    async def save_file(self, name: str, destination: Path, *, overwrite: bool) -> None:
        """Copies a file in one step."""
        copy_in_one_step(self.files[name].path, destination, overwrite=overwrite)

    def resolve_source(self, path: str) -> Path:
        """A path below the root."""
        return confined(path, self.root)

    def resolve_destination(self, destination: str, source_name: str) -> Path:
        """A path below the root, inside an existing folder."""
        return destination_below(self.root, destination, source_name)

    async def available_hosts(self, *, online_only: bool = True, include_self: bool = True) -> Sequence[HostRef]:
        """This host alone."""
        return [HostRef(name=self.host, address=self.address, online=True)] if include_self else []

    async def host_status(self, name: str) -> HostRef | None:
        """This host alone."""
        return next((host for host in await self.available_hosts() if host.name == name), None)

    # Its own.

    def _running(self) -> Turn[Any] | None:
        turn = current_turn()
        return turn if turn is not None and turn.cell is self.cell else None

    def _refuse_loop(self, what: str) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        raise PreconditionError("WAIT_IN_TURN", f"the event loop cannot {what}")

    def _commit(self, turn: Turn[Any], changed: tuple[bytes, Any] | None) -> None:
        if changed is not None:
            self.cell.latest, self.cell.view = changed
            self._waits.wake()
        for output in turn.outputs:
            output()

    def _after(self, output: Callable[[], None]) -> None:
        running, outputs = self._running(), _outputs.get()
        if running is not None:
            running.outputs.append(output)
        elif outputs is not None:
            outputs.append(output)
        else:
            output()

    def _spawn(self, body: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.create_task(self._run(body))
        self._bodies.add(task)
        task.add_done_callback(self._bodies.discard)

    async def _run(self, body: Callable[[], Awaitable[None]]) -> None:
        outputs: list[Callable[[], None]] = []
        _outputs.set(outputs)
        try:
            await body()
        except Exception as error:  # noqa: BLE001 - as a host does: the author's code, kept for the test to look at
            self.mishaps.append(error)
            return
        for output in outputs:
            output()


async def _invoke(function: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401 - whatever it answers
    if inspect.iscoroutinefunction(function):
        return await function(*arguments)
    return await to_thread.run_sync(function, *arguments)


async def _awaited(work: Coroutine[Any, Any, T] | Callable[[], Awaitable[T]]) -> T:
    return await (work() if callable(work) else work)
