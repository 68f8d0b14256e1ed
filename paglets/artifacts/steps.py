"""The durable steps of a store by name: where a test may kill the host.

Each name marks the moment after, or before, one thing that becomes durable. This file must never know how it is done.
"""

from __future__ import annotations

from enum import StrEnum

from paglets.faults import point

__all__ = ["FAULT_POINTS", "Step", "passed"]


class Step(StrEnum):
    """One step, in the order in which an upload, a recovery, a deletion and an export take them."""

    ADMIT_BEFORE = "artifact.admit.before"
    ADMIT_AFTER = "artifact.admit.after"
    PART_AFTER = "artifact.part.after"
    GROW_AFTER = "artifact.grow.after"
    WRITE_AFTER = "artifact.write.after"
    KEEP_AFTER = "artifact.keep.after"
    MARK_AFTER = "artifact.mark.after"
    REST_AFTER = "artifact.rest.after"
    HOLD_AFTER = "artifact.hold.after"
    SYNC_BEFORE = "artifact.sync.before"
    SYNC_AFTER = "artifact.sync.after"
    INTENT_AFTER = "artifact.intent.after"
    RENAME_AFTER = "artifact.rename.after"
    FOLDER_AFTER = "artifact.folder.after"
    SPARE_AFTER = "artifact.spare.after"
    COMMIT_AFTER = "artifact.commit.after"
    DROP_BEFORE = "artifact.drop.before"
    DROP_FILES_AFTER = "artifact.drop.files.after"
    DROP_AFTER = "artifact.drop.after"
    CUT_AFTER = "artifact.cut.after"
    LEFT_AFTER = "artifact.left.after"
    ROLL_FORWARD_BEFORE = "artifact.roll-forward.before"
    ROLL_FORWARD_AFTER = "artifact.roll-forward.after"
    DELETE_AFTER = "artifact.delete.after"
    EXPIRE_AFTER = "artifact.expire.after"
    UNLINK_AFTER = "artifact.unlink.after"
    BURY_AFTER = "artifact.bury.after"
    EXPORT_SYNC_AFTER = "artifact.export.sync.after"
    EXPORT_PLACE_AFTER = "artifact.export.place.after"
    EXPORT_FOLDER_AFTER = "artifact.export.folder.after"


FAULT_POINTS: tuple[str, ...] = tuple(step.value for step in Step)


def passed(step: Step) -> None:
    """Marks a step as passed; does nothing unless a test armed the points."""
    point(step.value)
