# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The operations that remove backups: retention, and the deletion of one. `retention` decides."""

from __future__ import annotations

import os

from . import catalog, clock, errors, retention


def plan(session):
    """What the policy keeps and removes now."""
    entries = catalog.scan(session.target.backup_dir, session.target.name)
    return retention.plan(entries, session.settings["retention"], clock.now())


def expire(session, decided, apply):
    """The result of a plan, carried out if ``apply``. Raises RetentionBrake, and IoError when some could not go."""
    rows = {
        "kept": [_row(row) for row in decided.kept],
        "removed": [_row(row) for row in decided.removed],
        "held": decided.hold,
    }
    session.tell(held=decided.hold)
    if decided.brake:
        would = {"kept": rows["kept"], "would_remove": rows["removed"]}
        raise errors.RetentionBrake(decided.brake, path=session.target.backup_dir, **would)
    if not apply:
        freed = sum(row.entry.stored_bytes for row in decided.removed)
        return session.result(changed=bool(decided.removed), freed_bytes=freed, **rows)
    removed, freed, failed = retention.apply(decided, session.target.backup_dir)
    rows["removed"] = [_row(row) for row in removed]
    session.tell(removed=len(removed), bytes=freed)
    if failed:
        raise errors.IoError(
            f"{len(failed)} backups could not be removed ({failed[0]['error']})",
            path=session.target.backup_dir,
            hint="What could not be removed names its cause, and the next run tries again; the rest was removed.",
            freed_bytes=freed,
            not_removed=failed,
            **rows,
        )
    return session.result(changed=bool(removed), freed_bytes=freed, **rows)


def _row(row):
    return {"file": row.entry.file, "reasons": list(row.reasons)}


def deletable(session, reference):
    """The entry that may be deleted; raises NotConfirmed for a pinned one and for the last verified one."""
    target = session.target
    entries = catalog.scan(target.backup_dir, target.name)
    entry = catalog.resolve(reference, target.backup_dir, target.name, entries)
    if os.path.dirname(entry.path) != target.backup_dir:
        raise errors.BackupNotFound("it does not lie in the backup directory", path=entry.path)
    if entry.pinned(clock.now()):
        raise errors.NotConfirmed("the backup is pinned", path=entry.path, hint="Nothing was removed; unpin it first.")
    verified = [other for other in entries if other.verified and other.kind == "regular"]
    if entry.verified and [other.file for other in verified] == [entry.file]:
        raise errors.NotConfirmed(
            "it is the last verified backup", path=entry.path, hint="Nothing was removed; make another backup first."
        )
    return entry


def delete(session, entry):
    """Delete one backup and its manifest."""
    session.tell(file=entry.file, bytes=entry.stored_bytes)
    chosen = retention.Plan((retention.Decision(entry, False, ("asked for",)),), None, None)
    _removed, freed, failed = retention.apply(chosen, session.target.backup_dir)
    if failed:
        raise errors.IoError(failed[0]["error"], path=entry.path)
    return session.result(changed=True, file=entry.file, freed_bytes=freed)
