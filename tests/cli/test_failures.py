"""How errors are told: what happened, and what to do next."""

from __future__ import annotations

import pytest

from paglets.cli.failures import hint_for
from paglets.errors import ConflictError, ExhaustedError


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("PREFIX_MISMATCH", "--no-resume"),
        ("WRITER_FENCED", "--no-resume"),
        ("REQUEST_ID_REUSED", "--no-resume"),
        ("REQUEST_ID_REUSED", "--request-id"),
        ("UPLOAD_CANCELLED", "begin anew"),
        ("UPLOAD_IN_PROGRESS", "paglets artifact uploads"),
        ("UPLOAD_NOT_FOUND", "paglets artifact uploads"),
        ("UPLOAD_STALLED", "same command"),
        ("STORED_BLOB_CORRUPT", "heals"),
        ("ARTIFACT_EXISTS", "--id"),
        ("ETAG_MISMATCH", "paglets artifact stat"),
        ("CURSOR_EXPIRED", "--cursor"),
        ("CURSOR_EXPIRED", "paglets paglet ls"),
        ("RANGE_NOT_SATISFIABLE", "paglets artifact stat"),
    ],
)
def test_what_to_do_next(reason: str, told: str) -> None:
    """What paglets and artifacts are refused with has a hint that names a command or an option, of both if of both."""
    assert told in hint_for(ConflictError(reason, "it is so"))


@pytest.mark.parametrize(
    ("subject", "told"),
    [("host", "--artifact-quota"), ("owner:ann", "--artifact-owner-quota"), ("owner:ann", "ls --owner ann`")],
)
def test_full_quota_says_whose(subject: str, told: str) -> None:
    """What to do about a quota depends on whose it is."""
    assert told in hint_for(ExhaustedError("QUOTA_EXCEEDED", "full", metadata={"subject": subject}))


def test_owner_cannot_command_terminal_or_shell() -> None:
    """An owner comes from a host: in a command to be copied he is quoted, and shown."""
    hint = hint_for(ExhaustedError("QUOTA_EXCEEDED", "full", metadata={"subject": "owner:\x1b; rm"}))
    assert r"'\x1b; rm'" in hint
