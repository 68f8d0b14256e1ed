#!/usr/bin/env python3
"""Writes generated/ from protos/ with a pinned compiler, or checks that it is what the compiler writes.

It must never import anything but the standard library: it runs where nothing is installed yet.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from environment import BUILDSCRIPTS, GENERATOR, MAIN, ROOT, ensure

PROTOS = ROOT / "protos"
GENERATED = ROOT / "generated"
IMAGE = BUILDSCRIPTS / "protos.image.binpb"


def main() -> int:
    """Do what the command line asks; 1 when a check found differences."""
    parser = argparse.ArgumentParser(description="Write generated/ from protos/.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="write nothing; fail if generated/ is not up to date")
    what.add_argument("--image", action="store_true", help=f"rewrite {IMAGE.name}, which breaking changes show against")
    asked = parser.parse_args()
    if asked.image:
        return write_image()
    fresh = produce()
    return check(fresh, read_tree(GENERATED)) if asked.check else write(fresh)


def produce() -> dict[str, bytes]:
    """Everything that belongs into generated/, by path: the compiler's output, and what makes it typed packages."""
    ensure(GENERATOR)
    protos = sorted(PROTOS.rglob("*.proto"))
    if not protos:
        sys.exit(f"generate: no protos below {PROTOS}")
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        compile_protos(protos, out)
        for package in {parent for path in out.rglob("*.py") for parent in path.relative_to(out).parents[:-1]}:
            (out / package / "__init__.py").touch()
        (out / "paglet" / "py.typed").touch()
        return read_tree(out)


def compile_protos(protos: list[Path], out: Path) -> None:
    """Run the compiler over all protos at once."""
    plugins = [f"--plugin=protoc-gen-{name}={GENERATOR.bin}/protoc-gen-{name}" for name in ("mypy", "mypy_grpc")]
    outputs = [
        f"--python_out={out}",
        f"--grpc_python_out={out}",
        f"--mypy_out=quiet:{out}",
        f"--mypy_grpc_out=quiet:{out}",
    ]
    subprocess.run(
        [GENERATOR.bin / "python", "-m", "grpc_tools.protoc", f"--proto_path={PROTOS}", *plugins, *outputs, *protos],
        check=True,
    )


def read_tree(folder: Path) -> dict[str, bytes]:
    """Every file below the folder with its bytes, but for what Python itself leaves there."""
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def differences(fresh: dict[str, bytes], kept: dict[str, bytes]) -> dict[str, str]:
    """What is wrong with the kept files, by path: missing, extra or differing."""
    wrong = dict.fromkeys(fresh.keys() - kept.keys(), "missing") | dict.fromkeys(kept.keys() - fresh.keys(), "extra")
    wrong |= {path: "differing" for path in fresh.keys() & kept.keys() if fresh[path] != kept[path]}
    return dict(sorted(wrong.items()))


def check(fresh: dict[str, bytes], kept: dict[str, bytes]) -> int:
    """Name every file of generated/ that is not as it should be."""
    wrong = differences(fresh, kept)
    for path, how in wrong.items():
        print(f"generated/{path}: {how}")
    if wrong:
        print("generate: generated/ is not what protos/ make; run buildscripts/generate.py and commit the result")
        return 1
    print(f"generate: all {len(fresh)} files of generated/ are up to date")
    return 0


def write(fresh: dict[str, bytes]) -> int:
    """Make generated/ hold exactly the fresh files, touching only those that differ."""
    wrong = differences(fresh, read_tree(GENERATED))
    for path, how in wrong.items():
        target = GENERATED / path
        if how == "extra":
            target.unlink()
            remove_empty_parents(target)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(fresh[path])
        print(f"generated/{path}: {'removed' if how == 'extra' else 'written'}")
    print(f"generate: {len(fresh)} files in generated/, {len(wrong)} of them changed or removed")
    return 0


def remove_empty_parents(path: Path) -> None:
    """Remove the folders that held nothing but this file."""
    for parent in path.parents:
        if parent == GENERATED or any(parent.iterdir()):
            return
        parent.rmdir()


def write_image() -> int:
    """Accept the protos as they are: later breaking changes are those against this image."""
    ensure(MAIN)
    subprocess.run([MAIN.bin / "buf", "build", PROTOS, "--exclude-source-info", "--output", IMAGE], check=True)
    print(f"generate: wrote {IMAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(f"generate: {error}")
