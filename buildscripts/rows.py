#!/usr/bin/env python3
"""Writes tests/README.md: what is promised, row by row, and the tests that hold it; or checks that it is up to date.

It must never import anything but the standard library.
"""

import argparse
import re
import sys
import tomllib

from environment import ROOT

TESTS = ROOT / "tests"
ROWS = TESTS / "rows.toml"
TABLE = TESTS / "README.md"
TEST = re.compile(r"^(?:async )?def (test_([a-z]+)_(\d+)(?:_\w+)?)\(", re.MULTILINE)

HEAD = """# What is promised, and the tests that hold it

Written by `buildscripts/rows.py` from `rows.toml` and the names of the tests: a test named `test_task_3_...` holds the
row TASK-3.

| row | promise | tests |
|---|---|---|
"""


def main() -> int:
    """Do what the command line asks; 1 when a check found something."""
    parser = argparse.ArgumentParser(description="Write tests/README.md from tests/rows.toml.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the table is not up to date")
    asked = parser.parse_args()
    rows, tests = read_rows(), read_tests()
    bare = [row for row in rows if row not in tests]
    for row in bare:
        print(f"rows: no test holds {row}: {rows[row]}")
    table = HEAD + "".join(f"| {row} | {rows[row]} | {'<br>'.join(tests.get(row, ()))} |\n" for row in rows)
    if not asked.check:
        TABLE.write_text(table)
        print(f"rows: {TABLE.relative_to(ROOT)} has {len(rows)} rows and {sum(map(len, tests.values()))} tests")
    elif not TABLE.exists() or TABLE.read_text() != table:
        print(f"rows: {TABLE.relative_to(ROOT)} is out of date; run buildscripts/rows.py and commit it")
        return 1
    return 1 if bare else 0


def read_rows() -> dict[str, str]:
    """The promises by their rows, e.g. TASK-3."""
    found = tomllib.loads(ROWS.read_text())
    return {f"{kind}-{number}": promise for kind, rows in found.items() for number, promise in rows.items()}


def read_tests() -> dict[str, list[str]]:
    """The tests by the rows that they hold, as `path::name`."""
    kinds = {row.partition("-")[0] for row in read_rows()}
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for name, kind, number in TEST.findall(path.read_text()):
            if kind.upper() in kinds:
                place = f"`{path.relative_to(TESTS)}::{name}`"
                found.setdefault(f"{kind.upper()}-{number}", []).append(place)
    unknown = found.keys() - read_rows().keys()
    if unknown:
        sys.exit(f"rows: tests name rows that are not in {ROWS.relative_to(ROOT)}: {', '.join(sorted(unknown))}")
    return found


if __name__ == "__main__":
    sys.exit(main())
