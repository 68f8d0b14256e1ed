"""Rehearsals: each write runs once in vain before it runs for good, as it does when its neighbour in a commit fails."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from paglets.sqlite import Database


@contextmanager
def rehearsed() -> Generator[None, None, None]:
    """Has every database of this process rehearse its commits: what a write keeps beside its rows would show twice."""
    commit: Callable[[Database, list[Any]], None] = vars(Database)["_commit"]

    def rehearse_and_commit(self: Database, batch: list[Any]) -> None:
        connection: sqlite3.Connection = vars(self)["_connection"]
        try:
            connection.execute("BEGIN IMMEDIATE")
            for job in batch:
                job.run(connection)
        except sqlite3.Error:
            pass  # and will be told when it happens again
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        commit(self, batch)

    with mock.patch.object(Database, "_commit", rehearse_and_commit):
        yield
