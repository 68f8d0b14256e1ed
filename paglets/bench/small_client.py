"""A client that stores small artifacts, and what to hold that against: `python -m paglets.bench.small_client`.

It uses nothing but what every user of the SDK has.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from paglets.arena import use_one_arena
from paglets.artifacts.store import ArtifactWrite, ArtifactWriteResult, SmallWrite
from paglets.bench.worker import obey
from paglets.client.client import Client
from paglets.loop import run
from paglets.values import new_id

__all__ = ["SmallClient", "SmallCommand", "SmallDone", "main"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallCommand:
    """Stores `items` things of `size_bytes` by so many `clients` at once, `batch` of them at a time.

    `artifacts` go to the host at `address`; `files` below `folder`, each synced and renamed, and its folder synced;
    `rows` into a SQLite file there, by one writer.
    """

    action: Literal["artifacts", "files", "rows"]
    items: int
    size_bytes: int
    clients: int
    batch: int
    address: str = ""
    folder: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallDone:
    """How long that took until all of it was durable."""

    seconds: float


class SmallClient:
    """Obeys commands with one connection for each host, kept in `stack`."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._clients: dict[str, Client] = {}

    async def obey(self, command: SmallCommand) -> SmallDone:
        """Makes the bytes, then stores them; the clock runs for the latter."""
        data = [os.urandom(command.size_bytes) for _ in range(command.items)]
        shares = [data[number :: command.clients] for number in range(command.clients)]
        match command.action:
            case "artifacts":
                client = await self._client(command.address)
                work = [_store(client, share, command.batch) for share in shares]
            case "files":
                work = [asyncio.to_thread(_write_files, Path(command.folder), share) for share in shares]
            case "rows":
                work = [asyncio.to_thread(_write_rows, Path(command.folder), data, command.batch)]
        began = time.perf_counter()
        await asyncio.gather(*work)
        return SmallDone(seconds=time.perf_counter() - began)

    async def _client(self, address: str) -> Client:
        if address not in self._clients:
            client = await self._stack.enter_async_context(Client(address))
            await client.reach()
            await client.artifacts.list(page_size=1)
            self._clients[address] = client
        return self._clients[address]


async def _store(client: Client, share: list[bytes], batch: int) -> None:
    if batch > 1:
        for start in range(0, len(share), batch):
            items = [SmallWrite(ArtifactWrite(), data) for data in share[start : start + batch]]
            for result in await client.artifacts.create_batch(items):
                if not isinstance(result, ArtifactWriteResult):
                    raise result
        return
    for data in share:
        await client.artifacts.create_from_chunks(ArtifactWrite(size_bytes=len(data)), _piece(data))


async def _piece(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _write_files(folder: Path, share: list[bytes]) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for data in share:
            path = folder / new_id()
            with path.with_suffix(".part").open("wb", buffering=0) as file:
                file.write(data)
                os.fdatasync(file.fileno())
            path.with_suffix(".part").rename(path)
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_rows(folder: Path, data: list[bytes], batch: int) -> None:
    with closing(sqlite3.connect(folder / "rows.db", isolation_level=None)) as rows:
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            rows.execute(f"PRAGMA {pragma}")
        rows.execute("CREATE TABLE IF NOT EXISTS small (number INTEGER PRIMARY KEY, data BLOB NOT NULL)")
        for start in range(0, len(data), batch):
            rows.execute("BEGIN")
            rows.executemany("INSERT INTO small (data) VALUES (?)", [(each,) for each in data[start : start + batch]])
            rows.execute("COMMIT")


async def _main() -> None:
    async with AsyncExitStack() as stack:
        await obey(SmallCommand, SmallClient(stack).obey)


def main() -> None:
    """Obeys until standard input ends."""
    use_one_arena()
    run(_main())


if __name__ == "__main__":
    main()
