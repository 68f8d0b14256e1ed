"""What every directory promises of hosts and their leases."""

from dataclasses import replace
from pathlib import Path

import pytest

from paglets.directory.contract import Directory, HostRegistration
from paglets.directory.sqlite import SqliteDirectory
from paglets.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError
from paglets.values import HostRef
from tests.directory.support import Clock, changed, departing, disposed, host, new, put


async def online(directory: Directory) -> dict[str, bool]:
    """Which hosts are online."""
    return {found.name: found.online for found in await directory.hosts()}


async def test_mesh_1_hosts_are_told_by_name_with_what_they_said(directory: Directory, clock: Clock) -> None:
    """All that a host registered, its lease, and how many paglets it owns."""
    await directory.lease_register(host("beta"), 10)
    await directory.lease_register(host("alpha", "uid-2"), 10)
    rows = await put(directory, new("a"), new("b"), new("c", "beta"), new("d", "gone"))
    await put(directory, disposed(rows[0]))
    beta = HostRef(
        name="beta",
        address="127.0.0.1:7600",
        online=True,
        version="0.1.0",
        types=("shop.Cart", "shop.Till"),
        seen_at=clock.now,
        paglet_count=1,
        uid="uid-1",
    )
    assert await directory.hosts() == [replace(beta, name="alpha", uid="uid-2"), beta]


async def test_mesh_4_lease_ends_by_the_directorys_clock(directory: Directory, clock: Clock) -> None:
    """A host is online until the lease is over, and stays in the list after it."""
    await directory.lease_register(host("alpha"), 10)
    clock.now += 9.9
    assert await online(directory) == {"alpha": True}
    clock.now += 0.2
    assert await online(directory) == {"alpha": False}


async def test_mesh_4_keepalive_renews_from_now(directory: Directory, clock: Clock) -> None:
    """Renewing gives the whole time again, also to a lease that had run out."""
    await directory.lease_register(host("alpha"), 10)
    clock.now += 30
    await directory.lease_keepalive("alpha", "uid-1", 10)
    clock.now += 9.9
    (found,) = await directory.hosts()
    assert (found.online, found.seen_at) == (True, clock.now - 9.9)


@pytest.mark.parametrize(("name", "uid"), [("beta", "uid-1"), ("alpha", "uid-2")])
async def test_keepalive_of_an_unknown_host_is_refused(directory: Directory, name: str, uid: str) -> None:
    """Neither the name nor the uid alone is enough: such a host has to register again."""
    await directory.lease_register(host("alpha"), 10)
    with pytest.raises(NotFoundError) as caught:
        await directory.lease_keepalive(name, uid, 10)
    assert caught.value.reason == "HOST_NOT_FOUND"


async def test_mesh_4_revoked_host_is_offline_at_once(directory: Directory) -> None:
    """A host that shuts down does not wait for its lease; only its own uid can end it."""
    await directory.lease_register(host("alpha"), 10)
    await directory.lease_revoke("alpha", "uid-2")
    await directory.lease_revoke("beta", "uid-1")
    assert await online(directory) == {"alpha": True}
    await directory.lease_revoke("alpha", "uid-1")
    await directory.lease_revoke("alpha", "uid-1")
    assert await online(directory) == {"alpha": False}


async def test_same_folder_registers_again_at_another_address(directory: Directory) -> None:
    """A host that restarts takes its name again, with a live lease and paglets, and says where it is now."""
    await directory.lease_register(host("alpha"), 10)
    await put(directory, new("a"))
    await directory.lease_register(HostRegistration(name="alpha", uid="uid-1", address="127.0.0.1:7601"), 10)
    (found,) = await directory.hosts()
    assert (found.address, found.types, found.paglet_count) == ("127.0.0.1:7601", (), 1)


async def refused(directory: Directory) -> bool:
    """Whether another folder is refused the name."""
    try:
        await directory.lease_register(host("alpha", "uid-2"), 10)
    except AlreadyExistsError as error:
        return error.reason == "HOST_NAME_TAKEN"
    return False


