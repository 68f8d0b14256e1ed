"""What a rebuild of the directory answers, however much it is."""

from __future__ import annotations

import sqlite3
from contextlib import AsyncExitStack, closing
from pathlib import Path

import grpc
import pytest

from paglet.v1 import rebuild_pb2 as pb
from paglet.v1 import rebuild_pb2_grpc
from paglets.host.rebuild import Rebuilt
from paglets.services.rebuild import messages_of
from tests.host.conftest import Site, site
from tests.host.support import PROBE_TYPE

_MESSAGE_BYTES = 4 << 20


async def _messages(channel: grpc.aio.Channel, *, dry_run: bool) -> list[pb.RebuildDirectoryResponse]:
    stub: rebuild_pb2_grpc.RebuildServiceAsyncStub = rebuild_pb2_grpc.RebuildServiceStub(channel)
    return [message async for message in stub.RebuildDirectory(pb.RebuildDirectoryRequest(dry_run=dry_run))]


def _lose(folder: Path, ids: list[str]) -> None:
    """Has the journal of a host that is down keep probes of which no directory knows."""
    with closing(sqlite3.connect(folder / "journal.db")) as journal, journal:
        (state, version), *_ = journal.execute("SELECT state, state_version FROM paglets").fetchall()
        rows = [(paglet_id, PROBE_TYPE, 1, state, version) for paglet_id in ids]
        journal.executemany("INSERT INTO paglets VALUES (?, ?, ?, ?, ?)", rows)


def _rebuilt(paglets: list[pb.RebuiltPaglet]) -> list[pb.RebuildDirectoryResponse]:
    return list(messages_of(Rebuilt(paglets=paglets, heard=["alpha"], unheard=["beta"])))


@pytest.mark.parametrize(("paglets", "messages"), [(0, 1), (1, 1), (1000, 1), (1001, 2), (2500, 3)])
def test_message_has_a_thousand_paglets(paglets: int, messages: int) -> None:
    """In the order of ids; the hosts are told once, and also when there is nothing else to tell."""
    ids = [f"p{number:04}" for number in range(paglets)]
    told = _rebuilt([pb.RebuiltPaglet(paglet_id=paglet_id) for paglet_id in ids])
    assert [found.paglet_id for message in told for found in message.paglets] == ids
    assert max(len(message.paglets) for message in told) <= 1000
    assert [list(message.heard) for message in told] == [["alpha"], *[[]] * (messages - 1)]
    assert [list(message.unheard) for message in told] == [["beta"], *[[]] * (messages - 1)]


def test_message_is_small_whatever_is_told() -> None:
    """Also of paglets that many hosts have, of which a thousand would not go into one message."""
    hosts = [f"{number:0100}" for number in range(100)]
    told = _rebuilt([pb.RebuiltPaglet(paglet_id=f"p{number}", hosts=hosts) for number in range(1000)])
    assert sum(len(message.paglets) for message in told) == 1000
    assert max(message.ByteSize() for message in told) < _MESSAGE_BYTES


async def test_nothing_lost_is_one_message(alpha: Site) -> None:
    """It names the hosts that were heard."""
    assert await _messages(alpha.channel, dry_run=False) == [pb.RebuildDirectoryResponse(heard=["alpha"])]


@pytest.mark.slow
async def test_answer_beyond_the_limit_of_a_message(tmp_path: Path) -> None:
    """A rebuild tells of as many paglets as there are; names as long as they may be spare it some."""
    host = "alpha".ljust(128, "-")
    async with AsyncExitStack() as stack:
        await (await site(stack, tmp_path, host)).client.create(PROBE_TYPE, paglet_id="first")
    ids = [f"{number:0128}" for number in range(16_000)]
    _lose(tmp_path / host, ids)
    async with AsyncExitStack() as stack:
        told = await _messages((await site(stack, tmp_path, host)).channel, dry_run=True)
    assert sum(message.ByteSize() for message in told) > _MESSAGE_BYTES
    assert [found.paglet_id for message in told for found in message.paglets] == ids
    assert {found.outcome for message in told for found in message.paglets} == {pb.REBUILD_OUTCOME_REGISTERED}
