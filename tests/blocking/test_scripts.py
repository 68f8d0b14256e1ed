"""Scripts as people write them: interrupted, ended without a word, and wrong."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager

import pytest
from anyio.from_thread import BlockingPortal

from tests.cli.running import PATIENCE_S
from tests.host.stage import STAGE

pytestmark = pytest.mark.slow

_BEGINNING = """
import sys
from google.protobuf.wrappers_pb2 import StringValue
from paglets.artifacts.store import ArtifactWrite
from paglets.blocking import Client
from tests.blocking.test_stubs import StreamerStub
from tests.host.streamer import Streamer
"""


@contextmanager
def script(text: str, address: str) -> Generator[subprocess.Popen[str]]:
    """A script that is told the address of a host; it has to have ended by itself when the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-c", _BEGINNING + text, address],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _ran(text: str, address: str) -> tuple[int, str, str]:
    with script(text, address) as process:
        out, err = process.communicate(timeout=PATIENCE_S)
        return process.returncode, out, err


def test_client_that_nobody_closes(address: str) -> None:
    """Such a script ends as any other, with nothing to say about it, though a stream and a reader are open."""
    told = _ran(
        """
client = Client(sys.argv[1])
watching = client.watch_hosts()
print(next(watching).host.name)
ref = client.artifacts.create_from_chunks(ArtifactWrite(), [b"x" * 5_000_000]).ref
reader = client.artifacts.open_reader(ref.artifact_id)
entered = reader.__enter__()
print(len(next(iter(entered))) > 0)
""",
        address,
    )
    assert told == (0, "alpha\nTrue\n", "")


def test_ctrl_c(address: str, portal: BlockingPortal) -> None:
    """It ends what is waited for, at the host too, and the script goes on with its client."""
    portal.call(STAGE.hold, "long")
    text = """
with Client(sys.argv[1]) as client:
    streamer = client.create(Streamer)
    try:
        print("calls", flush=True)
        for reply in streamer.stub(StreamerStub).Follow(StringValue(value="0")):
            pass
    except KeyboardInterrupt:
        print("interrupted", client.reach().name)
        streamer.dispose()
    client.create(Streamer).stub(StreamerStub).Hold(StringValue(value="long"))
"""
    with script(text, address) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "calls\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted alpha\n"
        portal.call(STAGE.reached, "long")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_S)
    portal.call(STAGE.clear)
    assert process.returncode == -signal.SIGINT
    assert err.splitlines()[-1] == "KeyboardInterrupt"


def test_client_closed_inside_a_reader(address: str) -> None:
    """It is a mistake that is told at once, and nothing hangs."""
    code, out, err = _ran(
        """
with Client(sys.argv[1]) as client:
    ref = client.artifacts.create_from_chunks(ArtifactWrite(), [b"x" * 5_000_000]).ref
    with client.artifacts.open_reader(ref.artifact_id) as reader:
        client.close()
        list(reader)
""",
        address,
    )
    assert (code, out) == (1, "")
    assert "CancelledCallError" in err
