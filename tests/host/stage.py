"""The stage of this process: where a test holds its probes, and what they note."""

from __future__ import annotations

import asyncio
import threading

from paglets.testing import eventually

__all__ = ["STAGE", "Stage"]

_PATIENCE_S = 30.0


class _Spot:
    """A place where those who come stay while it is held."""

    def __init__(self) -> None:
        self.came = 0
        self.free = asyncio.Event()
        self.free_in_thread = threading.Event()
        self.release()

    def hold(self) -> None:
        """Whoever comes stays."""
        self.free.clear()
        self.free_in_thread.clear()

    def release(self) -> None:
        """Lets everybody go."""
        self.free.set()
        self.free_in_thread.set()


class Stage:
    """Spots by their names, and notes in the order in which they were made."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._spots: dict[str, _Spot] = {}

    def clear(self) -> None:
        """Lets everybody go and forgets everything."""
        for spot in self._spots.values():
            spot.release()
        self.notes.clear()
        self._spots = {}

    def hold(self, *names: str) -> None:
        """Whoever comes to one of these spots stays there until `release`."""
        for name in names:
            self._spot(name).hold()

    def release(self, *names: str) -> None:
        """Lets go whoever is at one of these spots, and all who come."""
        for name in names:
            self._spot(name).release()

    async def reached(self, name: str, times: int = 1) -> None:
        """Waits until somebody has come to a spot, so many times."""

        async def look() -> bool:
            return self._spot(name).came >= times

        await eventually(look, what=f"somebody at {name}")

    def note(self, text: str) -> None:
        """Says what happened."""
        self.notes.append(text)

    async def at(self, name: str) -> None:
        """Comes to a spot, on the event loop."""
        spot = self._spot(name)
        spot.came += 1
        await spot.free.wait()

    def at_in_thread(self, name: str) -> None:
        """Comes to a spot, in a worker thread."""
        spot = self._spot(name)
        spot.came += 1
        if not spot.free_in_thread.wait(_PATIENCE_S):
            raise TimeoutError(name)

    def _spot(self, name: str) -> _Spot:
        return self._spots.setdefault(name, _Spot())


STAGE = Stage()
"""The one stage."""
