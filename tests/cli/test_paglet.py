"""`paglets paglet` and `paglets op`: a paglet from its creation to its end, and calls without its stub."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Mesh

pytestmark = pytest.mark.slow

COUNTER = "paglets.examples.counter.Counter"
ADD = "paglet.examples.counter.v1.CounterService/Add"
GET = "paglet.examples.counter.v1.CounterService/Get"


def test_life_of_a_paglet(mesh: Mesh) -> None:
    """Created with a state, called, moved, called there, disposed of; each told as JSON."""
    created = mesh.cli("paglet", "create", COUNTER, "--id", "life", "--state", '{"value": 5}', "--json").record
    assert (created["paglet_id"], created["host"], created["state"]) == ("life", "alpha", "active")
    assert created["services"] == ["paglet.examples.counter.v1.CounterService"]
    assert mesh.cli("op", "call", "life", ADD, '{"amount": 2}', "--json").record == {"value": "7"}
    moved = mesh.cli("paglet", "dispatch", "life", "beta", "--json").record
    assert (moved["host"], moved["address"], moved["epoch"] > created["epoch"]) == ("beta", mesh.beta, True)
    assert mesh.cli("op", "call", "life", GET, "--json").record == {"value": "7"}
    assert mesh.cli("paglet", "dispose", "life", "--json").record == {"paglet_id": "life", "disposed": True}
    gone = mesh.cli("paglet", "show", "life")
    assert (gone.code, gone.out) == (69, "")
    assert "PAGLET_NOT_FOUND" in gone.err
    assert "paglets paglet ls" in gone.err


def test_operations_are_listed(mesh: Mesh) -> None:
    """What a paglet answers, also an inactive one of another host, and what a type does; as JSON and as a table."""
    assert mesh.cli("paglet", "create", COUNTER, "--id", "listed").code == 0
    assert mesh.cli("paglet", "dispatch", "listed", "beta").code == 0
    assert mesh.cli("paglet", "deactivate", "listed").code == 0
    records = [json.loads(line) for line in mesh.cli("op", "ls", "listed", "--json").out.splitlines()]
    add, get = records
    assert add == {
        "operation": ADD,
        "request": "paglet.examples.counter.v1.AddRequest",
        "reply": "paglet.examples.counter.v1.AddResponse",
        "client_streaming": False,
        "server_streaming": False,
        "idempotency": "unspecified",
    }
    assert (get["operation"], get["idempotency"]) == (GET, "no_side_effects")
    assert mesh.cli("paglet", "show", "listed", "--json").record["state"] == "inactive"
    of_type = mesh.cli("op", "ls", "--type", COUNTER)
    assert [line.split()[0] for line in of_type.out.splitlines()[1:]] == [ADD, GET]
    assert "unspecified" not in of_type.out
    for wrong in (("op", "ls"), ("op", "ls", "listed", "--type", COUNTER)):
        assert mesh.cli(*wrong).code == 2
    assert mesh.cli("op", "ls", "nobody").code == 69
    assert mesh.cli("paglet", "dispose", "listed").code == 0


def test_people_get_the_id_and_a_sentence(mesh: Mesh) -> None:
    """For people stdout of `create` is the id alone; what else there is to say goes to stderr."""
    made = mesh.cli("paglet", "create", COUNTER)
    paglet_id = made.out.strip()
    assert (made.code, made.err) == (0, "")
    shown = mesh.cli("paglet", "show", paglet_id)
    assert f"id        {paglet_id}" in shown.out.splitlines()
    assert f"host      alpha at {mesh.alpha}" in shown.out.splitlines()
    choosy = mesh.cli("paglet", "dispatch", paglet_id, "beta", "--require-type", COUNTER, "--require-type", "shop.Cart")
    assert (choosy.code, choosy.out) == (73, "")
    assert "shop.Cart" in choosy.err
    moved = mesh.cli("paglet", "dispatch", paglet_id, "beta", "--deadline", "30s", "--retries", "2")
    assert (moved.out, moved.err) == ("", f"{paglet_id} is active on beta\n")
    back = mesh.cli("paglet", "retract", paglet_id, "--json").record
    assert (back["host"], back["state"]) == ("alpha", "active")
    cloned = mesh.cli("paglet", "clone", paglet_id, "beta")
    clone = cloned.out.strip()
    assert (cloned.code, cloned.err, clone != paglet_id) == (0, "", True)
    assert mesh.cli("paglet", "show", clone, "--json").record["host"] == "beta"
    at_home = mesh.cli("paglet", "clone", paglet_id, "--json").record
    assert (at_home["host"], at_home["state"]) == ("alpha", "active")
    for made in (clone, str(at_home["paglet_id"])):
        assert mesh.cli("paglet", "dispose", made).code == 0
    ended = mesh.cli("paglet", "dispose", paglet_id)
    assert (ended.code, ended.out, ended.err) == (0, "", f"{paglet_id} is disposed of\n")


def test_moves_may_require_tags(mesh: Mesh) -> None:
    """A host that lacks a tag gets neither the paglet nor a clone, and it is said which; one that has them all does."""
    assert mesh.cli("paglet", "create", COUNTER, "--id", "choosy").code == 0
    wanted = ("--require-tag", "gpu", "--require-tag", "fast")
    for verb in ("dispatch", "clone"):
        lacking = mesh.cli("paglet", verb, "choosy", "beta", *wanted, "--require-tag", "large")
        assert (lacking.code, lacking.out) == (73, "")
        assert "large" in lacking.err
        assert "[HOST_UNSUITABLE]" in lacking.err
        wrong = mesh.cli("paglet", verb, "choosy", "beta", "--require-tag", "No Tag")
        assert (wrong.code, "required_tags" in wrong.err) == (67, True)
    clone = mesh.cli("paglet", "clone", "choosy", "beta", *wanted, "--json").record
    moved = mesh.cli("paglet", "dispatch", "choosy", "beta", *wanted, "--json").record
    assert (clone["host"], moved["host"]) == ("beta", "beta")
    assert mesh.cli("paglet", "retract", "choosy", *wanted).code == 73
    for made in ("choosy", str(clone["paglet_id"])):
        assert mesh.cli("paglet", "dispose", made).code == 0


def test_ls_filters_by_host_and_type(mesh: Mesh) -> None:
    """Paglets are listed in the order of their ids, those of one host and type only where asked."""
    for name in ("ls-a", "ls-b"):
        assert mesh.cli("paglet", "create", COUNTER, "--id", name).code == 0
    assert mesh.cli("paglet", "dispatch", "ls-b", "beta").code == 0
    everywhere = [record["paglet_id"] for record in mesh.cli("paglet", "ls", "--json").records]
    assert everywhere == ["ls-a", "ls-b"]
    on_beta = mesh.cli("paglet", "ls", "--host", "beta", "--type", COUNTER)
    assert [line.split()[:4] for line in on_beta.out.splitlines()[1:]] == [["ls-b", COUNTER, "beta", "active"]]
    assert mesh.cli("paglet", "ls", "--type", "no.Such", "--json").out == ""
    for name in ("ls-a", "ls-b"):
        assert mesh.cli("paglet", "dispose", name).code == 0


def test_state_comes_from_a_file_or_standard_input(mesh: Mesh) -> None:
    """`@FILE` and `-` stand for what they hold."""
    (mesh.cli.home / "state.json").write_text('{"value": 41}')
    assert mesh.cli("paglet", "create", COUNTER, "--id", "from-file", "--state", "@state.json").code == 0
    assert mesh.cli("paglet", "create", COUNTER, "--id", "from-stdin", "--state", "-", given='{"value": 42}').code == 0
    assert mesh.cli("op", "call", "from-file", GET, "--json").record == {"value": "41"}
    assert mesh.cli("op", "call", "from-stdin", GET, "-", "--json", given="{}").record == {"value": "42"}
    assert mesh.cli("paglet", "create", COUNTER, "--state", "@nowhere.json").code == 1
    for name in ("from-file", "from-stdin"):
        assert mesh.cli("paglet", "dispose", name).code == 0


def test_refusals_have_their_codes_and_say_what_to_do(mesh: Mesh) -> None:
    """Each refusal of a host is 64 + its gRPC code, with a sentence, and a next step where there is one."""
    assert mesh.cli("paglet", "create", COUNTER, "--id", "taken").code == 0
    expected = [
        (["paglet", "create", COUNTER, "--id", "taken"], 70, "taken"),
        (["paglet", "create", COUNTER, "--id", "Not An Id"], 67, "[a-z0-9]"),
        (["paglet", "create", COUNTER, "--state", '{"valeu": 1}'], 67, "valeu"),
        (["paglet", "create", COUNTER, "--state", '{"value": 1, "value": 2}'], 67, "'value' is given twice"),
        (["op", "call", "Not An Id", GET], 67, "[a-z0-9]"),
        (["paglet", "create", "shop.Cart"], 73, "start it with --allow shop"),
        (["paglet", "create", "Counter"], 73, f"did you mean {COUNTER}?"),
        (["paglet", "dispatch", "taken", "gamma"], 69, "paglets mesh ls"),
        (["paglet", "dispose", "absent"], 69, "absent"),
    ]
    for arguments, code, told in expected:
        ran = mesh.cli(*arguments)
        assert (ran.code, ran.out) == (code, ""), arguments
        assert told in ran.err, ran.err
        assert "Traceback" not in ran.err
    assert mesh.cli("paglet", "dispose", "taken").code == 0


def test_call_with_a_request_id_runs_once(mesh: Mesh) -> None:
    """The same request id again is answered as before, and counts once."""
    assert mesh.cli("paglet", "create", COUNTER, "--id", "once").code == 0
    request_id = "6f1c2f60-0000-4000-8000-000000000001"
    call = ("op", "call", "once", ADD, '{"amount": 2}', "--json", "--request-id", request_id)
    assert mesh.cli(*call).record == {"value": "2"}
    assert mesh.cli(*call).record == {"value": "2"}
    assert mesh.cli("op", "call", "once", GET, "--json").record == {"value": "2"}
    assert mesh.cli("paglet", "dispose", "once").code == 0


def test_post_is_run_once(mesh: Mesh) -> None:
    """`op post` prints the id of the post, which is the same for the same request id, and does not wait."""
    assert mesh.cli("paglet", "create", COUNTER, "--id", "posted").code == 0
    first = mesh.cli("op", "post", "posted", ADD, '{"amount": 2}', "--request-id", "r-1").out.strip()
    assert mesh.cli("op", "post", "posted", ADD, '{"amount": 2}', "--request-id", "r-1", "--json").record == {
        "post_id": first
    }
    assert mesh.cli("op", "call", "posted", ADD, '{"amount": 3}', "--json").record == {"value": "5"}
    assert mesh.cli("op", "post", "posted", ADD, '{"amount": "x"}').code == 2
    assert mesh.cli("paglet", "dispose", "posted").code == 0


def test_call_for_people_is_indented(mesh: Mesh) -> None:
    """Without --json the reply is the same JSON over several lines, with fields that are zero."""
    assert mesh.cli("paglet", "create", COUNTER, "--id", "pretty").code == 0
    ran = mesh.cli("op", "call", "pretty", GET)
    assert ran.out == '{\n  "value": "0"\n}\n'
    assert mesh.cli("paglet", "dispose", "pretty").code == 0


def test_wrong_calls_say_what_there_is(mesh: Mesh) -> None:
    """An unknown service or rpc names those there are; JSON that does not fit names the field."""
    assert mesh.cli("paglet", "create", COUNTER, "--id", "wrong").code == 0
    expected = [
        (["no.such.Service/Add"], 76, "paglet.examples.counter.v1.CounterService"),
        (["paglet.examples.counter.v1.CounterService/Nope"], 76, "Add, Get"),
        ([ADD, '{"amoun": 1}'], 2, "amoun"),
        ([ADD, "{"], 2, "AddRequest"),
        ([ADD, "[]"], 2, "JSON object"),
        ([ADD, "null"], 2, "JSON object"),
        ([ADD, '{"amount": "9223372036854775807"}'], 0, ""),
        ([ADD, '{"amount": 1}'], 67, "64 bits"),
    ]
    for arguments, code, told in expected:
        ran = mesh.cli("op", "call", "wrong", *arguments)
        assert ran.code == code, ran.err
        assert told in ran.err
        in_json = mesh.cli("op", "call", "wrong", *arguments, "--json")
        assert in_json.code == code or not code
        assert not code or told in json.loads(in_json.err)["error"]["message"]
    assert mesh.cli("paglet", "dispose", "wrong").code == 0
    assert mesh.cli("op", "call", "wrong", GET).code == 69


def test_call_of_a_pattern_with_any_inside(mesh: Mesh) -> None:
    """A request with an Any, and a reply with one, are read and written by what the paglet's host tells of the type."""
    carrier = "paglets.patterns.file_mobility.SingleFileTransferPaglet"
    assert mesh.cli("paglet", "create", carrier, "--id", "carrier").code == 0
    (mesh.alpha_files / "small.txt").write_text("small")
    request = {
        "request": {
            "@type": "type.googleapis.com/paglet.v1.FileTransferRequest",
            "source_path": str(mesh.alpha_files / "small.txt"),
            "target_host": "beta",
            "dry_run": True,
        }
    }
    started = mesh.cli("op", "call", "carrier", "paglet.v1.TaskService/Start", json.dumps(request), "--json")
    assert started.code == 0, started.err
    assert started.record["task"]["request"]["target_host"] == "beta"
    waited = mesh.cli("op", "call", "carrier", "paglet.v1.TaskService/Wait", '{"timeout": "10s"}', "--json").record
    assert waited["task"]["result"]["@type"].endswith("paglet.v1.FileTransferResult")
    assert waited["task"]["result"]["size_bytes"] == "5"
    assert mesh.cli("paglet", "dispose", "carrier").code == 0


