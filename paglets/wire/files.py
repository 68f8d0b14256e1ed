"""What becomes of a file's source, as its number on the wire and back."""

from __future__ import annotations

from paglet.v1 import transfer_pb2
from paglets.errors import InvalidArgumentError
from paglets.values import FileMode

__all__ = ["file_mode_from_message", "file_mode_to_message"]

_MODES = {mode: transfer_pb2.FileMode.Value(f"FILE_MODE_{mode.name}") for mode in FileMode}
_MODES_BACK = {number: mode for mode, number in _MODES.items()}


def file_mode_to_message(mode: FileMode) -> transfer_pb2.FileMode.ValueType:
    """The number of a mode."""
    return _MODES[mode]


def file_mode_from_message(number: transfer_pb2.FileMode.ValueType, field: str) -> FileMode:
    """The mode of a number; UNSPECIFIED is COPY. Raises MALFORMED_REQUEST naming `field` for an unknown one."""
    if number == transfer_pb2.FILE_MODE_UNSPECIFIED:
        return FileMode.COPY
    mode = _MODES_BACK.get(number)
    if mode is None:
        raise InvalidArgumentError("MALFORMED_REQUEST", f"{field} is no mode of a file: {number}", field=field)
    return mode
