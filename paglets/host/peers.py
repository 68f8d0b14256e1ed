"""The other hosts of the mesh: where they are, and channels to them that are kept open."""

from __future__ import annotations

from collections.abc import Sequence

from paglets.client.artifacts import RemoteArtifactStore
from paglets.client.channel import Channel, open_channel
from paglets.client.client import Client
from paglets.client.forward import Forwarder
from paglets.client.leases import LeasePeer
from paglets.client.post_peer import PostPeer
from paglets.client.rebuild import RebuildPeer
from paglets.client.transfer import TransferPeer
from paglets.directory.contract import Directory
from paglets.errors import NotFoundError, PagletError, Resource, UnavailableError
from paglets.values import HostRef

__all__ = ["Peers", "unreachable"]

_PATIENCE_S = 10.0
_UNANSWERED = frozenset({"TRANSPORT", "SHUTTING_DOWN", "DEADLINE_EXCEEDED"})


class Peers:
    """Channels by host name. Addresses come from the directory and are looked up again when a host has moved."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._hosts: dict[str, HostRef] = {}
        self._channels: dict[tuple[str, str], Channel] = {}
        self._clients: dict[str, Client] = {}

    def client(self, address: str) -> Client:
        """The SDK, for what the paglets of this host ask of others; it stays open as long as the host."""
        if address not in self._clients:
            self._clients[address] = Client(address)
        return self._clients[address]

    async def hosts(self) -> Sequence[HostRef]:
        """All hosts of the mesh, in the order of their names, as they are now."""
        found = await self._directory.hosts()
        self._hosts = {host.name: host for host in found}
        return found

    async def host(self, name: str) -> HostRef:
        """One host as it is now. Raises HOST_NOT_FOUND."""
        await self.hosts()
        found = self._hosts.get(name)
        if found is None:
            known = ", ".join(self._hosts) or "none"
            raise NotFoundError(
                "HOST_NOT_FOUND",
                f"the mesh has no host {name!r}; it has: {known}",
                resource=Resource("host", name),
                metadata={"host": name},
            )
        return found

    async def online(self, name: str) -> HostRef:
        """One host that is there now. Raises HOST_NOT_FOUND, HOST_UNREACHABLE."""
        found = await self.host(name)
        if not found.online:
            raise unreachable(name, "its lease is over")
        return found

    def known_address(self, name: str) -> str:
        """Where a host was last known to listen; empty when it is not known."""
        found = self._hosts.get(name)
        return found.address if found is not None else ""

    def distrust(self, name: str) -> None:
        """A host did not answer where it was believed to be, or another one did: its address is looked up again."""
        self._hosts.pop(name, None)

    def explain(self, name: str, error: PagletError) -> PagletError:
        """What a call to a host failed with, in terms of who asked for it: HOST_UNREACHABLE when it did not answer."""
        if error.reason not in _UNANSWERED:
            return error
        self.distrust(name)
        return unreachable(name, error.message)

    async def transfer(self, name: str) -> TransferPeer:
        """TransferService of a host."""
        return TransferPeer(self._channel(await self._known(name), "calls"))

    async def rebuild(self, name: str) -> RebuildPeer:
        """RebuildService of a host. Raises HOST_NOT_FOUND."""
        return RebuildPeer(self._channel(await self._known(name), "calls"))

    async def poster(self, name: str) -> PostPeer:
        """OperationService of a host. Raises HOST_NOT_FOUND."""
        return PostPeer(self._channel(await self._known(name), "calls"))

    async def leases(self, name: str) -> LeasePeer:
        """Leases on paglets, asked of a host. Raises HOST_NOT_FOUND."""
        return LeasePeer(self._channel(await self._known(name), "calls"))

    async def forwarder(self, name: str) -> Forwarder:
        """Raw calls to a host. Raises HOST_NOT_FOUND."""
        host = await self._known(name)
        return Forwarder(self._channel(host, "calls"), host.uid)

    async def store(self, name: str, *, read_ticket: bytes = b"", reader: str = "") -> RemoteArtifactStore:
        """The artifact store of a host, on a connection of its own: large bytes do not hold up small calls.

        A host that dies while bytes are on their way has so long to come back that nobody need begin again. `reader` is
        who the ticket, if there is one, is for.
        """
        channel = self._channel(await self._known(name), "bytes")
        return RemoteArtifactStore(channel, patience_s=_PATIENCE_S, read_ticket=read_ticket, reader=reader)

    async def close(self) -> None:
        """Closes all channels."""
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            await channel.close()
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.close()

    async def _known(self, name: str) -> HostRef:
        """One host as it was when it was last looked up; now, if it was not there."""
        found = self._hosts.get(name)
        return found if found is not None and found.online else await self.host(name)

    def _channel(self, host: HostRef, purpose: str) -> Channel:
        key = (host.address, purpose)
        if key not in self._channels:
            self._channels[key] = open_channel(host.address, calls_only=purpose == "calls")
        return self._channels[key]


def unreachable(name: str, why: str) -> UnavailableError:
    """A host that should answer does not."""
    return UnavailableError(
        "HOST_UNREACHABLE",
        f"host {name} cannot be reached: {why}",
        resource=Resource("host", name),
        metadata={"host": name},
        retry_after_s=1.0,
    )
