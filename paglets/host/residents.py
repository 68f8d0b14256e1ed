"""The paglets in this host's memory: made, loaded, found and let go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from paglets.core.cause import OutgoingPost
from paglets.core.mailbox import Mailbox
from paglets.core.paglet import Paglet
from paglets.core.turn import OwnRequest, StateCell
from paglets.directory.contract import PagletRow
from paglets.host.activities import Activities
from paglets.host.context import HostContext
from paglets.host.deliveries import Deliveries
from paglets.host.event_log import EventLog
from paglets.host.files import RegisteredFile
from paglets.host.gate import Gate
from paglets.host.outboxes import Outboxes
from paglets.host.parts import HostParts
from paglets.host.post_records import StoredPost
from paglets.host.postbox import PostBox, PostLimits
from paglets.host.records import StoredReply
from paglets.host.replies import ReplyBook, ReplyLimits
from paglets.host.resident import Resident
from paglets.host.runner import Runner, attempt
from paglets.host.savings import Savings
from paglets.host.sections import Sections

__all__ = ["Residents", "load_state"]


class Residents:
    """Residents by paglet id. `fulfil` begins what one of them asked of its host for itself."""

    def __init__(self, parts: HostParts, fulfil: Callable[[Resident, OwnRequest], None]) -> None:
        self._parts = parts
        self._fulfil = fulfil
        self._residents: dict[str, Resident] = {}
        self.outboxes = Outboxes(parts)

    def __iter__(self) -> Iterator[Resident]:
        return iter(list(self._residents.values()))

    def get(self, paglet_id: str) -> Resident | None:
        """The resident of this id, if it is here."""
        return self._residents.get(paglet_id)

    def add(self, resident: Resident) -> None:
        """Makes a resident findable."""
        self._residents[resident.paglet_id] = resident
        self._parts.discovery.owned(resident.paglet_id, type(resident.paglet))

    def remove(self, resident: Resident) -> None:
        """Lets a resident go; another one of the same id stays."""
        if self._residents.get(resident.paglet_id) is resident:
            del self._residents[resident.paglet_id]

    async def load(self, row: PagletRow) -> Resident:
        """Makes a resident of what the journal keeps. Its gate is closed; nobody finds it yet.

        Raises STATE_UNREADABLE, TYPE_NOT_ALLOWED, STATE_VERSION_UNSUPPORTED, STATE_INVALID, INTERNAL for code of the
        author that fails.
        """
        kept = await self._parts.journal.belongings(row.paglet_id)
        outgoing = (await self.outboxes.load(row.paglet_id)).all()
        paglet_type = self._parts.registry.get(row.type)
        state = await load_state(paglet_type, kept.paglet.state, kept.paglet.state_version)
        resident = self.build(
            row, paglet_type, state, kept.replies, kept.files, kept.posts, outgoing, last_event=kept.last_event
        )
        resident.own_request = kept.own_request
        return resident

    def build(
        self,
        row: PagletRow,
        paglet_type: type[Paglet[Any]],
        state: object,
        replies: Iterable[StoredReply] = (),
        files: Iterable[RegisteredFile] = (),
        posts: Iterable[StoredPost] = (),
        outgoing: Iterable[OutgoingPost] = (),
        *,
        last_event: int = 0,
    ) -> Resident:
        """Makes a resident. Its gate is closed; nobody finds it yet. Raises STATE_INVALID for too large a state."""
        settings = self._parts.settings
        cell = StateCell(paglet_type.codec, state, self._parts.state_limit(paglet_type))
        cell.check_size(cell.latest)
        gate = Gate(row.paglet_id, Mailbox(row.paglet_id, settings.mailbox.max_calls, settings.mailbox.max_bytes))
        journal = self._parts.journal
        turns = Savings(row.paglet_id, journal) if paglet_type.durability == "lifecycle" else journal
        events, pool = EventLog(row.paglet_id, journal.events, last_event), self._parts.pool
        runner = Runner(row.paglet_id, cell, gate, turns, pool, events, stuck_after_s=settings.stuck_after_s)
        sections = Sections(row.paglet_id, runner)
        activities = Activities(row.paglet_id, runner)
        registered = {file.name: file for file in files}
        outbox = self.outboxes.open(row.paglet_id, outgoing)
        context = HostContext(self._parts, row.paglet_id, row.type, sections, activities, registered, outbox, events)
        box = self.box(row.paglet_id, posts)
        rows = self._parts.journal.posts
        return Resident(
            row,
            paglet_type(context, cell),
            runner=runner,
            sections=sections,
            activities=activities,
            book=self.book(row.paglet_id, replies),
            deliveries=Deliveries(
                row.paglet_id,
                box,
                rows,
                gate,
                patience_s=settings.posts.patience_s,
                timeout_s=settings.unary_deadline_s,
                forget=runner.forget_post,
            ),
            outbox=outbox,
            files=registered,
            fulfil=self._fulfil,
        )

    def box(self, paglet_id: str, posts: Iterable[StoredPost]) -> PostBox:
        """The posts of a paglet, within this host's limits."""
        settings = self._parts.settings.posts
        return PostBox(paglet_id, PostLimits(settings.max_posts, settings.max_bytes), posts)

    def book(self, paglet_id: str, replies: Iterable[StoredReply]) -> ReplyBook:
        """The outcomes of a paglet's requests, oldest first, within this host's limits."""
        settings = self._parts.settings
        limits = ReplyLimits(settings.dedupe_keep_s, settings.dedupe_max_replies, settings.dedupe_max_bytes)
        return ReplyBook(paglet_id, limits, replies)


async def load_state(paglet_type: type[Paglet[Any]], data: bytes, version: int) -> Any:  # noqa: ANN401 - as declared
    """Decodes a stored state; upcasters and state classes are what authors wrote, and may raise anything."""

    async def load() -> object:
        return paglet_type.codec.load(data, version)

    return await attempt(load(), f"reading a state of {paglet_type.type_name()}")
