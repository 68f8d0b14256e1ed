"""Whose a paglet is, as journals say: by epochs alone, or not at all."""

from __future__ import annotations

import pytest

from paglet.v1 import rebuild_pb2 as pb
from paglet.v1 import types_pb2
from paglets.directory.contract import PagletRow
from paglets.host.rebuild_plan import Offer, Plan
from paglets.values import PagletState

_HEARD = ("alpha", "beta")


_LEFT, _ENDED = types_pb2.PAGLET_STATE_DEPARTING, types_pb2.PAGLET_STATE_DISPOSED


def _offer(
    host: str,
    epoch: int,
    *,
    target: str = "",
    under_way: bool = False,
    state: types_pb2.PagletState.ValueType = types_pb2.PAGLET_STATE_ACTIVE,
    source: str = "",
    transfer_id: str = "",
) -> Offer:
    entry = pb.JournalEntry(
        paglet_id="p",
        type="shop.Cart",
        epoch=epoch,
        state=state,
        target=target,
        under_way=under_way,
        source=source,
        transfer_id=transfer_id,
    )
    return Offer(host, entry)


def _row(owner: str, epoch: int, state: PagletState = PagletState.ACTIVE) -> PagletRow:
    return PagletRow(paglet_id="p", type="shop.Cart", owner=owner, state=state, epoch=epoch)


def _told(plan: Plan) -> list[tuple[str, list[str]]]:
    return [(pb.RebuildOutcome.Name(one.outcome).rpartition("_")[2], list(one.hosts)) for one in plan.told]


@pytest.mark.parametrize(
    ("offers", "told"),
    [
        ([_offer("alpha", 7)], [("REGISTERED", ["alpha"])]),
        ([_offer("alpha", 7, target="beta"), _offer("beta", 8)], [("REGISTERED", ["beta"])]),
        ([_offer("alpha", 7, target="beta")], [("REGISTERED", ["alpha"])]),
        ([_offer("alpha", 7, target="gamma")], [("UNDECIDED", ["alpha"])]),
        ([_offer("alpha", 7, target="beta", under_way=True)], [("UNDECIDED", ["alpha"])]),
        ([_offer("alpha", 7), _offer("beta", 7)], [("CONFLICT", ["alpha", "beta"])]),
        ([_offer("alpha", 7), _offer("beta", 8, state=_LEFT, target="gamma")], [("UNDECIDED", ["beta"])]),
        ([_offer("beta", 8, state=_LEFT, target="alpha"), _offer("alpha", 9)], [("REGISTERED", ["alpha"])]),
    ],
)
def test_unknown_paglets(offers: list[Offer], told: list[tuple[str, list[str]]]) -> None:
    """The highest epoch has it; equal ones, and journeys to who was not heard, are left alone."""
    plan = Plan.of({"p": offers}, {}, _HEARD)
    assert _told(plan) == told
    registered = [hosts[0] for outcome, hosts in told if outcome == "REGISTERED"]
    assert [row.owner for row in plan.wanted] == registered
    assert list(plan.taken_up) == registered


@pytest.mark.parametrize(
    "offers",
    [
        [_offer("beta", 8, state=_ENDED)],
        [_offer("alpha", 7), _offer("beta", 8, state=_ENDED)],
        [_offer("alpha", 7, state=_LEFT, target="beta"), _offer("beta", 8, state=_ENDED)],
        [_offer("beta", 8, state=_ENDED), _offer("alpha", 8, state=_ENDED)],
    ],
)
def test_ended_paglets(offers: list[Offer]) -> None:
    """The host where it ended is believed: a tombstone is inserted, nobody takes it up, and people are not told."""
    plan = Plan.of({"p": offers}, {}, _HEARD)
    (row,) = plan.wanted
    assert (row.owner, row.state, row.is_unborn) == ("beta", PagletState.DISPOSED, False)
    assert (plan.told, plan.taken_up) == ([], {})


def _making(*, target: str = "beta", transfer_id: str = "t", under_way: bool = False) -> Offer:
    state = types_pb2.PAGLET_STATE_CLONING
    return _offer("alpha", 0, target=target, transfer_id=transfer_id, under_way=under_way, state=state, source="alpha")


