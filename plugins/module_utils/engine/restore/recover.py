# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finish or undo a restore that was killed. What is decided rests on the journal and on what is really there.

* Nothing live was touched yet: the staged copy is removed (undone).
* ``in_place`` was writing: SQLite has kept the old content or the new; it is looked at, and told which.
* ``replace`` was swapping: without the rename it is undone, after it the new database is checked and kept (finished),
  or the old one put back.
* It was rolling back: that is done again to its end.
* It had ended: what was kept for the way back is removed.

An application may have been started since and have written, so a new database that is sound is kept whatever its
rows.
"""

from __future__ import annotations

from .. import clock, errors, files, verify
from . import journal as journal_room
from . import swap


def settle(database, log, busy_timeout):
    """Settle the pending restore in the open journal; {phase, outcome, detail, backup, started_at}, or None.

    ``outcome`` is ``undone`` or ``finished``. Raises when it cannot be settled now (the database is locked, the disk is
    full); the journal is then kept for the next run.
    """
    pending = log.pending
    if pending is None:
        _remove_staged(database)
        return None
    record = pending.record
    settlers = {"in_place": _in_place, "replace": _replace}
    if pending.phase == journal_room.ENDED:
        outcome, detail = record["outcome"], record["detail"]
    elif pending.phase in (journal_room.BEGUN, journal_room.CAPTURED):
        outcome, detail = "undone", "the database had not been touched"
    else:
        outcome, detail = settlers[record["strategy"]](database, pending, log, busy_timeout)
    log.end(outcome, detail)
    swap.forget_old(database)
    _remove_staged(database)
    log.clear()
    return {
        "phase": pending.phase,
        "outcome": outcome,
        "detail": detail,
        "backup": record.get("backup"),
        "started_at": record.get("started_at"),
        "settled_at": clock.iso(clock.now()),
    }


def _remove_staged(database):
    staged = journal_room.staged_path(database)
    for suffix in ("", "-journal", "-wal", "-shm"):
        files.remove(staged + suffix)


def _expected(record):
    return record.get("expected") or {}


def _sound(database, record, busy_timeout):
    """Whether the database that is there now is readable, sound, and has the schema of the backup."""
    schema = {"schema_sha256": _expected(record).get("schema_sha256")}
    try:
        findings = verify.verify_live(database, source=schema, busy_timeout=busy_timeout)
    except (errors.DatabaseBusy, errors.PermissionDenied):
        raise
    except errors.BackupError:
        return False
    return findings.status == "ok"


def _in_place(database, pending, log, busy_timeout):
    record = pending.record
    if pending.phase == journal_room.ROLLING_BACK:
        swap.in_place(record["kept"], database, busy_timeout)
        return "undone", "the old content was put back from the pre-restore backup"
    # Opening it lets SQLite roll back or replay, so that it is the old content or the new.
    expected = _expected(record)
    findings = verify.verify_live(database, "none", source=expected, busy_timeout=busy_timeout)
    if findings.status == "ok" and any(expected.values()):
        return "finished", "the database has the content of the backup"
    if pending.phase == journal_room.SWAPPING:
        return "undone", "SQLite has kept one whole content; it is not exactly the backup's, so run the restore again"
    if _sound(database, record, busy_timeout):
        return "finished", "the database has the content of the backup, and was written to since"
    if not record.get("kept"):
        return "finished", "the restored database did not pass its checks, and no old content had been kept"
    log.note(journal_room.ROLLING_BACK)
    swap.in_place(record["kept"], database, busy_timeout)
    return "undone", "the restored database did not pass its checks: the old content was put back"


def _replace(database, pending, log, busy_timeout):
    record = pending.record
    renamed = not files.exists(journal_room.staged_path(database))
    swapped = pending.phase == journal_room.SWAPPED or (renamed and pending.phase == journal_room.SWAPPING)
    if swapped and _sound(database, record, busy_timeout):
        return "finished", "the new file had been put in place and passed its checks"
    undo_replace(database, log, existed=record.get("existed", True))
    return "undone", "the old file is in its place"


def undo_replace(database, log, *, existed):
    """Bring the old file back from wherever ``replace`` had come to. Nothing has to be done twice to be right."""
    if files.exists(journal_room.staged_path(database)):
        swap.sidecars_back(database)  # The rename had not happened: the old file was never away.
    elif existed:
        swap.put_back(database, log)
    else:
        log.note(journal_room.ROLLING_BACK)
        swap.remove_new(database)
