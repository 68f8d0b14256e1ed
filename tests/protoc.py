"""Generated code of a user's own proto, made while tests run, in a folder of his own."""

from __future__ import annotations

import subprocess
from pathlib import Path

from environment import GENERATOR, ensure

__all__ = ["generate"]


def generate(proto: Path, folder: Path, package: str) -> None:
    """Writes what protoc makes of `proto`, as the proto `package` (with dots) of the Python path `folder`."""
    ensure(GENERATOR)
    target = folder.joinpath(*package.split(".")) / proto.name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(proto.read_text())
    outputs = [f"--python_out={folder}", f"--grpc_python_out={folder}"]
    subprocess.run(
        [GENERATOR.bin / "python", "-m", "grpc_tools.protoc", f"--proto_path={folder}", *outputs, target], check=True
    )
