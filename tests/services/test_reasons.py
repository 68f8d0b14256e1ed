"""The closed list of reasons is what the code raises: nothing else, and nothing that is only listed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from paglet.v1 import errors_pb2

ROOT = Path(__file__).parents[2] / "paglets"
LISTED = {name.removeprefix("ERROR_REASON_") for name in errors_pb2.ErrorReason.DESCRIPTOR.values_by_name} - {
    "UNSPECIFIED"
}
FOR_AUTHORS = {"HANDLER_FAILED"}


def _raised() -> Iterator[tuple[str, str]]:
    """First arguments of everything called like an error, with their places."""
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            reason = node.args[0]
            if name.endswith("Error") and isinstance(reason, ast.Constant) and str(reason.value).isupper():
                yield str(reason.value), f"{path.relative_to(ROOT)}:{node.lineno}"


def _words() -> set[str]:
    """Every text in the code."""
    trees = (ast.parse(path.read_text()) for path in ROOT.rglob("*.py"))
    return {
        node.value
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def test_every_raised_reason_is_listed() -> None:
    """A reason that the proto does not name is raised nowhere."""
    found = list(_raised())
    assert len(found) > 50
    assert [(reason, place) for reason, place in found if reason not in LISTED] == []


def test_every_listed_reason_is_used() -> None:
    """A reason that nothing can send is not promised."""
    assert LISTED - _words() - FOR_AUTHORS == set()
