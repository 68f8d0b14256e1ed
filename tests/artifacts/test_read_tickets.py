"""Read tickets: what one that is valid allows, and each way in which one is not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from paglets.artifacts.store import ArtifactWrite
from paglets.client.artifacts import RemoteArtifactStore
from paglets.client.channel import open_channel
from paglets.digest import Digest
from paglets.errors import InvalidArgumentError, NotFoundError, PermissionDeniedError
from paglets.host.journal.journal import Journal
from paglets.host.read_tickets import ReadTickets
from paglets.testing import local_host
from paglets.values import ArtifactRef
from tests.artifacts.support import Clock, pieces, read_all, refused

T = TypeVar("T")
DATA = b"what the ticket is for"


@pytest.fixture
def ref() -> ArtifactRef:
    """An artifact."""
    return ArtifactRef(host="alpha", artifact_id="secret", digest=Digest.of(DATA))


def cause_of(tickets: ReadTickets, ticket: bytes, ref: ArtifactRef, reader: str = "beta") -> str:
    """Why a ticket is refused."""
    with pytest.raises(PermissionDeniedError) as caught:
        tickets.check(ticket, ref, reader)
    assert caught.value.reason == "TICKET_INVALID"
    return caught.value.metadata["cause"]


class TestTickets:
    """Tickets by themselves."""

    def test_valid_until_its_time(self, ref: ArtifactRef, clock: Clock) -> None:
        """A ticket is valid for its artifact and host until it expires."""
        tickets = ReadTickets(b"key", clock)
        ticket, expires_at = tickets.create(ref, "beta", 60.0)
        assert expires_at == clock.now + 60.0
        clock.now += 59.0
        tickets.check(ticket, ref, "beta")
        clock.now += 1.0
        assert cause_of(tickets, ticket, ref) == "expired"

    def test_of_another_artifact(self, ref: ArtifactRef, clock: Clock) -> None:
        """A ticket opens no other artifact, though it has the same bytes."""
        tickets = ReadTickets(b"key", clock)
        ticket, _ = tickets.create(ref, "beta")
        assert cause_of(tickets, ticket, replace(ref, artifact_id="other")) == "artifact"

    def test_of_other_bytes(self, ref: ArtifactRef, clock: Clock) -> None:
        """A ticket does not hold for what takes the artifact's place."""
        tickets = ReadTickets(b"key", clock)
        ticket, _ = tickets.create(ref, "beta")
        assert cause_of(tickets, ticket, replace(ref, digest=Digest.of(b"other"))) == "digest"

    def test_of_another_reader(self, ref: ArtifactRef, clock: Clock) -> None:
        """A ticket is of no use to another host, nor to one who does not say who he is."""
        tickets = ReadTickets(b"key", clock)
        ticket, _ = tickets.create(ref, "beta")
        assert cause_of(tickets, ticket, ref, "gamma") == "audience"
        assert cause_of(tickets, ticket, ref, "") == "audience"

    def test_changed_anywhere(self, ref: ArtifactRef, clock: Clock) -> None:
        """A ticket of which any byte was changed, or a part is missing, is none, and neither is one of another key."""
        tickets = ReadTickets(b"key", clock)
        ticket, _ = tickets.create(ref, "beta")
        assert len(ticket) <= 1024
        for at in range(len(ticket)):
            changed = bytes([*ticket[:at], ticket[at] ^ 1, *ticket[at + 1 :]])
            assert cause_of(tickets, changed, ref) == "tampered"
        assert cause_of(tickets, ticket[:-1], ref) == "tampered"
        assert cause_of(tickets, b"x", ref) == "tampered"
        assert cause_of(ReadTickets(b"yek", clock), ticket, ref) == "tampered"

    @pytest.mark.parametrize("ttl_s", [0.0, -1.0, 8 * 24 * 3600.0, float("nan")])
    def test_time_out_of_bounds(self, ref: ArtifactRef, ttl_s: float) -> None:
        """A ticket lives from a millisecond to a week."""
        with pytest.raises(InvalidArgumentError) as caught:
            ReadTickets(b"key").create(ref, "beta", ttl_s)
        assert (caught.value.reason, caught.value.field) == ("MALFORMED_REQUEST", "ttl")

    async def test_outlives_a_restart(self, ref: ArtifactRef, tmp_path: Path) -> None:
        """Tickets are by a key of the data folder: a restarted host knows its own, another host does not."""
        ticket, _ = await _of(tmp_path / "one.db", lambda tickets: tickets.create(ref, "beta"))
        await _of(tmp_path / "one.db", lambda tickets: tickets.check(ticket, ref, "beta"))
        assert await _of(tmp_path / "two.db", lambda tickets: cause_of(tickets, ticket, ref)) == "tampered"


class TestOverTheWire:
    """Tickets at a host."""

    @pytest.fixture
    async def address(self) -> AsyncIterator[str]:
        """A host with the artifact `secret`."""
        async with local_host() as host:
            write = ArtifactWrite(artifact_id="secret")
            await host.host.parts.store.create_from_chunks(write, pieces(DATA))
            yield host.address

    async def test_a_read_is_held_to_its_ticket(self, address: str) -> None:
        """Reads and descriptions with a ticket are allowed by it, or refused; without one they are allowed as yet."""
        async with open_channel(address) as channel:
            plain = RemoteArtifactStore(channel)
            ticket = await plain.create_read_ticket("secret", "beta")
            assert await read_all(plain, "secret") == DATA
            beta = RemoteArtifactStore(channel, read_ticket=ticket, reader="beta")
            assert await read_all(beta, "secret") == DATA
            assert await read_all(beta, "secret", offset=5, length=3) == DATA[5:8]
            assert (await beta.ref("secret")).size_bytes == len(DATA)
            gamma = RemoteArtifactStore(channel, read_ticket=ticket, reader="gamma")
            for call in (read_all(gamma, "secret"), gamma.ref("secret")):
                error = await refused(call)
                assert (error.reason, error.metadata) == ("TICKET_INVALID", {"cause": "audience"})
                assert isinstance(error, PermissionDeniedError)

    async def test_no_ticket_is_made(self, address: str) -> None:
        """A ticket is for an artifact that is there, for an id, and for a time within bounds."""
        async with open_channel(address) as channel:
            store = RemoteArtifactStore(channel)
            missing = await refused(store.create_read_ticket("missing", "beta"))
            assert isinstance(missing, NotFoundError)
            assert missing.reason == "ARTIFACT_NOT_FOUND"
            nobody = await refused(store.create_read_ticket("secret", ""))
            assert (nobody.reason, nobody.field) == ("INVALID_ID", "audience_host")
            endless = await refused(store.create_read_ticket("secret", "beta", ttl_s=1e9))
            assert (endless.reason, endless.field) == ("MALFORMED_REQUEST", "ttl")


async def _of(path: Path, use: Callable[[ReadTickets], T]) -> T:
    """What `use` makes of the tickets of a journal, which is opened for it."""
    journal = Journal.open(path)
    try:
        return use(await ReadTickets.of(journal))
    finally:
        await journal.close()
