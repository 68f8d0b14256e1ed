"""`paglets artifact put` and `get` of several files, folders and pipes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from paglets.values import new_id
from tests.cli.conftest import Mesh
from tests.cli.running import Cli, Ran

pytestmark = pytest.mark.slow


@pytest.fixture
def cli(mesh: Mesh, tmp_path: Path) -> Cli:
    """The command line in a folder of its own, asking alpha."""
    return Cli(tmp_path, mesh.alpha)


@pytest.fixture
def owner() -> str:
    """Somebody of whom there is nothing."""
    return f"o{new_id()}"


def put(cli: Cli, *words: str) -> list[str]:
    """Puts files; the ids of their artifacts."""
    done = cli("artifact", "put", *words)
    assert done.code == 0, done.err
    return done.out.split()


def errors(ran: Ran) -> list[tuple[str, str]]:
    """The reasons of all errors that were told in JSON, and what each is about."""
    found = [json.loads(line)["error"] for line in ran.err.splitlines()]
    return [(error["reason"], error.get("about", "")) for error in found]


def test_files_and_folders_at_once(cli: Cli, owner: str) -> None:
    """All files of folders, sorted, named by their paths from the folder on; links and special files are left out."""
    folder = cli.home / "papers"
    (folder / "b" / "deep").mkdir(parents=True)
    (folder / "b" / "deep" / "x.txt").write_text("x")
    (folder / "b" / "a.json").write_text("{}")
    (folder / "a.bin").write_text("a")
    (cli.home / "outside").mkdir()
    (cli.home / "outside" / "secret").write_text("secret")
    (folder / "link").symlink_to(cli.home / "outside")
    (folder / "b" / "file-link").symlink_to(cli.home / "outside" / "secret")
    os.mkfifo(folder / "pipe")
    (cli.home / "alone.txt").write_text("alone")
    done = cli("artifact", "put", "alone.txt", "papers", "--owner", owner, "--json")
    assert done.code == 0, done.err
    names = ["alone.txt", "papers/a.bin", "papers/b/a.json", "papers/b/deep/x.txt"]
    assert [found["name"] for found in done.records] == names
    assert [found["path"] for found in done.records] == names
    for skipped in ("papers/link", "papers/b/file-link", "papers/pipe"):
        assert f"{skipped} is skipped" in done.err
    assert len(cli("artifact", "ls", "--owner", owner, "--json").records) == len(names)


def test_folder_that_is_named_by_a_dot(cli: Cli) -> None:
    """The folder one is in is named as it is called above."""
    (cli.home / "x.txt").write_text("x")
    done = cli("artifact", "put", ".", "--json").records
    assert [found["name"] for found in done] == [f"{cli.home.name}/x.txt"]
    (cli.home / "below").mkdir()
    ran = Cli(cli.home / "below", cli.address)("artifact", "put", "..", "--json").records
    assert ran[0]["name"] == f"{cli.home.name}/x.txt"


def test_path_that_is_longer_than_names_may_be(cli: Cli) -> None:
    """A file that lies deep is named by as much of its path's end as fits."""
    parts = [letter * 100 for letter in "abcd"]
    folder = cli.home.joinpath(*parts)
    folder.mkdir(parents=True)
    (folder / "x.txt").write_text("x")
    done = cli("artifact", "put", parts[0], "--json")
    assert done.code == 0, done.err
    assert done.record["name"] == "/".join([*parts[2:], "x.txt"])
    assert done.record["path"] == "/".join([*parts, "x.txt"])


def test_one_that_fails_does_not_stop_the_others(cli: Cli, owner: str) -> None:
    """Each failure is told with its file; the others are stored, and the first failure is the exit code."""
    for name in ("a", "c"):
        (cli.home / name).write_text(name)
    os.mkfifo(cli.home / "b")
    ran = cli("artifact", "put", "a", "b", "c", "--owner", owner)
    assert ran.code == 67
    assert "Error: b: " in ran.err
    assert "2 of 3 stored, 1 failed" in ran.err
    assert "the same command goes on" in ran.err
    assert len(ran.out.split()) == 2
    again = cli("artifact", "put", "a", "b", "c", "--owner", owner, "--json")
    assert errors(again) == [("SOURCE_NOT_A_FILE", "b")]
    assert [found["outcome"] for found in again.records] == ["already-committed", "already-committed"]
    assert len(cli("artifact", "ls", "--owner", owner, "--json").records) == 2


def test_empty_folder(cli: Cli) -> None:
    """There is nothing to do, which is said and no error."""
    (cli.home / "empty").mkdir()
    ran = cli("artifact", "put", "empty")
    assert (ran.code, ran.out) == (0, "")
    assert "no files" in ran.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-", "a"], "alone"),
        (["a", "b", "--name", "x"], "one file"),
        (["folder", "--name", "x"], "one file"),
        (["a", "b", "--id", "x"], "one file"),
        ([], "Missing argument"),
    ],
)
def test_wrong_usage_of_put(cli: Cli, words: list[str], told: str) -> None:
    """What cannot be meant is refused before anything is stored."""
    (cli.home / "folder").mkdir()
    for name in ("a", "b"):
        (cli.home / name).write_text(name)
    ran = cli("artifact", "put", *words)
    assert (ran.code, ran.out) == (2, "")
    assert told in ran.err


