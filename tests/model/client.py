"""Clients: they write under request ids, which they may repeat at any time and at any host, and read."""

from __future__ import annotations

from tests.model.world import DISPOSED, UP, Kept, Mem, Model, Step, Steps, World, at

FROZEN = frozenset({"quiet", "intended", "pushed", "decide", "aborting"})


def calls(model: Model, world: World, number: int) -> Steps:
    """What clients do at one host that is awake."""
    host = world.hosts[number]
    if host.status != UP:
        return
    if host.turn:
        yield from _commit(model, world, number)
    if host.reading:
        yield Step(f"read.reply at {number}", at(_told(world, number, "read"), number, reading=False), helps=False)
    if host.mem is None or not host.ready or host.kept is None or not _lets_in(model, host.mem):
        return
    if model.reads and not host.reading:
        yield Step(f"read.begin at {number}", at(world, number, reading=True), helps=False)
    for request in range(model.writes):
        if model.ordered and request and not _used(world, request - 1):
            continue
        if host.kept.replies & 1 << request:
            yield Step(f"turn.replay of {request} at {number}", _acked(world, number, request), helps=False)
        elif not host.turn:
            begun = at(world, number, turn=request + 1)
            if not model.has("a reply waits for its commit"):
                begun = _acked(begun, number, request)
            yield Step(f"turn.begin of {request} at {number}", begun, helps=False)


def _lets_in(model: Model, mem: Mem) -> bool:
    return mem.step == "open" or (mem.step in FROZEN and not model.has("the gate is closed during a journey"))


def _commit(model: Model, world: World, number: int) -> Steps:
    """State and reply become durable in one step; then the reply leaves, or is lost on its way."""
    host = world.hosts[number]
    kept, request = host.kept, abs(host.turn) - 1
    if kept is None:
        yield Step(f"turn.commit of {request} at {number} (fenced)", at(world, number, turn=0), helps=False)
        return
    replied = kept._replace(replies=kept.replies | 1 << request)
    if not model.has("state and reply are one commit"):
        if host.turn > 0:
            half = at(world, number, kept=_ran(kept, request), turn=-host.turn)
            yield Step(f"turn.commit of {request} at {number}, without its reply", half, helps=False)
            return
        kept = replied
    else:
        kept = _ran(replied, request)
    committed = at(world, number, kept=kept, turn=0)
    yield Step(f"turn.commit of {request} at {number}", _acked(committed, number, request), helps=False)
    yield Step(f"turn.commit of {request} at {number}, the reply is lost", committed, helps=False)


def _ran(kept: Kept, request: int) -> Kept:
    runs = kept.runs
    return kept._replace(runs=(*runs[:request], runs[request] + 1, *runs[request + 1 :]))


def _acked(world: World, number: int, request: int) -> World:
    told = _told(world, number, "write")
    return told._replace(acked=told.acked | 1 << request)


def _told(world: World, number: int, what: str) -> World:
    """A client has a reply; it must come from the owner."""
    row = world.row
    if row is None or row.owner != number or row.state == DISPOSED:
        return world._replace(wrong=f"host {number} answers a {what}, and does not own the paglet")
    return world


def _used(world: World, request: int) -> bool:
    """Whether a request has left a trace; until then it is as good as the next one."""
    if world.acked & 1 << request or any(abs(host.turn) == request + 1 for host in world.hosts):
        return True
    kept = [host.kept for host in world.hosts] + [found.snapshot for host in world.hosts for found in host.coming]
    return any(found is not None and (found.runs[request] or found.replies & 1 << request) for found in kept)
