# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The way back and the way on: undo a restore, interrupted or finished; resume one that was interrupted."""

from __future__ import annotations

import os

from . import catalog, errors, files, kept_files, raw_copy, restoring
from . import session as room
from .restore import journal as journal_room

# Interrupted here, a restore had not begun to fail: resuming it means to do it again where it had to be undone.
_ON_ITS_WAY = (journal_room.BEGUN, journal_room.CAPTURED, journal_room.SWAPPING, journal_room.SWAPPED)


def resume(session, wish):
    """Bring an interrupted restore to its end: what was begun is settled, and done again where it had to be undone.

    Where none was interrupted nothing is done, and the result's ``recovered`` is None.
    """
    with restoring.counted() as steps:
        settled = _settled(session, steps, undo=False)
        if settled is None:
            steps.skipped("resume", "no restore of this database was interrupted")
        if settled is None or settled["outcome"] != "undone" or settled["phase"] not in _ON_ITS_WAY:
            return restoring.answer(session, None, steps, changed=settled is not None, recovered=settled)
        # It was confirmed when it was begun.
        confirmed = wish._replace(backup=settled["backup"], force=True, other_database=True)
        if os.path.basename(settled["backup"]) in _all_kept(session):
            return _bring_back(session, confirmed, steps, settled["backup"])
    return restoring.restore(session, confirmed)


def undo(session, wish):
    """Bring the old content back: of an interrupted restore, else what the last finished one has kept.

    ``wish.backup`` may name what is to be brought back. What stands there now is kept in turn, as by any restore.
    """
    with restoring.counted() as steps:
        settled = _settled(session, steps, undo=True)
        if settled is not None and settled["outcome"] == "undone":
            return restoring.answer(session, None, steps, changed=True, recovered=settled)
        with steps.step("resolve") as row:
            path = _kept(session, wish, settled)
            row["detail"] = os.path.basename(path)
            session.tell(file=os.path.basename(path))
        confirmed = wish._replace(force=wish.force or settled is not None, other_database=True)
        return _bring_back(session, confirmed, steps, path)


def _bring_back(session, wish, steps, path):
    if path.endswith(catalog.RAW):
        return raw_copy.bring_back(session, wish, steps, path)
    return restoring.bring_back(session, wish, steps, catalog.read_entry(path, session.target.name))


def _all_kept(session):
    return kept_files.by_restores(session.target.backup_dir, session.target.name)


def planned(session, wish, way):
    """Check mode of both: what is pending, and what would be brought back. Changes nothing."""
    with restoring.counted() as steps:
        with steps.step("settle") as row:
            pending = journal_room.pending(session.target.database)
            row["detail"] = pending.message if pending else "nothing was interrupted"
        if way == "undo":
            with steps.step("resolve") as row:
                settled = pending and {"kept": pending.record.get("kept")}
                row["detail"] = os.path.basename(_kept(session, wish, settled))
        return restoring.answer(session, None, steps, changed=way == "undo" or pending is not None)


def _settled(session, steps, undo):
    with steps.step("settle") as row:
        room.settle_interrupted(session, undo=undo)
        settled = session.recovered
        row["detail"] = f"{settled['outcome']}: {settled['detail']}" if settled else "nothing was interrupted"
    return settled


def _kept(session, wish, settled):
    """The path of the old content that is meant."""
    target = session.target
    if wish.backup not in catalog.LATEST:
        named = os.path.dirname(wish.backup)
        path = files.resolve(wish.backup) if named else os.path.join(target.backup_dir, wish.backup)
    elif settled and settled["kept"]:
        path = settled["kept"]
    else:
        kept = _all_kept(session)
        if not kept or (settled and not settled["kept"]):
            raise errors.BackupNotFound("no restore has kept an old content of this database", path=target.backup_dir)
        path = os.path.join(target.backup_dir, kept[-1])
    if not os.path.isfile(path):
        raise errors.BackupNotFound("the old content is not there", path=path)
    if os.path.islink(path):
        raise errors.BackupNotFound("it is a symbolic link, which is not followed", path=path)
    return path