def test_what_is_said_of_an_artifact(cli: Cli) -> None:
    """Id, type, encoding and policy are kept; the type is guessed by the name, unless the bytes are packed."""
    (cli.home / "page.html").write_text("x")
    (cli.home / "page.html.gz").write_text("x")
    artifact_id = new_id()
    words = ("--id", artifact_id, "--content-encoding", "br", "--owner", "ann", "--owner-policy", "delete-with-owner")
    found = cli("artifact", "put", "page.html", *words, "--json").record
    told = {"artifact_id": artifact_id, "content_type": "text/html", "content_encoding": "br"}
    assert found == {**found, **told, "owner_policy": "delete-with-owner"}
    packed, plain = cli("artifact", "put", "page.html.gz", "page.html", "--json").records
    assert (packed["content_type"], plain["content_type"]) == ("", "text/html")
    assert cli("artifact", "put", "page.html", "--content-type", "a/b", "--json").record["content_type"] == "a/b"
    assert cli("artifact", "put", "page.html", "--content-type", "", "--json").record["content_type"] == ""


def test_same_again_is_another_artifact(cli: Cli) -> None:
    """A put that ended well is over: the same command makes another artifact."""
    (cli.home / "x").write_text("x")
    first, second, third = put(cli, "x", "x") + put(cli, "x")
    assert first == second, "the same file twice in one command is one upload"
    assert third != first


def test_get_several(cli: Cli) -> None:
    """Several artifacts come into a folder under their names; one of the same name comes by its id."""
    for name in ("a.txt", "b.txt"):
        (cli.home / name).write_text(name)
    first, second = put(cli, "a.txt", "b.txt")
    (third,) = put(cli, "b.txt", "--name", "a.txt")
    got = cli("artifact", "get", first, second, third, "-o", "new/out", "--json")
    assert got.code == 0, got.err
    assert [found["path"] for found in got.records] == ["new/out/a.txt", "new/out/b.txt", f"new/out/{third}"]
    assert (cli.home / "new" / "out" / third).read_text() == "b.txt"
    (cli.home / "there").mkdir()
    assert cli("artifact", "get", first, second, "there").code == 0
    assert sorted(path.name for path in (cli.home / "there").iterdir()) == ["a.txt", "b.txt"]
    assert cli("artifact", "get", first, "there", "--force").code == 0


def test_get_goes_on_after_a_failure(cli: Cli) -> None:
    """What is not there, or would replace a file, is told; the others come, and the first failure is the exit code."""
    for name in ("a", "b"):
        (cli.home / name).write_text(name)
    first, second = put(cli, "a", "b")
    out = cli.home / "out"
    out.mkdir()
    (out / "a").write_text("old")
    ran = cli("artifact", "get", "no-such", first, second, "out", "--json")
    assert ran.code == 69
    assert errors(ran) == [("ARTIFACT_NOT_FOUND", "no-such"), ("DESTINATION_EXISTS", first)]
    assert (out / "a").read_text() == "old"
    assert (out / "b").read_text() == "b"
    forced = cli("artifact", "get", "no-such", first, second, "out", "--force")
    assert "2 of 3 fetched, 1 failed" in forced.err
    assert (out / "a").read_text() == "a"


@pytest.mark.parametrize(
    ("words", "told"),
    [(["a", "b", "-"], "one artifact at a time"), (["a", "b", "c"], "no folder"), (["-", "a"], "one artifact at")],
)
def test_wrong_usage_of_get(cli: Cli, words: list[str], told: str) -> None:
    """Several artifacts need a folder."""
    ran = cli("artifact", "get", *words)
    assert (ran.code, ran.out) == (2, "")
    assert told in ran.err


def test_ranges(cli: Cli) -> None:
    """A range comes to standard output or into a file, and is said to be unproven, unless it is the whole."""
    (cli.home / "x").write_text("0123456789")
    (artifact_id,) = put(cli, "x")
    some = cli.process("artifact", "get", artifact_id, "-", "--range", "2:3")
    assert (some.code, some.out) == (0, "234")
    assert "unproven" in some.err
    assert cli.process("artifact", "get", artifact_id, "-", "--range", "7").out == "789"
    whole = cli("artifact", "get", artifact_id, "whole", "--range", "0:10", "--json").record
    assert whole["proven"] is True
    part = cli("artifact", "get", artifact_id, "part", "--range", "4:2", "--json").record
    assert part["proven"] is False
    assert (cli.home / "part").read_text() == "45"
    past = cli("artifact", "get", artifact_id, "past", "--range", "8:5")
    assert (past.code, past.out) == (75, "")
    assert "paglets artifact stat" in past.err
    assert not (cli.home / "past").exists()
    for wrong in ("x", "1:0", "none", "1:"):
        assert cli("artifact", "get", artifact_id, "past", "--range", wrong).code == 2
