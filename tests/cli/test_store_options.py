"""The options of `paglets host serve` for the host's artifact store, down to the settings and the store itself."""

from __future__ import annotations

import click
import pytest

from paglets.cli.store_options import StoreVerb, store_options, store_settings
from paglets.config import StoreSettings
from tests.cli.running import Cli, host


def settings(*words: str) -> StoreSettings:
    """What a command with the options makes of a command line."""
    found = list[StoreSettings]()

    @click.command(cls=StoreVerb)
    @store_options
    @click.pass_context
    def command(context: click.Context) -> None:
        found.append(store_settings(context))

    command.main(args=words, standalone_mode=False)
    return found[0]


def test_defaults_are_those_of_the_settings() -> None:
    """Who gives no option gets what the settings say by themselves."""
    assert settings() == StoreSettings()


def test_each_option_sets_what_it_names() -> None:
    """Sizes, spans and counts arrive in bytes, seconds and numbers."""
    assert settings(
        *("--artifact-quota", "1G", "--artifact-owner-quota", "1M", "--artifact-max-size", "none"),
        *("--artifact-min-free", "2M", "--artifact-partial-ttl", "2h", "--artifact-scrub-rate", "3M"),
        *("--artifact-scrub-period", "1w", "--artifact-keep-events", "5"),
    ) == StoreSettings(
        quota_bytes=1024**3,
        owner_quota_bytes=1024**2,
        max_artifact_bytes=None,
        min_free_bytes=2 * 1024**2,
        partial_ttl_s=7200.0,
        scrub_bytes_per_s=3 * 1024**2,
        scrub_period_s=7 * 86400.0,
        keep_events=5,
    )
    assert settings("--artifact-min-free", "none").min_free_bytes == 0
    assert settings("--artifact-scrub-rate", "none").scrub_bytes_per_s is None


@pytest.mark.parametrize(
    ("option", "value"),
    [("scrub-rate", "0"), ("scrub-period", "0s"), ("partial-ttl", "0"), ("keep-events", "0"), ("min-free", "some")],
)
def test_what_no_store_can_do_is_refused(cli: Cli, option: str, value: str) -> None:
    """A value that makes no sense is wrong usage, told by the name of its option."""
    ran = cli("host", "serve", "--name", "solo", f"--artifact-{option}", value)
    assert ran.code == 2
    assert f"--artifact-{option}" in ran.err


def test_help_has_a_section_for_them(cli: Cli) -> None:
    """The options of the store stand together, below all others."""
    plain, _, stores = cli("host", "serve", "--help").out.partition("Artifact store:")
    assert "--listen" in plain
    assert "--artifact" not in plain
    assert stores.count("  --artifact-") == 8


@pytest.mark.slow
def test_host_keeps_to_them(cli: Cli) -> None:
    """A host that was started with limits has them."""
    with host(cli, "one", "--artifact-quota", "1M", "--artifact-owner-quota", "1K", "--artifact-min-free", "3M") as one:
        asking = Cli(cli.home, one[0])
        used = asking("artifact", "usage", "--owner", "ann", "--json").record
        assert used["host"]["limit_bytes"] == 1024**2
        assert used["disk_floor_bytes"] == 3 * 1024**2
        (cli.home / "big").write_bytes(bytes(2000))
        refused = asking("artifact", "put", "big", "--owner", "ann")
        assert refused.code == 72
        assert "paglets artifact ls --owner ann`" in refused.err
        assert "--artifact-owner-quota" in refused.err
