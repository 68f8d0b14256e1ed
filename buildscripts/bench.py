#!/usr/bin/env python3
"""Runs `paglets bench` from this checkout, in its own virtual environment; arguments are those of `paglets bench`.

It must never import anything but the standard library: it runs where nothing is installed yet.
"""

import os
import sys

from environment import MAIN, ensure

if __name__ == "__main__":
    ensure(MAIN)
    os.execv(MAIN.bin / "paglets", ["paglets", "bench", *sys.argv[1:]])  # noqa: S606 - our own program takes our place
