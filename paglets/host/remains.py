"""What a host still keeps of a life that has ended, since its end was cut, or because it is being ended now.

An id may be used again meanwhile: nothing here may touch what a later life of the same id has.
"""

from __future__ import annotations

import logging

from paglets.directory.contract import PagletRow
from paglets.host.parts import HostParts
from paglets.host.records import StoredPaglet
from paglets.values import ArtifactRef, OwnerPolicy, PagletState

__all__ = ["drop_ended", "drop_kept", "is_another"]

_log = logging.getLogger(__name__)


async def drop_kept(parts: HostParts, paglet_id: str, up_to_epoch: int, *, tombstone_epoch: int = 0) -> None:
    """Drops what the journal keeps of a life, as `Journal.forget_paglet` does, and first the files that came with it.

    The journal alone knows their names: once the id is used again, nobody deletes what its owner had before. Safe to
    repeat.
    """
    files = await parts.journal.files_until(paglet_id, up_to_epoch)
    here = await parts.store.stored_files([file.artifact_id for file in files if file.artifact_id])
    await parts.store.delete_all([each for each, (ref, _) in here.items() if _goes_with(ref, paglet_id)])
    await parts.journal.forget_paglet(paglet_id, up_to_epoch, tombstone_epoch=tombstone_epoch)


def _goes_with(found: ArtifactRef, paglet_id: str) -> bool:
    return found.owner == paglet_id and found.owner_policy is OwnerPolicy.DELETE_WITH_OWNER


async def drop_ended(parts: HostParts, row: PagletRow) -> None:
    """Drops what is kept here of a paglet that, as its row says, has ended or is somebody else's.

    But for one that a directory without its old rows knows nothing of: that is kept, and not served.
    """
    stored = await parts.journal.paglet(row.paglet_id)
    if stored is None or stored.epoch == 0:
        return
    if is_another(row, stored, parts.name):
        _log.error(
            "paglet %s is in the journal with epoch %d, and the directory has another of that id, with epoch %d at"
            " host %s: it has lost the one that is here, which is kept and not served",
            row.paglet_id,
            stored.epoch,
            row.epoch,
            row.owner,
        )
        return
    await parts.work.drop(row.paglet_id)
    tombstone_epoch = row.epoch if row.state is PagletState.DISPOSED else 0
    await drop_kept(parts, row.paglet_id, stored.epoch, tombstone_epoch=tombstone_epoch)


def is_another(row: PagletRow, stored: StoredPaglet, here: str) -> bool:
    """Whether a row is not what became of a paglet that is kept here: an epoch grows whenever the owner changes.

    A directory that has lost its disk may hold another paglet of the id, begun since.
    """
    least = stored.epoch + (row.owner != here and row.state is not PagletState.DISPOSED)
    return stored.epoch > 0 and row.epoch < least
