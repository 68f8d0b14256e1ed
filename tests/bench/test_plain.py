"""The plain-socket program, which must be right to be a reference."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal

import pytest
from blake3 import blake3

from paglets.bench.plain_client import PlainClient
from paglets.bench.plain_server import PlainServer
from paglets.bench.plain_wire import PlainReply, PlainRequest, read_line, send_line
from paglets.bench.transfers import TransferCommand

UPLOAD_SYNCS = 5  # the file, its folder, and the catalogue three times
DOWNLOAD_SYNCS = 2  # the file and its folder


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A plain server that keeps its files in `kept`, for one connection."""
    (tmp_path / "kept").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listener, closing(PlainServer(tmp_path / "kept")) as server:
        serving = threading.Thread(target=lambda: server.serve(listener.accept()[0]))
        serving.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        serving.join()


@pytest.fixture
def both(address: str) -> Iterator[tuple[PlainClient, str]]:
    """A client, closed before its server, and where that is."""
    with closing(PlainClient()) as client:
        yield client, address


@pytest.mark.parametrize("size", [0, 1, 1024 * 1024, 2_500_001])
@pytest.mark.parametrize(
    ("overlap", "direct"),
    [(False, False), (True, False), (False, True)],
    ids=["one thread", "two threads", "past the page cache"],
)
async def test_bytes_go_there_and_back(
    both: tuple[PlainClient, str], tmp_path: Path, size: int, *, overlap: bool, direct: bool
) -> None:
    """What was uploaded is what is downloaded, whatever its size, with the syncs that are claimed."""
    client, address = both
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(size))
    digest = blake3(source.read_bytes()).hexdigest()
    command = TransferCommand(
        action="put",
        address=address,
        name="kept-file",
        path=str(source),
        size_bytes=size,
        overlap=overlap,
        direct=direct,
    )
    done = await client.obey(command)
    assert (done.size_bytes, done.digest, done.syncs) == (size, digest, UPLOAD_SYNCS)
    got = await client.obey(
        TransferCommand(
            action="get", address=address, name="kept-file", path=str(target), overlap=overlap, direct=direct
        )
    )
    assert (got.size_bytes, got.digest, got.syncs) == (size, digest, DOWNLOAD_SYNCS)
    assert target.read_bytes() == source.read_bytes()
    await client.obey(TransferCommand(action="delete", address=address, name="kept-file"))
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["plain.catalogue"]


@pytest.mark.parametrize("action", ["put", "get"])
async def test_raw_bytes_are_counted(both: tuple[PlainClient, str], action: Literal["put", "get"]) -> None:
    """Raw bytes come in full both ways, and wait for no disk."""
    client, address = both
    done = await client.obey(TransferCommand(action=action, address=address, name="", size_bytes=3_000_001, raw=True))
    assert (done.size_bytes, done.syncs) == (3_000_001, 0)


def test_wrong_digest_is_not_kept(address: str, tmp_path: Path) -> None:
    """Bytes that are not what they are said to be get no name, and no answer."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port))) as connection:
        send_line(connection, PlainRequest(action="put", name="wrong", size_bytes=4))
        assert read_line(connection, PlainReply) == PlainReply()
        connection.sendall(b"four")
        send_line(connection, PlainReply(digest=blake3(b"five").hexdigest()))
        assert read_line(connection, PlainReply) is None
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["plain.catalogue"]
