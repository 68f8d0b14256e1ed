"""Lists: what a query finds, in which order, and pages that stay right while the store changes."""

from __future__ import annotations

import itertools
import random
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from paglets.artifacts.listing import page_statement
from paglets.artifacts.local import LocalArtifactStore
from paglets.artifacts.paging import position_in
from paglets.artifacts.store import (
    ALL_ARTIFACTS,
    ArtifactChanges,
    ArtifactOrder,
    ArtifactQuery,
    ArtifactStore,
    ArtifactWrite,
)
from paglets.digest import Digest
from paglets.errors import InvalidArgumentError, PagletError
from paglets.values import ArtifactRef, new_id
from tests.artifacts.support import Clock, fill, pieces, put, refused

KEYS: dict[ArtifactOrder, Callable[[ArtifactRef], tuple[object, ...]]] = {
    ArtifactOrder.ID: lambda ref: (ref.artifact_id,),
    ArtifactOrder.CREATE_TIME: lambda ref: (ref.created_at, ref.artifact_id),
    ArtifactOrder.SIZE: lambda ref: (ref.size_bytes, ref.artifact_id),
    ArtifactOrder.NAME: lambda ref: (ref.name, ref.artifact_id),
}


async def listed(store: ArtifactStore, query: ArtifactQuery, page_size: int = 1000) -> list[ArtifactRef]:
    """All pages of a list."""
    found: list[ArtifactRef] = []
    token = ""
    while True:
        page = await store.list(query, page_size=page_size, page_token=token)
        assert len(page.refs) <= page_size
        found += page.refs
        token = page.next_token
        if not token:
            return found


async def ids(store: ArtifactStore, query: ArtifactQuery) -> list[str]:
    """What a query finds."""
    return [ref.artifact_id for ref in await listed(store, query)]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("order", ArtifactOrder)
async def test_order(store: ArtifactStore, order: ArtifactOrder, *, descending: bool) -> None:
    """Artifacts come in the order that was asked for, equal ones in that of their ids, however the pages are cut."""
    owner = f"o{new_id()}"
    for name, data in (("b", b"22"), ("a", b"1"), ("", b"333"), ("ä", b"4444"), ("a", b"1"), ("B", b"22"), ("z", b"")):
        await store.create_from_chunks(ArtifactWrite(owner=owner, name=name), pieces(data))
    made = await listed(store, ArtifactQuery(owner=owner))
    wanted = sorted(made, key=KEYS[order], reverse=descending)
    for page_size in (1, 2, 3, 7, 8):
        query = ArtifactQuery(owner=owner, order_by=order, descending=descending)
        assert await listed(store, query, page_size) == wanted


async def test_name_prefix(store: ArtifactStore) -> None:
    """A prefix is text and no pattern, in upper or lower case, and finds what goes on with any character."""
    owner = f"o{new_id()}"
    names = ["a", "a%b", "a_", "ab", "a\U0010ffff", "a\U0010ffffz", "b", "A", "aä", ""]
    for name in names:
        await store.create_from_chunks(ArtifactWrite(owner=owner, name=name), pieces(b""))
    for prefix in ("", "a", "a%", "a_", "a\U0010ffff", "aä", "ac", "A"):
        found = await listed(store, ArtifactQuery(owner=owner, name_prefix=prefix, order_by=ArtifactOrder.NAME))
        assert [ref.name for ref in found] == sorted(name for name in names if name.startswith(prefix)), prefix


