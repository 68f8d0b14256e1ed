"""What the tests of file tasks share: two hosts' folders, and every note."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.patterns.file_support import Grounds


@pytest.fixture
def grounds(tmp_path: Path) -> Grounds:
    """Two hosts' folders, and a file at the first."""
    return Grounds.below(tmp_path)


@pytest.fixture(autouse=True)
def all_notes(caplog: pytest.LogCaptureFixture) -> None:
    """Every note is seen."""
    caplog.set_level(logging.INFO)
