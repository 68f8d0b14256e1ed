"""Serves a directory until it is killed, and prints its port: `python -m tests.directory.serve FILE [PORT]`."""

import asyncio
import sys
from pathlib import Path

from paglets import faults
from paglets.directory.sqlite import SqliteDirectory
from tests.directory.support import serving


async def main(path: Path, port: int) -> None:
    """Serves the file; passes the fault points that the environment asks for."""
    directory = await SqliteDirectory.open(path)
    async with serving(directory, port) as bound:
        faults.arm_from_environment()
        sys.stdout.write(f"{bound}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0))
