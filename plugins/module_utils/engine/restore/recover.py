# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finish or undo a restore that was killed. What is decided rests on the journal and on what is really there.

* Nothing live was touched yet: the staged copy is removed (undone).
* ``in_place`` was writing: SQLite has kept the old content or the new; it is looked at, and told which.
* ``replace`` was swapping: without the rename it is undone, after it the new database is checked and kept (finished),
  or the old one put back.
* It was rolling back: that is done again to its end.
* It had ended: what was kept for the way back is removed.

An application may have been started since, and have migrated the database or written to it: only proven damage, or
exactly the content that had failed its checks, is ever overwritten, and a file that is renamed over is kept.
"""

from __future__ import annotations

import contextlib

from .. import clock, errors, files, verify
from . import journal as journal_room
from . import plan as plan_room
from . import shut as shut_room
from . import swap


def settle(database, log, busy_timeout, undo=False):
    """Settle the pending restore in the open journal; {phase, outcome, detail, backup, kept, started_at}, or None.

    ``outcome`` is ``undone`` or ``finished``. With ``undo`` a file that was replaced is brought back also where the new
    one is sound; after one that was written in place the caller restores what was ``kept``. Raises when it cannot be
    settled now (the database is locked, the disk is full); the journal is then kept for the next run.
    """
    pending = log.pending
    if pending is None:
        remove_staged(database)
        return None
    record = pending.record
    settlers = {"in_place": _in_place, "replace": _replace}
    if pending.phase == journal_room.ENDED:
        outcome, detail = record["outcome"], record["detail"]
    elif pending.phase in (journal_room.BEGUN, journal_room.CAPTURED):
        outcome, detail = "undone", "the database had not been touched"
    else:
        outcome, detail = settlers[record["strategy"]](database, pending, log, busy_timeout, undo)
    log.end(outcome, detail)
    swap.forget_old(database)
    remove_staged(database)
    log.clear()
    return {
        "phase": pending.phase,
        "outcome": outcome,
        "detail": detail,
        "backup": record.get("backup"),
        "kept": record.get("kept"),
        "started_at": record.get("started_at"),
        "settled_at": clock.iso(clock.now()),
    }


def end(path, log, steps, outcome, detail):
    """Remove what was kept for the way back. A crash leaves some of it, and the journal by which the next run does so.

    The staged copy goes after the outcome is written down: that it is there means that it was not renamed.
    What cannot be removed is left in the same way, and changes nothing in the outcome.
    """
    try:
        log.end(outcome, detail)
        swap.forget_old(path)
        remove_staged(path)
        log.finish()
    except OSError as error:
        steps.skipped("tidy", f"left for the next run, because of: {error}")


def remove_staged(database):
    """Remove the staged copy, with whatever lies beside it, durable.

    The journal goes after it, and who finds no journal looks for no copy.
    """
    staged = journal_room.staged_path(database)
    files.remove_durably(*(staged + suffix for suffix in ("", "-journal", "-wal", "-shm")))


def _expected(record):
    return record.get("expected") or {}


def _has(database, expected, busy_timeout):
    """Whether the live database has exactly the expected rows and schema; False where nothing is known to compare."""
    if not any(expected.values()):
        return False
    return verify.verify_live(database, "none", source=expected, busy_timeout=busy_timeout).status == "ok"


def _proven_corrupt(database, busy_timeout):
    """Whether SQLite finds damage in what is there now. An application may have migrated it or written to it since, so
    a schema or rows that differ prove nothing; what cannot be read for another reason is raised.
    """
    try:
        return verify.verify_live(database, busy_timeout=busy_timeout).status == "corrupt"
    except (errors.DatabaseCorrupt, errors.NotADatabase, errors.DatabaseEmpty, errors.DatabaseNotFound):
        return True
    except errors.Unverifiable:
        return False


def _in_place(database, pending, log, busy_timeout, _undo):
    record = pending.record
    # Opening it lets SQLite roll back or replay, so that it is the old content or the new, whole.
    if pending.phase == journal_room.ROLLING_BACK:
        if not _has(database, _expected(record), busy_timeout):
            return "undone", "the old content had been put back, or the database was written to since"
        return _write_back(database, record, log, busy_timeout)
    if _has(database, _expected(record), busy_timeout):
        return "finished", "the database has the content of the backup"
    if pending.phase == journal_room.SWAPPING:
        return "undone", "SQLite has kept one whole content; it is not exactly the backup's, so run the restore again"
    if not _proven_corrupt(database, busy_timeout):
        return "finished", "the database has the content of the backup, and was written to since"
    if not record.get("kept"):
        return "finished", "the restored database is damaged, and no old content had been kept"
    return _write_back(database, record, log, busy_timeout)


def _write_back(database, record, log, busy_timeout):
    """Put the pre-restore backup back in place. Only over exactly the restored content, or over proven damage."""
    if not files.exists(record["kept"]):
        raise errors.RestoreFailed(
            "an interrupted restore is to be undone, and the pre-restore backup it needs is not there",
            path=record["kept"],
            hint=f"Bring that file back, or remove the journal {errors.show(journal_room.path_for(database))} to keep "
            "the database as it is.",
        )
    log.note(journal_room.ROLLING_BACK)
    swap.in_place(record["kept"], database, busy_timeout).close()
    return "undone", "the old content was put back from the pre-restore backup"


def _replace(database, pending, log, busy_timeout, undo):
    existed = pending.record.get("existed", True)
    if not journal_room.renamed(database):
        swap.sidecars_back(database)
        return "undone", "the old file was never away"
    # The log of a raw copy that is still staged: without it the file has another content, sound or not.
    unwanted = bool(journal_room.staged_sidecars(database)) or pending.phase == journal_room.ROLLING_BACK
    if not existed and not unwanted:
        return "finished", "the new file is in place; there had been none"
    if not unwanted and not undo and not _proven_corrupt(database, busy_timeout):
        return "finished", "the new file had been put in place and is sound"
    detail = "the old file is in its place" if existed else "there is no database, as before"
    if not files.exists(journal_room.aside_path(database) if existed else database):
        _old_back(database, log, existed)
        return "undone", detail
    with alone(database, busy_timeout):
        kept = swap.keep(database, database)
        _old_back(database, log, existed)
    return "undone", f"{detail}; what was there is kept as {kept}"


@contextlib.contextmanager
def alone(database, patience=shut_room.PATIENCE):
    """Nobody uses the new file or the old one while the block runs: who has opened the one would write into the log of
    the other by its name. Raises InUse, which names them, and DatabaseBusy where they stay for ``patience`` seconds.
    """
    plan_room.require_free(database)
    with contextlib.ExitStack() as held:
        held.enter_context(shut_room.shut(database, patience=patience))
        held.enter_context(shut_room.shut(journal_room.aside_path(database), database, patience))
        plan_room.require_free(database)
        yield


def undo_replace(database, log, *, existed):
    """Bring the old file back from wherever this run's ``replace`` had come to. Done twice it is right as well."""
    if not log.renaming:
        return
    if journal_room.renamed(database):
        _old_back(database, log, existed)
    else:
        swap.sidecars_back(database)  # The old file was never away.


def _old_back(database, log, existed):
    """Nothing has to be done twice to be right: a kill leaves ``rolling_back`` noted, and the next run comes here."""
    if existed:
        swap.put_back(database, log)
    else:
        log.note(journal_room.ROLLING_BACK)
        swap.remove_new(database)
