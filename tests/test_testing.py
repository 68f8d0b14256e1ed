"""What `paglets.testing` promises to anyone's tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from paglets.config import HostSettings
from paglets.testing import local_host
from tests.host.support import PROBE_MODULE, PROBE_TYPE


async def test_settings_are_taken_as_they_are(tmp_path: Path) -> None:
    """Each setting is the given one, unless an argument beside it says otherwise."""
    roots = (tmp_path / "files", tmp_path / "more")
    for root in roots:
        root.mkdir()
    async with local_host() as first:
        given = HostSettings(
            name="beta",
            data=tmp_path / "beta",
            listen=f"unix:{tmp_path}/beta.sock",
            join=first.address,
            allow=(PROBE_MODULE,),
            file_roots=roots[:1],
        )
        async with local_host(settings=given) as host:
            assert host.host.parts.settings == given
            assert (host.address, host.host.name) == (given.listen, "beta")
            assert PROBE_TYPE in host.host.parts.registry.names
    wanted = replace(given, name="gamma", data=tmp_path / "gamma", join="", allow=(), file_roots=roots[1:])
    changed = local_host("gamma", data=wanted.data, join="", allow=(), file_roots=roots[1:], settings=given)
    async with changed as host:
        assert host.host.parts.settings == wanted


async def test_host_without_settings_is_alpha() -> None:
    """Without a word it begins a mesh, on a port of its own and in a folder that is gone thereafter."""
    async with local_host() as host:
        settings = host.host.parts.settings
        assert (host.host.name, settings.join, settings.allow, settings.file_roots) == ("alpha", "", (), ())
        assert host.address.startswith("127.0.0.1:")
        assert settings.data.exists()
    assert not settings.data.exists()