async def test_name_is_taken_while_the_lease_is_live(directory: Directory, clock: Clock) -> None:
    """Two folders never answer to one name; once the lease is over an unused name is free."""
    await directory.lease_register(host("alpha"), 10)
    assert await refused(directory)
    clock.now += 10.1
    assert not await refused(directory)
    with pytest.raises(NotFoundError):
        await directory.lease_keepalive("alpha", "uid-1", 10)


async def test_revoked_name_is_free(directory: Directory) -> None:
    """A host that said farewell and owns nothing leaves its name to others."""
    await directory.lease_register(host("alpha"), 10)
    await directory.lease_revoke("alpha", "uid-1")
    assert not await refused(directory)


async def test_name_with_paglets_is_taken_for_good(directory: Directory, clock: Clock) -> None:
    """Paglets of a dead host wait for its folder; a tombstone does not."""
    await directory.lease_register(host("alpha"), 10)
    (row,) = await put(directory, new("a"))
    clock.now += 1_000_000
    assert await refused(directory)
    await put(directory, disposed(row))
    assert not await refused(directory)


async def test_name_that_a_paglet_is_on_its_way_to_is_taken(directory: Directory, clock: Clock) -> None:
    """What the dead host has staged for a journey is in its folder, and in no other of the same name."""
    await directory.lease_register(host("alpha"), 10)
    (row,) = await put(directory, new("a", owner="beta"))
    (frozen,) = await put(directory, departing(row, "x-1", "alpha"))
    clock.now += 1_000_000
    assert await refused(directory)
    await put(directory, changed(frozen, intent=None, epoch=frozen.epoch + 1))
    assert not await refused(directory)


@pytest.mark.parametrize("ttl_s", [0.0, 86401.0])
async def test_lease_of_no_sensible_length_is_refused(directory: Directory, ttl_s: float) -> None:
    """A lease lasts more than 0 seconds and at most a day."""
    with pytest.raises(InvalidArgumentError):
        await directory.lease_register(host("alpha"), ttl_s)
    with pytest.raises(InvalidArgumentError):
        await directory.lease_keepalive("alpha", "uid-1", ttl_s)


async def test_host_without_a_proper_name_is_refused(directory: Directory) -> None:
    """A host's name is an id."""
    with pytest.raises(InvalidArgumentError) as caught:
        await directory.lease_register(host("Alpha Beta"), 10)
    assert caught.value.reason == "INVALID_ID"


async def test_load_is_told_as_the_host_said_it_last(directory: Directory) -> None:
    """A renewal says how busy its host is; a registration that it does nothing yet."""
    await directory.lease_register(host("alpha"), 10)
    for load in (0.5, 2.0):
        await directory.lease_keepalive("alpha", "uid-1", 10, load)
        assert [found.load for found in await directory.hosts()] == [load]
    await directory.lease_register(host("alpha"), 10)
    assert [found.load for found in await directory.hosts()] == [0.0]


@pytest.mark.parametrize("load", [-1.0, float("nan"), float("inf")])
async def test_load_that_is_none_is_refused(directory: Directory, load: float) -> None:
    """And the lease is not renewed."""
    await directory.lease_register(host("alpha"), 10)
    with pytest.raises(InvalidArgumentError) as caught:
        await directory.lease_keepalive("alpha", "uid-1", 10, load)
    assert caught.value.field == "load"


async def test_leases_outlive_the_directorys_absence(tmp_path: Path, clock: Clock) -> None:
    """A lease that was live when the directory was last there has the rest of it when it is back; others have ended."""
    path = tmp_path / "away.db"
    first = await SqliteDirectory.open(path, clock)
    await first.lease_register(host("lost"), 10)
    await first.lease_register(host("left", "uid-2"), 10)
    clock.now += 12
    await first.lease_register(host("beta", "uid-3"), 10)
    await first.lease_revoke("left", "uid-2")
    await first.close()
    clock.now += 3600
    again = await SqliteDirectory.open(path, clock)
    try:
        assert await online(again) == {"beta": True, "left": False, "lost": False}
        clock.now += 9.9
        assert (await online(again))["beta"]
        clock.now += 0.2
        assert not (await online(again))["beta"]
        assert [found.name for found in await again.hosts() if found.has_left] == ["left"]
    finally:
        await again.close()