def _sealed(*, source: str = "alpha") -> Offer:
    state = types_pb2.PAGLET_STATE_ARRIVING
    return _offer("beta", 8, target="beta", transfer_id="t", state=state, source=source)


def test_clone_that_may_have_been_committed() -> None:
    """Its target has all of it, and its maker has not given it up: it arrives."""
    plan = Plan.of({"p": [_making(), _sealed()]}, {}, _HEARD)
    assert _told(plan) == [("REGISTERED", ["beta"])]
    assert [(row.owner, row.state) for row in plan.wanted] == [("beta", PagletState.ARRIVING)]
    assert (plan.committed["p"].transfer_id, plan.committed["p"].source) == ("t", "alpha")
    assert plan.taken_up == {"alpha": ["p"]}


@pytest.mark.parametrize(
    ("offers", "told"),
    [
        ([_making(under_way=True), _sealed()], [("UNDECIDED", ["beta"])]),
        ([_sealed(source="gamma")], [("UNDECIDED", ["beta"])]),
        ([_making(target="gamma")], [("UNDECIDED", ["alpha"])]),
        ([_making(), _offer("beta", 8)], [("REGISTERED", ["beta"])]),
    ],
)
def test_clone_that_arrives_elsewhere_or_later(offers: list[Offer], told: list[tuple[str, list[str]]]) -> None:
    """Nothing is done while its maker is at work or an end was not heard; one that has arrived is a paglet."""
    plan = Plan.of({"p": offers}, {}, _HEARD)
    assert (_told(plan), plan.committed) == (told, {})


@pytest.mark.parametrize(
    ("offers", "owners"),
    [
        ([_sealed()], ["beta"]),
        ([_making(transfer_id="later"), _sealed()], ["beta"]),
        ([_making(), _offer("beta", 7, state=_ENDED, source="alpha", transfer_id="t")], ["beta"]),
        ([_making()], []),
    ],
)
def test_clone_that_never_was(offers: list[Offer], owners: list[str]) -> None:
    """Its maker has given it up, or its target lacks some of it: a tombstone frees what is staged for it."""
    plan = Plan.of({"p": offers}, {}, _HEARD)
    assert [row.owner for row in plan.wanted if row.state is PagletState.DISPOSED] == owners
    assert (len(plan.wanted), plan.told, plan.committed) == (len(owners), [], {})


def test_clone_of_a_mesh_that_has_lost_nothing() -> None:
    """One that is on its way is nobody's business."""
    row = _row("alpha", 7, PagletState.CLONING)
    plan = Plan.of({"p": [_making(under_way=True), _sealed()]}, {"p": row}, _HEARD)
    assert (plan.told, plan.wanted, plan.taken_up) == ([], [], {})


def test_later_life_of_one_that_ended() -> None:
    """An id that was used again is that of the later life."""
    plan = Plan.of({"p": [_offer("beta", 8, state=_ENDED), _offer("alpha", 9)]}, {}, _HEARD)
    assert _told(plan) == [("REGISTERED", ["alpha"])]


@pytest.mark.parametrize(
    ("row", "told", "taken_up"),
    [
        (_row("alpha", 7), [], {}),
        (_row("alpha", 9), [], {"alpha": ["p"]}),
        (_row("alpha", 9, PagletState.INACTIVE), [], {}),
        (_row("beta", 9), [], {}),
        (_row("beta", 9, PagletState.DISPOSED), [], {}),
        (_row("beta", 3), [("CONFLICT", ["alpha"])], {}),
    ],
)
def test_known_paglets(row: PagletRow, told: list[tuple[str, list[str]]], taken_up: dict[str, list[str]]) -> None:
    """What the directory knows stays; only a journal that is ahead of it is shown."""
    plan = Plan.of({"p": [_offer("alpha", 7)]}, {"p": row}, _HEARD)
    assert (_told(plan), plan.taken_up, plan.wanted) == (told, taken_up, [])
