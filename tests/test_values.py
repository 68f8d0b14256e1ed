"""Ids: what follows from a request, and what lies together."""

from __future__ import annotations

import uuid

from paglets.values import check_id, created_id, derived_id, new_id


def test_ids_of_later_milliseconds_sort_after_earlier_ones() -> None:
    """Rows that come one after the other lie together."""
    moments = [0.0, 0.001, 1.0, 1_700_000_000.0, 1_700_000_000.001]
    ids = [new_id(now) for now in moments]
    assert ids == sorted(ids)
    assert all(check_id(found, "id") == found and len(found) == 32 for found in ids)
    assert len({new_id(1.0) for _ in range(1000)}) == 1000


def test_a_created_paglet_keeps_the_time_of_its_request() -> None:
    """So paglets that are created together lie together, too."""
    request_id = new_id(1_700_000_000.0)
    assert created_id(request_id) == created_id(request_id)
    assert created_id(request_id)[:12] == request_id[:12]
    assert created_id(request_id) != request_id


def test_requests_that_differ_in_anything_create_different_paglets() -> None:
    """Also those of one millisecond."""
    beginning = "0" * 12
    assert created_id(beginning + "0" * 20) != created_id(beginning + "0" * 19 + "1")


def test_a_created_id_is_well_formed_whatever_a_client_calls_its_requests() -> None:
    """A UUID as text counts as one, anything else is hashed."""
    as_text = str(uuid.UUID("0192F0C4-AAAA-7BBB-8CCC-DDDDEEEEFFFF"))
    for request_id in (as_text, as_text.upper(), "r", "Order 17/ü", "f" * 33, "0" * 128):
        paglet_id = created_id(request_id)
        assert check_id(paglet_id, "paglet_id") == paglet_id
        assert len(paglet_id) == 32
    assert created_id(as_text).startswith("0192f0c4aaaa")
    assert created_id("r") == derived_id("create", "r")
