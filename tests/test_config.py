"""What a host is like that nobody has given other settings: figures that users build on."""

from __future__ import annotations

from pathlib import Path

from paglets.config import HostSettings, ResidentLifecycle, ResidentServiceSpec

KIB, DAY_S = 1024, 24 * 3600.0


def test_defaults_of_the_store() -> None:
    """1 GiB an artifact, 10 GiB a host, and a day for a partial that rests."""
    store = HostSettings(name="alpha", data=Path()).store
    assert (store.max_artifact_bytes, store.quota_bytes) == (KIB**3, 10 * KIB**3)
    assert (store.owner_quota_bytes, store.partial_ttl_s) == (None, DAY_S)


def test_defaults_of_a_host() -> None:
    """Half a minute to become quiet and to answer, ten seconds to end and to be missed, and room for so much."""
    host = HostSettings(name="alpha", data=Path())
    assert host.listen == "127.0.0.1:7600"
    assert not host.insecure
    assert (host.quiesce_s, host.unary_deadline_s) == (30.0, 30.0)
    assert (host.lease_s, host.drain_s, host.shutdown_budget_s) == (10.0, 10.0, 10.0)
    assert (host.mailbox.max_calls, host.mailbox.max_bytes) == (1000, 16 * KIB**2)
    assert (host.dedupe_keep_s, host.dedupe_max_replies, host.dedupe_max_bytes) == (DAY_S, 1000, KIB**2)
    assert (host.max_state_bytes, host.events.max_events) == (KIB**2, 1000)
    assert host.storage_quota_bytes == 10 * KIB**2


def test_defaults_of_a_resident_service() -> None:
    """One in the mesh, started by its first call, at rest after half a minute without another."""
    spec = ResidentServiceSpec(type="module.Class")
    assert (spec.lifecycle, spec.singleton, spec.idle_timeout_s) == (ResidentLifecycle.LAZY, True, 30.0)
