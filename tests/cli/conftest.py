"""Two hosts of one mesh for all tests of a module, and the command line that asks the first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.running import Cli, host

_ALLOW = ("--allow", "paglets.examples.counter", "--allow", "paglets.patterns.file_mobility")


@dataclass(frozen=True, slots=True)
class Mesh:
    """Two hosts: `cli` asks alpha; each has a folder that it may read and write."""

    cli: Cli
    alpha: str
    beta: str
    alpha_files: Path
    beta_files: Path


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """Alpha, and beta, which joined it and says that it is good for something."""
    home = tmp_path_factory.mktemp("home")
    roots = home / "alpha-files", home / "beta-files"
    for root in roots:
        root.mkdir()
    cli = Cli(home)
    with ExitStack() as stack:
        alpha, _ = stack.enter_context(host(cli, "alpha", *_ALLOW, "--file-root", str(roots[0])))
        beta_is = ("--tag", "gpu", "--tag", "fast", "--property", "rack=7", "--property", "site=lab")
        beta, _ = stack.enter_context(
            host(cli, "beta", *_ALLOW, "--file-root", str(roots[1]), "--join", alpha, *beta_is)
        )
        yield Mesh(Cli(home, alpha), alpha, beta, *roots)


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """The command line without any host."""
    return Cli(tmp_path)
