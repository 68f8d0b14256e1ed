"""A client of a host's artifact store, as a process of its own: `python -m paglets.bench.artifact_client`.

It uses nothing but what every user of the SDK has.
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from pathlib import Path

from paglets.arena import use_one_arena
from paglets.artifacts.store import ArtifactWrite, WriteOutcome
from paglets.bench.transfers import Transfer, TransferCommand
from paglets.bench.worker import obey
from paglets.client.client import Client
from paglets.loop import run
from paglets.values import ArtifactRef

__all__ = ["ArtifactClient", "main"]


class ArtifactClient:
    """Obeys transfer commands with one client for each host, kept in `stack`."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._clients: dict[str, Client] = {}

    async def obey(self, command: TransferCommand) -> Transfer:
        """Moves the bytes; the clock runs from the call to the proof."""
        client = await self._client(command.address)
        began = time.perf_counter()
        match command.action:
            case "put":
                ref = await _put(client, command)
            case "get":
                ref = await client.artifacts.export_to_path(command.name, Path(command.path))
            case "delete":
                await client.artifacts.delete(command.name)
                ref = None
        seconds = time.perf_counter() - began
        if ref is None:
            return Transfer(seconds=seconds, size_bytes=0)
        return Transfer(seconds=seconds, size_bytes=ref.digest.size_bytes, digest=ref.digest.hex)

    async def _client(self, address: str) -> Client:
        """A client whose both connections are there already."""
        if address not in self._clients:
            client = await self._stack.enter_async_context(Client(address))
            await client.reach()
            await client.artifacts.list(page_size=1)
            self._clients[address] = client
        return self._clients[address]


async def _put(client: Client, command: TransferCommand) -> ArtifactRef:
    result = await client.artifacts.create_from_path(ArtifactWrite(artifact_id=command.name), Path(command.path))
    if result.outcome is not WriteOutcome.COMMITTED:
        raise ValueError(f"artifact {command.name} was {result.outcome}: its bytes were here, nothing was measured")
    return result.ref


async def _main() -> None:
    async with AsyncExitStack() as stack:
        await obey(TransferCommand, ArtifactClient(stack).obey)


def main() -> None:
    """Obeys until standard input ends; its malloc is as that of the command line where it moves bytes."""
    use_one_arena()
    run(_main())


if __name__ == "__main__":
    main()
