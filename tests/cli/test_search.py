"""`paglets search` and `paglets file pull`: what is on other hosts is found, and fetched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.running import Cli, host

pytestmark = pytest.mark.slow

SEARCH = "paglets.examples.mesh_search"


@dataclass(frozen=True)
class Hosts:
    """Alpha and beta search their folders, gamma has none."""

    cli: Cli
    alpha: Path
    beta: Path


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Three hosts with a few files."""
    home = tmp_path_factory.mktemp("home")
    roots = home / "alpha-files", home / "beta-files"
    for root in roots:
        (root / "logs").mkdir(parents=True)
        (root / "logs" / "a.log").write_text(f"one\nan Error of {root.name}\nthree\n")
        (root / "logs" / "b.txt").write_text("an Error in a text\n")
        (root / "binary.log").write_bytes(b"an Error\0\n")
        (root / "link.log").symlink_to("/etc/passwd")
    with ExitStack() as stack:
        alpha, _ = stack.enter_context(host(Cli(home), "alpha", "--allow", SEARCH, "--file-root", str(roots[0])))
        stack.enter_context(host(Cli(home), "beta", "--allow", SEARCH, "--file-root", str(roots[1]), "--join", alpha))
        stack.enter_context(host(Cli(home), "gamma", "--allow", SEARCH, "--join", alpha))
        yield Hosts(Cli(home, alpha), *roots)


def test_grep_finds_lines_on_all_hosts_that_can_look(hosts: Hosts) -> None:
    """And says who could not; of files that are no text, or links, it tells nothing."""
    ran = hosts.cli("search", "grep", "Error of", "--name", "*.log")
    assert sorted(ran.out.splitlines()) == [
        f"alpha:{hosts.alpha}/logs/a.log:2: an Error of alpha-files",
        f"beta:{hosts.beta}/logs/a.log:2: an Error of beta-files",
    ]
    assert ran.code == 1
    assert "gamma: this host reads and writes no files: start it with --file-root" in ran.err
    assert hosts.cli("paglet", "ls", "--json").out == ""


def test_grep_takes_hosts_path_case_and_a_bound(hosts: Hosts) -> None:
    """What is found is JSON on request, one a line."""
    ran = hosts.cli("search", "grep", "-i", "AN ERROR", "logs", "--on", "beta", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.records == [
        {
            "host": "beta",
            "path": str(hosts.beta / "logs" / name),
            "size_bytes": (hosts.beta / "logs" / name).stat().st_size,
            "line_number": number,
            "line": line,
        }
        for name, number, line in (("a.log", 2, "an Error of beta-files"), ("b.txt", 1, "an Error in a text"))
    ]
    assert len(hosts.cli("search", "grep", ".", "--on", "alpha", "--max", "2", "--json").records) == 2
    assert hosts.cli("search", "grep", "an error", "--on", "beta").out == ""


def test_find_shows_files(hosts: Hosts) -> None:
    """By their names, below a folder or not."""
    ran = hosts.cli("search", "find", "*.log", "--on", "alpha", "--on", "beta", "--json")
    assert sorted((found["host"], found["path"]) for found in ran.records) == [
        (name, str(root / path))
        for name, root in (("alpha", hosts.alpha), ("beta", hosts.beta))
        for path in ("binary.log", "logs/a.log")
    ]
    ran = hosts.cli("search", "find", "b.*", "logs", "--on", "beta")
    assert ran.out == f"beta:{hosts.beta}/logs/b.txt 19 B\n"


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["grep", "(", "--on", "alpha"], 67, "is no pattern"),
        (["grep", "x", "/etc", "--on", "alpha"], 1, "is not below a file root"),
        (["grep", "x", "../..", "--on", "alpha"], 1, "is not below a file root"),
        (["find", "*", "--on", "nowhere"], 1, "not online or not visible"),
        (["find", "*", "--max", "0"], 2, "0 is not in the range"),
    ],
)
def test_what_cannot_be_searched_is_said(hosts: Hosts, arguments: list[str], code: int, told: str) -> None:
    """And no paglet is left."""
    ran = hosts.cli("search", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert told in ran.err
    assert hosts.cli("paglet", "ls", "--json").out == ""


def test_search_needs_its_module(tmp_path: Path) -> None:
    """A host that does not allow it says how to."""
    with host(Cli(tmp_path), "lonely") as (address, _):
        ran = Cli(tmp_path, address)("search", "find", "*")
    assert ran.code == 73
    assert f"--allow {SEARCH}" in ran.err


def test_pull_fetches_a_file(hosts: Hosts) -> None:
    """From another host to the one that is asked; a move leaves nothing there."""
    source = hosts.beta / "fetch-me.txt"
    source.write_text("from beta")
    ran = hosts.cli("file", "pull", "fetch-me.txt", "--from", "beta", "--dest", "fetched/")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"copied beta:{source} to alpha:{hosts.alpha}/fetched/fetch-me.txt, 9 B\n"
    assert (hosts.alpha / "fetched" / "fetch-me.txt").read_text() == "from beta"
    refused = hosts.cli("file", "pull", "fetch-me.txt", "--from", "beta", "--dest", "fetched/")
    assert (refused.code, "destination already exists" in refused.err) == (70, True)
    moved = hosts.cli("file", "pull", str(source), "--from", "beta", "--dest", "x", "--mode", "move", "--json")
    assert (moved.code, json.loads(moved.out)["mode"], source.exists()) == (0, "move", False)
    missing = hosts.cli("file", "pull", "fetch-me.txt", "--from", "beta")
    assert (missing.code, missing.out) == (67, "")
    assert hosts.cli("file", "pull", "x", "--from", "nowhere").code == 69
    assert hosts.cli("paglet", "ls", "--json").out == ""


def test_pull_needs_a_file_root_here(hosts: Hosts) -> None:
    """A dry run says what would be done and does nothing."""
    source = hosts.alpha / "dry.txt"
    source.write_text("x")
    ran = hosts.cli("file", "pull", "dry.txt", "--from", "alpha", "--dest", "y", "--dry-run")
    assert ran.code == 0
    assert ran.out.startswith("would copy alpha:")
    assert not (hosts.alpha / "y").exists()
