"""What a watch of paglets tells, from a directory's rows and events.

A cursor is the directory's own, or, in a snapshot, the one at which the snapshot began and the last id that it told.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

from paglets.directory.contract import Directory, PagletRow, RowEvent
from paglets.values import PagletEvent, PagletInfo, PagletNotice, PagletState, check_id

__all__ = ["PagletWatch", "paglet_event"]

_PAGE = 200


def paglet_event(event: RowEvent) -> PagletEvent:
    """An event of a row, as anybody may know it."""
    return PagletEvent(
        paglet_id=event.paglet_id,
        type=event.type,
        host=event.owner,
        state=event.state,
        epoch=event.epoch,
        cause=event.cause,
        former_host=event.former_owner,
        transfer_id=event.transfer_id,
        target=event.target,
        error=event.error,
        happened_at=event.happened_at,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PagletWatch:
    """A watch from `cursor` on, with a snapshot first if there is no cursor yet; empty filters stand for any."""

    cursor: str = ""
    snapshot: bool = False
    host: str = ""
    type_name: str = ""
    paglet_id: str = ""

    async def notices(
        self, directory: Directory, describe: Callable[[PagletRow], Awaitable[PagletInfo]]
    ) -> AsyncGenerator[PagletNotice, None]:
        """The paglets that are there, a bookmark, then what becomes of them. Raises what `watch_events` does.

        A row that was written after the snapshot began is left out of it: that write is the first that is told of it.
        """
        cursor, in_snapshot, after = self.cursor.partition("/")
        if in_snapshot:
            check_id(after, "cursor")
        watch = directory.watch_events(cursor, owner=self.host, type_name=self.type_name, paglet_id=self.paglet_id)
        async with aclosing(watch) as notices:
            began = await anext(notices)
            if in_snapshot or (self.snapshot and not cursor):
                async for row in self._rows(directory, after):
                    if row.revision <= began.revision:
                        cursor = f"{began.cursor}/{row.paglet_id}"
                        yield PagletNotice(cursor=cursor, paglet=await describe(row))
            yield PagletNotice(cursor=began.cursor)
            async for notice in notices:
                event = paglet_event(notice.event) if notice.event is not None else None
                yield PagletNotice(cursor=notice.cursor, event=event)

    async def _rows(self, directory: Directory, after: str) -> AsyncIterator[PagletRow]:
        """The rows there are, in the order of ids, from the one after `after` on."""
        if self.paglet_id:
            row = await directory.get(self.paglet_id)
            if row is not None and not after and self._takes(row):
                yield row
            return
        page = None
        while page is None or len(page) == _PAGE:
            page = await directory.list(after=after, limit=_PAGE, owner=self.host, type_name=self.type_name)
            for row in page:
                after = row.paglet_id
                yield row

    def _takes(self, row: PagletRow) -> bool:
        wanted = self.host in {"", row.owner} and self.type_name in {"", row.type}
        return wanted and row.state is not PagletState.DISPOSED