async def test_labels(store: ArtifactStore) -> None:
    """All labels must be there with their values; an empty value asks for the key alone."""
    owner = f"o{new_id()}"
    hostile = {"k'": 'v"', "$.a[0]": "\\", "grün": "😀\n"}
    for artifact_id, labels in (("1", {"a": "1", "b": "2"}), ("2", {"a": "2"}), ("3", {"a": ""}), ("4", hostile)):
        write = ArtifactWrite(artifact_id=f"{owner}.{artifact_id}", owner=owner, labels=labels)
        await store.create_from_chunks(write, pieces(b""))
    cases: list[tuple[dict[str, str], str]] = [
        ({}, "1234"),
        ({"a": "1"}, "1"),
        ({"a": ""}, "123"),
        ({"a": "", "b": ""}, "1"),
        ({"a": "1", "b": "3"}, ""),
        ({"a": "b"}, ""),
        ({"1": "a"}, ""),
        *(({key: value}, "4") for key, value in hostile.items()),
        (hostile, "4"),
    ]
    for labels, found in cases:
        wanted = [f"{owner}.{number}" for number in found]
        assert await ids(store, ArtifactQuery(owner=owner, labels=labels)) == wanted, labels


async def test_token_is_of_one_list(store: ArtifactStore) -> None:
    """A token goes on with the query that it came from, and with no other."""
    owner = f"o{new_id()}"
    for _ in range(2):
        await store.create_from_chunks(ArtifactWrite(owner=owner, labels={"a": "1"}), pieces(b"x"))
    queries = [
        ALL_ARTIFACTS,
        ArtifactQuery(owner=owner),
        ArtifactQuery(owner=owner, labels={"a": "1"}),
        ArtifactQuery(owner=owner, labels={"a": ""}),
        *(ArtifactQuery(owner=owner, order_by=order) for order in ArtifactOrder if order is not ArtifactOrder.ID),
        ArtifactQuery(owner=owner, descending=True),
    ]
    tokens = [(await store.list(query, page_size=1)).next_token for query in queries]
    for (one, token), (other, query) in itertools.product(enumerate(tokens), enumerate(queries)):
        if one == other:
            await store.list(query, page_token=token)
            continue
        error = await refused(store.list(query, page_token=token))
        assert (type(error), error.reason) == (InvalidArgumentError, "MALFORMED_REQUEST")
        assert error.field == "page_token"


@pytest.mark.parametrize("order", ArtifactOrder)
async def test_token_that_was_changed(store: ArtifactStore, order: ArtifactOrder) -> None:
    """A token of which a letter is another one is refused, or asks for some page; nothing else comes of it."""
    for name in ("a", "b"):
        await store.create_from_chunks(ArtifactWrite(name=name), pieces(b"x"))
    query = ArtifactQuery(order_by=order)
    token = (await store.list(query, page_size=1)).next_token
    told = set[tuple[str, str]]()
    for place, letter in itertools.product(range(len(token)), "-_zé"):
        try:
            await store.list(query, page_token=token[:place] + letter + token[place + 1 :])
        except PagletError as error:
            told.add((error.reason, error.field))
    assert told == {("MALFORMED_REQUEST", "page_token")}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        (ArtifactQuery(name_prefix="n" * 256), "name_prefix"),
        (ArtifactQuery(name_prefix="a\0"), "name_prefix"),
        (ArtifactQuery(labels={"": "x"}), "labels"),
        (ArtifactQuery(labels={str(number): "" for number in range(65)}), "labels"),
    ],
)
async def test_out_of_bounds(store: ArtifactStore, query: ArtifactQuery, field: str) -> None:
    """What no artifact can have is not looked for."""
    error = await refused(store.list(query))
    assert (type(error), error.reason, error.field) == (InvalidArgumentError, "MALFORMED_REQUEST", field)


@pytest.mark.parametrize("order", ArtifactOrder)
async def test_expired_is_not_listed(local: LocalArtifactStore, clock: Clock, order: ArtifactOrder) -> None:
    """Expiry is exact in every order, before any sweep."""
    kept = await put(local, b"kept")
    await put(local, b"short", ttl_s=10)
    clock.now += 10
    assert await ids(local, ArtifactQuery(order_by=order)) == [kept]


