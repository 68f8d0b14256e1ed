"""One id and its lives: created, moved, laid down, cloned, ended and created again, each asked for until it is known.

It must never know who dies meanwhile.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from paglet.examples.counter.v1 import counter_pb2_grpc
from paglet.examples.counter.v1.counter_pb2 import AddRequest
from paglets.client.client import Client
from paglets.errors import DeadlineError, PagletError, UnavailableError
from paglets.testing import eventually
from paglets.values import ArrivalMode, DeactivationPolicy, TransferTicket, clone_id, new_id
from tests.kill import audit
from tests.kill.mesh import PATIENCE_S, Mesh
from tests.kill.settler import Settler, SettlerState
from tests.kill.story import quiet

__all__ = ["Lives"]

_ADD = "paglet.examples.counter.v1.CounterService/Add"
_DEAF = DeactivationPolicy(activate_on_message=False)
_AT_REST = TransferTicket(arrival=ArrivalMode.INACTIVE)
_WRITE_S = 2.0
_SIZE = 100_000


@dataclass
class Lives:
    """The lives of one id, asked about by way of hosts that are drawn; `told` is what became of each operation.

    `acknowledged` has the amounts of writes and posts that the life of now has acknowledged; of those in `unknown`
    nobody knows.
    """

    mesh: Mesh
    clients: Mapping[str, Client]
    chance: random.Random
    paglet_id: str = field(default_factory=new_id)
    life: int = 0
    is_alive: bool = False
    clones: list[str] = field(default_factory=list[str])
    acknowledged: set[int] = field(default_factory=set[int])
    unknown: set[int] = field(default_factory=set[int])
    told: list[str] = field(default_factory=list[str])
    amounts: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def take(self, operation: str) -> None:
        """Does one operation, e.g. `dispatch target`, to its end; then writes and posts, of which some may be lost."""
        word, _, role = operation.partition(" ")
        steps: dict[str, Callable[[str], Awaitable[PagletError | None]]] = {
            "create": self._create,
            "dispatch": self._dispatch,
            "lay": self._lay,
            "retract": self._retract,
            "rest": self._rest,
            "sleep": self._sleep,
            "activate": self._activate,
            "clone": self._clone,
            "move-clone": self._move_clone,
            "end-clone": self._end_clone,
            "dispose": self._dispose,
        }
        error = await steps[word](role and self.mesh.role(role))
        self.told.append(operation if error is None else f"{operation}: {error.reason}")
        if self.is_alive:
            await self._write()

    async def check(self) -> None:
        """The life of now has what it acknowledged, once, and nothing of others; and so it says by every host."""
        await quiet(self.mesh)
        row = audit.row_of(self.mesh, self.paglet_id)
        assert row is not None
        state = await eventually(lambda: self._settled(row.owner), PATIENCE_S, "every acknowledged post")
        assert len(set(state.amounts)) == len(state.amounts), "a request ran twice"
        strange = set(state.amounts) - self.acknowledged - self.unknown
        assert not strange, f"these belong to an earlier life: {strange}"
        assert (state.life, state.strange) == (self.life, [])
        for name, client in self.clients.items():
            told = Settler.codec.from_json(await client.state(self.paglet_id))
            assert isinstance(told, SettlerState)
            assert told.life == self.life, f"{name} tells of an earlier life"

    async def end(self) -> None:
        """Nothing is left of any life, nor of a clone."""
        if self.is_alive:
            await self.take("dispose")
        while self.clones:
            await self.take("end-clone")
        for path in self.mesh.files.iterdir():
            path.unlink()
        await quiet(self.mesh)
        left = [path for host in self.mesh for path in (host.data / "work").glob("*")]
        assert not left, f"work folders are left: {left}"

    async def _settled(self, owner: str) -> SettlerState | None:
        """The state that the journal has, once all that was acknowledged is in it."""
        query = "SELECT state, state_version FROM paglets WHERE paglet_id = ?"
        ((data, version),) = audit.rows(self.mesh.hosts[owner].data / "journal.db", query, self.paglet_id)
        assert isinstance(data, bytes)
        state = Settler.codec.load(data, int(str(version)))
        assert isinstance(state, SettlerState)
        return state if self.acknowledged <= set(state.amounts) else None

    # The operations.

    async def _create(self, host: str) -> PagletError | None:
        life, request_id = self.life + 1, new_id()
        moved, copied = (self.mesh.files / f"{kind}-{self.paglet_id}-{life}" for kind in ("moved", "copied"))
        for path in (moved, copied):
            path.write_bytes(random.randbytes(_SIZE))
        state = SettlerState(life=life, moved=moved.name, copied=copied.name)
        error = await _known(
            lambda: self.clients[host].create(Settler, state=state, paglet_id=self.paglet_id, request_id=request_id)
        )
        assert error is None, f"life {life} was refused: {error!r}"
        self.life, self.is_alive, self.acknowledged = life, True, set()
        return error

    async def _dispose(self, _host: str) -> PagletError | None:
        client, request_id = self._any(), new_id()
        error = await _known(lambda: client.dispose(self.paglet_id, request_id=request_id))
        assert error is None, f"life {self.life} does not end: {error!r}"
        self.is_alive = False
        return error

    async def _dispatch(self, host: str, ticket: TransferTicket | None = None) -> PagletError | None:
        client, request_id = self._any(), new_id()
        return await _known(
            lambda: client.dispatch(self.paglet_id, host, ticket=ticket, request_id=request_id, timeout_s=PATIENCE_S)
        )

    async def _lay(self, host: str) -> PagletError | None:
        return await self._dispatch(host, _AT_REST)

    async def _retract(self, host: str) -> PagletError | None:
        request_id = new_id()
        return await _known(
            lambda: self.clients[host].retract(self.paglet_id, request_id=request_id, timeout_s=PATIENCE_S)
        )

    async def _sleep(self, host: str) -> PagletError | None:
        """A rest that no write ends."""
        return await self._rest(host, _DEAF)

    async def _rest(self, _host: str, policy: DeactivationPolicy | None = None) -> PagletError | None:
        client, request_id = self._any(), new_id()
        return await _known(lambda: client.deactivate(self.paglet_id, policy, request_id=request_id))

    async def _activate(self, _host: str) -> PagletError | None:
        client = self._any()
        return await _known(lambda: client.activate(self.paglet_id))

    async def _clone(self, host: str) -> PagletError | None:
        client, request_id = self._any(), new_id()
        error = await _known(lambda: client.clone(self.paglet_id, host, request_id=request_id, timeout_s=PATIENCE_S))
        if error is None:
            self.clones.append(clone_id(self.paglet_id, request_id))
        return error

    async def _move_clone(self, host: str) -> PagletError | None:
        client, request_id, clone = self._any(), new_id(), self.clones[-1]
        return await _known(lambda: client.dispatch(clone, host, request_id=request_id, timeout_s=PATIENCE_S))

    async def _end_clone(self, _host: str) -> PagletError | None:
        client, request_id, clone = self._any(), new_id(), self.clones.pop()
        return await _known(lambda: client.dispose(clone, request_id=request_id))

    def _any(self) -> Client:
        """One of those hosts that are not about to die, or dead."""
        doors = [client for name, client in self.clients.items() if name not in self.mesh.armed]
        return self.chance.choice(doors or list(self.clients.values()))

    # What is written.

    async def _write(self) -> None:
        for write in (self._add, self._post):
            amount = next(self.amounts)
            try:
                async with asyncio.timeout(_WRITE_S):
                    await write(self._any(), amount)
            except (PagletError, TimeoutError):
                self.unknown.add(amount)
            else:
                self.acknowledged.add(amount)

    async def _add(self, client: Client, amount: int) -> None:
        stub: counter_pb2_grpc.CounterServiceAsyncStub = client.proxy(self.paglet_id).stub(
            counter_pb2_grpc.CounterServiceStub
        )
        await stub.Add(AddRequest(amount=amount))

    async def _post(self, client: Client, amount: int) -> None:
        await client.post(self.paglet_id, _ADD, AddRequest(amount=amount))


async def _known(ask: Callable[[], Awaitable[object]]) -> PagletError | None:
    """Asks for the same thing until it is known how it ended; the error that it ended with."""

    async def look() -> list[PagletError | None]:
        try:
            await ask()
        except (UnavailableError, DeadlineError) as error:
            return [error] if error.reason == "QUIESCE_TIMEOUT" else []
        except PagletError as error:
            return [error]
        return [None]

    (outcome,) = await eventually(look, 2 * PATIENCE_S, "an outcome")
    return outcome
