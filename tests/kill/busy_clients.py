"""Clients that write artifacts to a host without pause, whatever becomes of it, and know what must be there."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from contextlib import suppress

from paglets.artifacts.store import ArtifactWrite
from paglets.client.artifacts import RemoteArtifactStore
from paglets.digest import Digest
from paglets.errors import NotFoundError

__all__ = ["BusyClients"]

MIB = 1024 * 1024
PIECE_BYTES = 300_000
PAUSED_BYTES = 17 * MIB
"""So much of a stream makes our client have the host make it durable."""


class BusyClients:
    """`work` as many at once as there shall be; `stored` is what was acknowledged, by its id."""

    def __init__(self, store: RemoteArtifactStore, dice: random.Random) -> None:
        self.stored: dict[str, Digest] = {}
        self.gone: set[str] = set()
        self._store = store
        self._dice = dice
        self._numbers = itertools.count()
        self._ended = False

    def end(self) -> None:
        """Has each one finish what it is at."""
        self._ended = True

    async def work(self) -> None:
        """One client: takes each way to write in turn."""
        ways = (self._plain, self._twins, self._cut, self._given_up, self._removed, self._mortal, self._streamed)
        for way in itertools.cycle(self._dice.sample(ways, len(ways))):
            if self._ended:
                return
            await way(f"a{next(self._numbers)}", self._dice.randbytes(self._dice.randrange(1, 3 * MIB)))

    async def _put(self, artifact_id: str, data: bytes, *, told: bool = False, ttl_s: float | None = None) -> None:
        digest = Digest.of(data)
        write = ArtifactWrite(
            upload_id=artifact_id, artifact_id=artifact_id, expected_digest=digest if told else None, ttl_s=ttl_s
        )
        result = await self._store.create_from_chunks(write, _pieces(data))
        assert result.ref.digest == digest
        if ttl_s is None:
            self.stored[artifact_id] = digest

    async def _plain(self, artifact_id: str, data: bytes) -> None:
        await self._put(artifact_id, data)

    async def _twins(self, artifact_id: str, data: bytes) -> None:
        """The same bytes three times: once they are sent in vain, once they need not be sent."""
        await self._put(artifact_id, data)
        await self._put(f"{artifact_id}-sent", data)
        await self._put(f"{artifact_id}-told", data, told=True)

    async def _cut(self, artifact_id: str, data: bytes) -> None:
        """Left in the middle, and gone on with."""
        await self._leave(artifact_id, data)
        await self._put(artifact_id, data)

    async def _given_up(self, artifact_id: str, data: bytes) -> None:
        """Left in the middle, and cancelled."""
        await self._leave(artifact_id, data)
        await self._store.cancel_upload(artifact_id)
        self.gone.add(artifact_id)

    async def _removed(self, artifact_id: str, data: bytes) -> None:
        await self._put(artifact_id, data)
        del self.stored[artifact_id]
        await self._store.delete(artifact_id)
        self.gone.add(artifact_id)

    async def _mortal(self, artifact_id: str, data: bytes) -> None:
        """It expires at once; whoever has to ask again finds it gone."""
        with suppress(NotFoundError):
            await self._put(artifact_id, data, ttl_s=0.001)

    async def _streamed(self, artifact_id: str, data: bytes) -> None:
        """So long that it is made durable on its way."""
        await self._put(artifact_id, data + bytes(PAUSED_BYTES))

    async def _leave(self, artifact_id: str, data: bytes) -> None:
        half_way = asyncio.Event()

        async def half() -> AsyncIterator[bytes]:
            async for piece in _pieces(data[: len(data) // 2 + 1]):
                yield piece
            half_way.set()
            await asyncio.Event().wait()

        write = ArtifactWrite(upload_id=artifact_id, artifact_id=artifact_id)
        leaving = asyncio.create_task(self._store.create_from_chunks(write, half()))
        await half_way.wait()
        leaving.cancel()
        await asyncio.wait((leaving,))


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), PIECE_BYTES):
        yield data[start : start + PIECE_BYTES]