def many(number: int, numbers: random.Random) -> list[ArtifactRef]:
    """Artifacts with few different names, sizes and times, so that the order of ids matters in all of them."""
    digests = [Digest.of(bytes(size)) for size in range(5)]
    return [
        ArtifactRef(
            host="alpha",
            artifact_id=f"{numbers.getrandbits(64):016x}",
            digest=numbers.choice(digests),
            name=f"n{numbers.randrange(7)}",
            owner=f"o{numbers.randrange(3)}",
            created_at=1_600_000_000.0 + numbers.randrange(11) / 4,
        )
        for _ in range(number)
    ]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("order", ArtifactOrder)
async def test_what_stays_comes_once(
    local: LocalArtifactStore, root: Path, seed: int, order: ArtifactOrder, *, descending: bool
) -> None:
    """While others come, change and go between two pages, each artifact that stays as it is comes exactly once."""
    numbers = random.Random(seed)
    refs = many(400, numbers)
    fill(root, refs)
    restless, stable = refs[:40], {ref.artifact_id for ref in refs[40:]}
    query = ArtifactQuery(order_by=order, descending=descending)
    found: list[str] = []
    token = ""
    for _ in range(40):
        page = await local.list(query, page_size=25, page_token=token)
        found += [ref.artifact_id for ref in page.refs]
        token = page.next_token
        if not token:
            break
        if restless:
            await local.delete(restless.pop().artifact_id)
        if restless:
            await local.update(numbers.choice(restless).artifact_id, ArtifactChanges(name=f"n{numbers.randrange(7)}"))
        fill(root, [replace(ref, artifact_id=new_id()) for ref in many(3, numbers)])
    assert not token
    assert sorted(artifact_id for artifact_id in found if artifact_id in stable) == sorted(stable)


KEY_OF_A_START = {
    "PRIMARY KEY": "artifact_id",
    "artifacts_by_time": "(created_at,artifact_id)",
    "artifacts_by_size": "(size,artifact_id)",
    "artifacts_by_name": "(name,artifact_id)",
    "artifacts_of_owner": "artifact_id",
    "artifacts_of_owner_by_time": "(created_at,artifact_id)",
}
PLANS = [
    (ArtifactQuery(), "PRIMARY KEY"),
    (ArtifactQuery(order_by=ArtifactOrder.CREATE_TIME), "artifacts_by_time"),
    (ArtifactQuery(order_by=ArtifactOrder.SIZE), "artifacts_by_size"),
    (ArtifactQuery(order_by=ArtifactOrder.NAME), "artifacts_by_name"),
    (ArtifactQuery(order_by=ArtifactOrder.NAME, name_prefix="n"), "artifacts_by_name"),
    (ArtifactQuery(owner="o1"), "artifacts_of_owner"),
    (ArtifactQuery(owner="o1", order_by=ArtifactOrder.CREATE_TIME), "artifacts_of_owner_by_time"),
]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(("query", "index"), PLANS)
async def test_a_page_is_read_from_an_index(
    local: LocalArtifactStore, root: Path, query: ArtifactQuery, index: str, *, descending: bool
) -> None:
    """The first page and every other begin in an index and follow it: nothing is sorted, nothing is gone through."""
    query = replace(query, descending=descending)
    fill(root, many(200, random.Random(7)))
    token = (await local.list(query, page_size=1)).next_token
    for start in (None, position_in(token, query)):
        statement, values = page_statement(query, start)
        with sqlite3.connect(root / "artifacts.db") as rows:
            plan = rows.execute(f"EXPLAIN QUERY PLAN {statement}", {**values, "now": 0.0, "limit": 100}).fetchall()
        rows.close()
        of_the_pages_rows = ("CORRELATED SCALAR SUBQUERY", "SEARCH b USING INTEGER PRIMARY KEY (rowid=?)")
        (step,) = [row[3] for row in plan if not row[3].startswith(of_the_pages_rows)]
        assert index in step or (start is None and index == "PRIMARY KEY" and step == "SCAN artifacts")
        assert start is None or (step.startswith("SEARCH") and KEY_OF_A_START[index] in step)
