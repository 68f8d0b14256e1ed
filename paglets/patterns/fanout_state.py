"""What a parent keeps of a fan-out, and what a child knows of its parent.

Pure: the time of day is handed in, and nothing here knows of turns or hosts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["ChildRoleState", "FanoutRole", "MeshFanoutState"]

OVERDUE = "did not answer before the deadline"
"""The error of a host that was pending when the time was over."""


class FanoutRole(StrEnum):
    """Whose work a paglet does."""

    PARENT = "parent"
    CHILD = "child"


@dataclass(kw_only=True)
class ChildRoleState:
    """What a child knows: its parent's id, which fan-out it belongs to, and the host that it was made for."""

    role: FanoutRole = FanoutRole.PARENT
    parent: str = ""
    fanout_id: str = ""
    target_host: str = ""


@dataclass(kw_only=True)
class MeshFanoutState(ChildRoleState):
    """What a parent keeps, by the names of hosts; derive from it to keep more.

    Each host is pending, done, or has an error. `children` are the ids of clones that were asked for, there or not yet.
    `cleanup_errors` says which of them could not be ended, and why. Of the time for all of it `remaining_s` were left
    at `counted_at`, seconds since the epoch by the clock of the host that the paglet is on.
    """

    pending: list[str] = field(default_factory=list[str])
    done: list[str] = field(default_factory=list[str])
    children: dict[str, str] = field(default_factory=dict[str, str])
    errors: dict[str, str] = field(default_factory=dict[str, str])
    cleanup_errors: dict[str, str] = field(default_factory=dict[str, str])
    remaining_s: float = 0.0
    counted_at: float = 0.0

    def reset(self, fanout_id: str, timeout_s: float, now: float) -> None:
        """Begins a fan-out, as its parent; of the one before nothing is kept."""
        self.role, self.parent, self.target_host = FanoutRole.PARENT, "", ""
        self.fanout_id = fanout_id
        self.remaining_s, self.counted_at = max(0.0, timeout_s), now
        for kept in (self.pending, self.done, self.children, self.errors, self.cleanup_errors):
            kept.clear()

    def become_child(self, parent: str, fanout_id: str, host: str) -> None:
        """Takes the part of a child; what was copied of the parent's own book-keeping is dropped."""
        self.reset(fanout_id, 0.0, 0.0)
        self.role, self.parent, self.target_host = FanoutRole.CHILD, parent, host

    def time_left_s(self, now: float) -> float:
        """How long the parent waits yet; a clock that was set back gives no more."""
        return max(0.0, self.remaining_s - max(0.0, now - self.counted_at))

    def recount(self, now: float) -> None:
        """Counts from now on: before the paglet leaves for a host with another clock."""
        self.remaining_s, self.counted_at = self.time_left_s(now), now

    def expect(self, host: str, child: str) -> None:
        """A clone for `host` is about to be asked for."""
        if host not in self.pending:
            self.pending.append(host)
        self.children[host] = child

    def record_done(self, host: str) -> None:
        """The child of a host has done all; safe to repeat."""
        if not host:
            return
        if host in self.pending:
            self.pending.remove(host)
        if host not in self.done:
            self.done.append(host)

    def record_error(self, host: str, error: str) -> None:
        """The child of a host has failed, or there is none; the last word counts."""
        if host in self.pending:
            self.pending.remove(host)
        self.errors[host] = error

    def expire(self, now: float) -> bool:
        """Once the time is over every pending host has failed; whether it is."""
        if self.time_left_s(now) > 0.0:
            return False
        for host in list(self.pending):
            self.record_error(host, OVERDUE)
        return True
