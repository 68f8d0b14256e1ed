"""What every test may ask for: one event loop kind, and a seed that is printed, so that a failure can be repeated."""

import inspect
import random
import signal
from collections.abc import Iterator
from contextlib import nullcontext

import hypothesis
import pytest

from paglets.testing import HostProcess
from tests.forked import ForkServer
from tests.rehearsal import rehearsed

# Helpers whose assertions are to tell what they compared.
pytest.register_assert_rewrite(
    "tests.artifacts.support", "tests.host.support", "tests.host.unharmed", "tests.kill.story", "tests.kill.writers"
)

# No test asserts how long something takes: machines differ, and others use them.
hypothesis.settings.register_profile("paglets", deadline=None)
hypothesis.settings.load_profile("paglets")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--seed`, which repeats an earlier session."""
    parser.addoption("--seed", type=int, help="the session's seed; without it, a new one is drawn")


@pytest.hookimpl(tryfirst=True)  # before hypothesis reads its own seed
def pytest_configure(config: pytest.Config) -> None:
    """Draw the session's seed and hand it to hypothesis, unless that was given one of its own.

    A session in the background of a shell ignores Ctrl-C, and so would the commands that tests start and interrupt.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.option.seed is None:
        config.option.seed = random.SystemRandom().randrange(2**32)
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = str(config.option.seed)


def pytest_report_header(config: pytest.Config) -> str:
    """Say the seed at the top of every session."""
    return f"seed: {config.option.seed}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say the seed again where something failed."""
    if terminalreporter.stats.get("failed") or terminalreporter.stats.get("error"):
        terminalreporter.line(f"repeat this session with --seed {config.option.seed}")


@pytest.fixture(scope="session")
def seed(pytestconfig: pytest.Config) -> int:
    """The session's seed; a test makes its own `random.Random(seed)` from it."""
    return int(pytestconfig.option.seed)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The event loop that coroutine tests run on: the one that grpc.aio knows."""
    return "asyncio"


@pytest.fixture(scope="session")
async def one_loop(anyio_backend: str) -> str:
    """Keeps one event loop for all coroutine tests.

    gRPC hands what comes late to the loop of the call that it belongs to, and fails where that is closed by then.
    """
    return anyio_backend


@pytest.fixture(scope="session", autouse=True)
def fork_server() -> Iterator[ForkServer]:
    """Has hosts forked, where that makes no difference to them, and ends those that are left in the end."""
    with ForkServer() as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(HostProcess, "_spawn", server.spawn)
        yield server


@pytest.fixture(autouse=True)
def _rehearsed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Has every write in the tests' own processes run twice, so that none is there whose second run does less."""
    with nullcontext() if request.node.get_closest_marker("unrehearsed") else rehearsed():
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Has every coroutine test run on the one loop."""
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.fixturenames.insert(0, one_loop.__name__)
