"""`paglets artifact ls`, `update` and `watch`: what is known of artifacts, found, changed and told."""

from __future__ import annotations

import json
import re
import signal
from typing import Any

import pytest

from paglets.values import new_id
from tests.cli.conftest import Mesh
from tests.cli.running import PATIENCE_S

pytestmark = pytest.mark.slow


def put(mesh: Mesh, owner: str, text: str, *options: str) -> str:
    """Puts a small artifact of an owner; its id."""
    (mesh.cli.home / "small.txt").write_text(text)
    done = mesh.cli("artifact", "put", "small.txt", "--owner", owner, *options)
    assert done.code == 0, done.err
    return done.out.strip()


def test_ls_finds_and_sorts(mesh: Mesh) -> None:
    """Labels, prefixes and orders do what they say, alone and together."""
    owner = f"o{new_id()}"
    for text, name, *labels in (
        ("333", "b", "kind=report", "year=2026"),
        ("1", "ba", "kind=log"),
        ("22", "a", "kind=report", "draft="),
    ):
        put(mesh, owner, text, "--name", name, *(word for label in labels for word in ("--label", label)))

    def listed(*options: str) -> list[str]:
        found = mesh.cli("artifact", "ls", "--owner", owner, "--json", *options)
        assert found.code == 0, found.err
        return [record["name"] for record in found.records]

    assert listed("--order", "created") == ["b", "ba", "a"]
    assert listed("--order", "size") == ["ba", "a", "b"]
    assert listed("--order", "name", "--reverse") == ["ba", "b", "a"]
    assert listed("--prefix", "b", "--order", "name") == ["b", "ba"]
    assert listed("--label", "kind=report", "--order", "name") == ["a", "b"]
    assert listed("--label", "kind=report", "--label", "year") == ["b"]
    assert listed("--label", "draft") == ["a"]
    assert listed("--label", "kind=report", "--prefix", "ba") == []
    assert mesh.cli("artifact", "ls", "--order", "colour").code == 2
    assert mesh.cli("artifact", "ls", "--label", "=x").code == 2
    for command in (("ls",), ("put", "-"), ("update", "any")):
        twice = mesh.cli("artifact", *command, "--label", "kind=report", "--label", "kind=letter")
        assert (twice.code, "--label': 'kind' is given twice" in twice.err) == (2, True)


def test_update_changes_what_is_named(mesh: Mesh) -> None:
    """What is named is changed, labels one by one; all else stays."""
    artifact_id = put(mesh, "ann", "x", "--name", "old", "--label", "a=1", "--label", "b=2", "--ttl", "1h")
    before = mesh.cli("artifact", "stat", artifact_id, "--json").record
    options = ("--name", "new", "--label", "c=3", "--label", "a=9", "--unlabel", "b", "--never-expires")
    after = mesh.cli("artifact", "update", artifact_id, *options, "--json").record
    told = {"name": "new", "labels": {"a": "9", "c": "3"}, "expires": None}
    known = {name: value for name, value in before.items() if name not in {"corrupt", "verified"}}
    assert {**known, **told, "etag": after["etag"], "updated": after["updated"]} == after
    assert after["etag"] != before["etag"]
    stat = mesh.cli("artifact", "stat", artifact_id, "--json").record
    assert {**stat, **after} == stat
    packed = ("--content-encoding", "gzip", "--owner-policy", "delete-with-owner")
    more = ("--ttl", "1h", "--owner", "", "--content-type", "text/plain", *packed)
    told_so = mesh.cli("artifact", "update", artifact_id, *more)
    assert (told_so.code, told_so.out) == (0, "")
    last = mesh.cli("artifact", "stat", artifact_id, "--json").record
    assert last["etag"] in told_so.err
    assert (last["owner"], last["content_type"], last["labels"]) == ("", "text/plain", after["labels"])
    assert (last["content_encoding"], last["owner_policy"]) == ("gzip", "delete-with-owner")
    assert last["expires"] > last["updated"]


def test_update_and_rm_of_one_version(mesh: Mesh) -> None:
    """With the etag of an earlier version nothing is done, and the exit code says so."""
    artifact_id = put(mesh, "ann", "x")
    first = mesh.cli("artifact", "stat", artifact_id, "--json").record["etag"]
    second = mesh.cli("artifact", "update", artifact_id, "--name", "n", "--etag", first, "--json").record["etag"]
    for command in (
        ("update", artifact_id, "--name", "m"),
        ("update", artifact_id, "--label", "a=b"),
        ("rm", artifact_id),
    ):
        refused = mesh.cli("artifact", *command, "--etag", first)
        assert (refused.code, refused.out) == (74, "")
        assert second in refused.err
    assert mesh.cli("artifact", "rm", artifact_id, "--etag", second).code == 0
    assert mesh.cli("artifact", "update", artifact_id, "--label", "a=b").code == 69


@pytest.mark.parametrize(
    "options",
    [(), ("--ttl", "1h", "--never-expires"), ("--label", "a=1", "--unlabel", "a"), ("--label", "a"), ("--ttl", "soon")],
)
def test_update_that_cannot_be_meant(mesh: Mesh, options: tuple[str, ...]) -> None:
    """Nothing to change, and what contradicts itself, is a mistake in the command, and nobody is asked."""
    assert mesh.cli("artifact", "update", "any", *options).code == 2


def test_watch_tells_and_goes_on(mesh: Mesh) -> None:
    """Each event is a line with the cursor after it; from there another watch goes on. Ctrl-C ends it."""
    owner = f"o{new_id()}"

    def lines(number: int, *options: str) -> list[dict[str, Any]]:
        with mesh.cli.start("artifact", "watch", "--owner", owner, "--json", *options) as process:
            assert process.stdout is not None
            found = [json.loads(process.stdout.readline())]
            if not options:
                ids.append(put(mesh, owner, "x", "--name", "n"))
                mesh.cli("artifact", "update", ids[0], "--name", "m")
                mesh.cli("artifact", "rm", ids[0])
            found += [json.loads(process.stdout.readline()) for _ in range(number)]
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE_S) == 130
        return found

    ids: list[str] = []
    first, *events = lines(3)
    assert list(first) == ["cursor"]
    told = [(event["event"], event["artifact"]["artifact_id"], event["artifact"]["name"]) for event in events]
    assert told == [("created", ids[0], "n"), ("updated", ids[0], "m"), ("deleted", ids[0], "m")]
    assert all(event["time"] and event["cursor"] for event in events)
    assert lines(2, "--cursor", events[0]["cursor"])[1:] == events[1:]


def test_watch_for_people(mesh: Mesh) -> None:
    """An event is a line on stdout, harmless to a terminal; the cursor is told beside it."""
    with mesh.cli.start("artifact", "watch", "--owner", "eve") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert re.fullmatch(r"watching from [0-9a-f]+-\d+\n", process.stderr.readline())
        artifact_id = put(mesh, "eve", "x", "--name", "a\x1b[31mb")
        words = process.stdout.readline().split()
        assert words[1:] == ["created", artifact_id, "1", "B", "eve", r"a\x1b[31mb"]
        process.terminate()
    assert mesh.cli("artifact", "rm", artifact_id).code == 0


def test_watch_from_what_is_no_cursor(mesh: Mesh) -> None:
    """A cursor that is none, and one of another store, end the watch with the host's answer."""
    assert mesh.cli("artifact", "watch", "--cursor", "x").code == 67
    expired = mesh.cli("artifact", "watch", "--cursor", f"{'0' * 16}-1")
    assert expired.code == 75
    assert "list" in expired.err