def test_rest_and_back(mesh: Mesh) -> None:
    """A paglet is laid down with options that say what brings it back, its state is read, and it is brought back."""
    mesh.cli("paglet", "create", COUNTER, "--id", "sleeper", "--state", '{"value":7}')
    laid = mesh.cli("paglet", "deactivate", "sleeper", "--keep-on-message", "--after", "1h", "--json").record
    assert laid["state"] == "inactive"
    assert json.loads(mesh.cli("paglet", "state", "sleeper").out)["value"] == 7
    assert mesh.cli("paglet", "show", "sleeper", "--json").record["state"] == "inactive"
    back = mesh.cli("paglet", "activate", "sleeper")
    assert "sleeper is active on alpha" in back.err
    both = mesh.cli("paglet", "deactivate", "sleeper", "--at", "2030-01-31T12:00:00Z", "--after", "1h")
    assert (both.code, "not both" in both.err) == (2, True)
    assert mesh.cli("paglet", "deactivate", "sleeper", "--at", "soon").code == 2
    assert mesh.cli("paglet", "activate", "nobody").code == 69
    assert mesh.cli("paglet", "dispose", "sleeper").code == 0


def test_dead_letters(mesh: Mesh) -> None:
    """A post that fails is listed with why, replayed, and dropped."""
    files = "paglets.patterns.file_mobility.SingleFileTransferPaglet"
    assert mesh.cli("paglet", "create", files, "--id", "failing").code == 0
    post_id = mesh.cli("op", "post", "failing", "paglet.v1.TaskService/Start").out.strip()

    def listed(count: int) -> list[dict[str, object]]:
        lines: list[str] = []
        for _ in range(100):
            lines = mesh.cli("op", "dead", "ls", "failing", "--json").out.splitlines()
            if len(lines) == count:
                break
        return [json.loads(line) for line in lines]

    (record,) = listed(1)
    assert (record["post_id"], record["reason"], record["failures"]) == (post_id, "MALFORMED_REQUEST", 3)
    assert "MALFORMED_REQUEST" in mesh.cli("op", "dead", "ls", "failing").out
    assert mesh.cli("op", "dead", "replay", "failing", "--all", "--json").record == {"replayed": [post_id]}
    listed(1)
    assert mesh.cli("op", "dead", "drop", "failing").code == 2
    assert mesh.cli("op", "dead", "drop", "failing", post_id).err == "dropped 1 dead letters\n"
    assert mesh.cli("op", "dead", "ls", "failing", "--json").out == ""
    assert mesh.cli("paglet", "dispose", "failing").code == 0


def test_why_tells_the_causes(mesh: Mesh) -> None:
    """The history of a paglet, as a table for people, a line an event for programs, also when it is gone."""
    assert mesh.cli("paglet", "create", COUNTER, "--id", "traveller").code == 0
    assert mesh.cli("paglet", "dispatch", "traveller", "beta").code == 0
    lines = mesh.cli("paglet", "why", "traveller").out.splitlines()
    assert [line.split()[2] for line in lines[1:]] == ["create", "depart", "commit", "arrive"]
    assert "to beta" in lines[2]
    assert "from alpha" in lines[3]
    assert mesh.cli("paglet", "dispose", "traveller").code == 0
    records = mesh.cli("paglet", "why", "traveller", "--json").records
    assert [(record["cause"], record["host"]) for record in records][-1] == ("dispose", "beta")
    assert mesh.cli("paglet", "why", "nobody").code == 69
