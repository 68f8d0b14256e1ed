"""Modes of a file, there and back."""

from __future__ import annotations

import pytest

from paglet.v1 import transfer_pb2
from paglets.errors import InvalidArgumentError
from paglets.values import FileMode
from paglets.wire.files import file_mode_from_message, file_mode_to_message


def test_modes_are_those_of_the_proto() -> None:
    """Every mode has its number and every number its mode; the unspecified one is a copy."""
    numbers = {mode: file_mode_to_message(mode) for mode in FileMode}
    assert set(numbers.values()) == set(transfer_pb2.FileMode.values()) - {transfer_pb2.FILE_MODE_UNSPECIFIED}
    assert {file_mode_from_message(number, "mode"): number for number in numbers.values()} == numbers
    assert file_mode_from_message(transfer_pb2.FILE_MODE_UNSPECIFIED, "mode") is FileMode.COPY


def test_no_mode() -> None:
    """A number that is no mode is refused, naming the field: it might mean to delete the source."""
    number = 99
    with pytest.raises(InvalidArgumentError, match="is no mode of a file: 99") as error:
        file_mode_from_message(number, "files.mode")  # pyright: ignore[reportArgumentType] - from a newer client
    assert (error.value.reason, error.value.field) == ("MALFORMED_REQUEST", "files.mode")
