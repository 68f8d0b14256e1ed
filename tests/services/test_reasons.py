"""The closed list of reasons is what the code raises: nothing else, and nothing that is only listed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from paglet.v1 import errors_pb2
from paglets import errors

ROOT = Path(__file__).parents[2] / "paglets"
LISTED = {name.removeprefix("ERROR_REASON_") for name in errors_pb2.ErrorReason.DESCRIPTOR.values_by_name} - {
    "UNSPECIFIED"
}
FOR_AUTHORS = {"HANDLER_FAILED"}
LEAVES = {
    name for name, leaf in vars(errors).items() if isinstance(leaf, type) and issubclass(leaf, errors.PagletError)
} - {"PagletError"}


def _raised() -> Iterator[tuple[str, str]]:
    """First arguments of our errors, and reasons of everything called like one, with their places."""
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            reason = node.args[0]
            if not name.endswith("Error") or not isinstance(reason, ast.Constant):
                continue
            if isinstance(reason.value, str) and (name in LEAVES or reason.value.isupper()):
                yield reason.value, f"{path.relative_to(ROOT)}:{node.lineno}"


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
