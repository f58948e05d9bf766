# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bring a raw copy back: the bytes of a database that SQLite could not read, with the sidecar files it had.

Only the undo of a restore does this. SQLite has no say in it, so nothing is verified but the bytes, and nothing is
written in place: the copy is renamed over what is there.
"""

from __future__ import annotations

import contextlib
import json
import os

from . import clock, copying, database, errors, files, manifest, ownership, restoring, space
from . import session as room
from .restore import journal as journal_room
from .restore import plan as plan_room
from .restore import recover, stage, swap


def bring_back(session, wish, steps, path):
    """Put the raw copy at ``path`` in the database's place; what stands there now is kept as by any restore.

    Raises NotConfirmed, InUse, NoSpace and BackupInvalid before anything live was touched.
    """
    live_path = session.target.database
    with room.restore_journal(session) as log, contextlib.ExitStack() as held:
        try:
            live = _plan(session, wish, steps, path)
        except errors.BackupError:
            log.finish()
            raise
        log.note(journal_room.BEGUN, backup=path, strategy="replace", started_at=clock.iso(clock.now()))
        try:
            kept = _prepare(session, steps, path, live)
            log.note(journal_room.CAPTURED, kept=kept and kept.path, expected={}, existed=live != "absent")
        except BaseException:
            recover.end(live_path, log, steps, "undone", "the database had not been touched")
            raise
        try:
            with steps.step("restore") as row:
                _swap(live_path, live, log, path, held)
                row["detail"] = "the old bytes are in their place, with their sidecar files"
        except (errors.BackupError, OSError):
            recover.undo_replace(live_path, log, existed=live != "absent")
            recover.end(live_path, log, steps, "undone", "the content before is in its place")
            raise
        recover.end(live_path, log, steps, "finished", "the old bytes are in their place")
    shown = kept.shown if kept else None
    return restoring.answer(session, None, steps, changed=True, pre_restore_backup=shown, recovered=session.recovered)


def _plan(session, wish, steps, path):
    with steps.step("plan") as row:
        live_path = session.target.database
        live, _cause, _header = plan_room.judge_live(live_path, session.settings["busy_timeout"])
        row["detail"] = f"replace: {os.path.basename(path)} is a raw copy"
        if live != "absent":
            if not wish.force:
                raise errors.NotConfirmed("the database exists and would be replaced", path=live_path)
            plan_room.require_replaceable(live_path, "a raw copy is brought back")
    return live


def _prepare(session, steps, path, live):
    """Copy the bytes beside the database, comparing them with what was noted of them, and keep what is there now.

    A crash leaves staged copies, which settling removes.
    """
    live_path, staged = session.target.database, journal_room.staged_path(session.target.database)
    with steps.step("stage") as row:
        suffixes = ["", *(suffix for suffix in database.SIDECARS if files.exists(path + suffix))]
        size = sum(files.size(path + suffix) for suffix in suffixes)
        space.require_space(os.path.dirname(live_path), size, "the old content")
        sums = _sums(path)
        # Without its log a database has an older content, or none.
        for name in sums:
            gone = os.path.join(os.path.dirname(path), name)
            if not files.exists(gone):
                raise errors.BackupInvalid("a part of what was kept is gone", path=gone)
        for suffix in suffixes:
            files.remove(staged + suffix)
            copying.copy(path + suffix, staged + suffix)
            if files.sha256(staged + suffix) != sums.get(os.path.basename(path) + suffix):
                raise errors.BackupInvalid("its bytes are not those that were kept", path=path + suffix)
        row["detail"] = f"{size} bytes in {len(suffixes)} files"
    if live == "absent":
        return None
    with steps.step("pre_backup") as row:
        kept = stage.keep_old(session.target, session.settings, live, session.progress)
        row["detail"] = f"{kept.shown}: {kept.detail}"
    return kept


def _sums(path):
    """{file name: SHA-256} of the raw copy and its sidecars, as they were noted."""
    try:
        known = json.loads(manifest.read(path))
    except (ValueError, RecursionError) as error:
        raise errors.BackupInvalid(f"what was noted of it is no JSON ({error})", path=path) from error
    sums = known.get("sha256_of") if isinstance(known, dict) else None
    return sums if isinstance(sums, dict) else {}


def _swap(live_path, live, log, path, held):
    """Rename the copy over the live file, then its sidecars beside it.

    A crash before the first rename leaves the content before, which the next run keeps. After it there are the old
    bytes, damaged as they were, perhaps without their log: the next run finds them so and brings the content before
    back; the raw copy is there to begin again.
    """
    staged = journal_room.staged_path(live_path)
    sidecars = journal_room.staged_sidecars(live_path)
    for suffix in ("", *sidecars):
        if live != "absent":
            ownership.copy(live_path, staged + suffix)
        files.sync(staged + suffix)
    swap.replace(staged, live_path, live, log, held)
    for suffix in sidecars:
        files.replace(staged + suffix, live_path + suffix)
