"""What a fake home does with files: small, and below one root."""

from __future__ import annotations

from pathlib import Path

from paglets.digest import Digest
from paglets.errors import AlreadyExistsError, InvalidArgumentError, PermissionDeniedError
from paglets.values import FileMode, PagletFileRef

__all__ = ["confined", "copy_in_one_step", "describe", "destination_below"]


def confined(text: str, root: Path | None) -> Path:
    """A path below the root."""
    if root is None:
        raise PermissionDeniedError("PATH_OUTSIDE_ROOTS", "this home has no files")
    path = (root / Path(text).expanduser()).resolve()
    if not path.is_relative_to(root.resolve()):
        raise PermissionDeniedError("PATH_OUTSIDE_ROOTS", f"{path} is not below {root}")
    return path


def destination_below(root: Path | None, destination: str, source_name: str) -> Path:
    """A path to write below the root, inside an existing folder."""
    text = destination.strip()
    if text in {"", "."}:
        text = source_name
    elif text.endswith(("/", "\\")):
        text += source_name
    path = confined(text, root)
    return path / source_name if path.is_dir() else path


def describe(path: Path, name: str, mode: FileMode, host: str) -> PagletFileRef:
    """A registration of the file as it is now."""
    if not path.is_file():
        raise InvalidArgumentError("SOURCE_NOT_A_FILE", f"source is not a file: {path}")
    found = path.stat()
    return PagletFileRef(
        name=name,
        mode=mode,
        path=path,
        digest=Digest.of(path.read_bytes()),
        origin_host=host,
        origin_path=str(path),
        modified_ns=found.st_mtime_ns,
        created_ns=found.st_ctime_ns,
    )


def copy_in_one_step(source: Path, destination: Path, *, overwrite: bool) -> None:
    """Writes a copy under its final name."""
    data = source.read_bytes()
    destination.parent.mkdir(parents=True, exist_ok=True)
    if overwrite:
        scratch = destination.with_name(f".{destination.name}.part")
        scratch.write_bytes(data)
        scratch.replace(destination)
        return
    try:
        with destination.open("xb") as file:
            file.write(data)
    except FileExistsError as error:
        raise AlreadyExistsError("DESTINATION_EXISTS", f"destination already exists: {destination}") from error
