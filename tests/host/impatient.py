"""A host that drains in no time: `python -m tests.host.impatient FOLDER` prints its address and serves probes."""

from __future__ import annotations

import sys
from pathlib import Path

from paglets.config import HostSettings
from paglets.server import serve
from tests.host.stage import STAGE
from tests.host.support import PROBE_MODULE


def _tell(address: str) -> None:
    sys.stdout.write(f"{address}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    STAGE.hold("for ever")
    serve(
        HostSettings(
            name="alpha",
            data=Path(sys.argv[1]),
            listen="127.0.0.1:0",
            allow=(PROBE_MODULE,),
            drain_s=0.5,
            shutdown_budget_s=1.0,
        ),
        _tell,
    )
