"""One host for all tests of the faces, on a loop and a thread of its own, as a script finds it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from paglets.blocking import Client
from paglets.testing import local_host
from tests.blocking.echo import ECHO_MODULE
from tests.host.streamer import STREAMER_MODULE
from tests.patterns.feed import FEED_MODULE

ALLOW = ("paglets.examples.counter", ECHO_MODULE, STREAMER_MODULE, FEED_MODULE)


@pytest.fixture(scope="module")
def portal() -> Iterator[BlockingPortal]:
    """The loop of the host, and of its stage."""
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture(scope="module")
def address(portal: BlockingPortal) -> Iterator[str]:
    """Where a host listens that allows what the tests need."""
    with portal.wrap_async_context_manager(local_host(allow=ALLOW)) as host:
        yield host.address


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    """A client of that host."""
    with Client(address) as client:
        yield client
