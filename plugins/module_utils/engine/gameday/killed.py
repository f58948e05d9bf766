# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The fault of a restore that is killed half way, at several moments, each in a process of its own."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from typing import NamedTuple

from .. import database, errors, processes
from ..restore import journal
from . import content, places
from .judging import require
from .scene import OF_THE_PLACE

# A restore in place writes in so many steps here, to have moments in between.
_STEPS = 8
# Of a larger database not even half fits into the memory that SQLite keeps pages in.
_CACHED_BYTES = 4 * 1024 * 1024


class Moment(NamedTuple):
    """When the restoring process kills itself: at a share of a stage, or before it touches a name on the disk."""

    strategy: str
    what: str
    stage: str
    share: float = 0.0


# The moments of `replace` are those between which the old file, both files and the new file have the name.
MOMENTS = (
    Moment("in_place", "while the backup is unpacked", "stage"),
    Moment("in_place", "when the first pages are written", "restore"),
    Moment("in_place", "when half of the pages are written", "restore", 0.5),
    Moment("in_place", "when all but the last pages are written", "restore", 0.99),
    Moment("in_place", "when the new content is committed", "restore", 1.0),
    Moment("replace", "before the old file has a second name", "link"),
    Moment("replace", "before the new file has the name", "rename"),
    Moment("replace", "when the new file has the name", "renamed"),
    Moment("replace", "before the old file is let go", "forget"),
)


def interrupted_restore(scene):
    """Killed at each of the moments, over a database of other content. The next backup settles what it finds: the old
    content or the new must be there, row for row, with nothing beside it, and what is told of it must be so.
    """
    places.needs_fork()
    came: dict = {"old": [], "new": []}
    for moment in MOMENTS:
        with scene.work() as work:
            came[_survived(scene, work, moment)].append(moment.what)
    told = [f"{len(whats)} times the {which} content ({', '.join(whats)})" for which, whats in came.items() if whats]
    return f"killed {len(MOMENTS)} times, settled each time by the next backup: " + "; ".join(told)


def _survived(scene, work, moment):
    """``old`` or ``new``: which content was there after the kill."""
    live = os.path.join(work, f"{scene.name}.db")
    content.make(live, scene.form)
    old = content.rows(live)
    answer, ended_by = processes.apart(lambda: _restore_until(scene, live, moment))
    if ended_by != signal.SIGKILL:
        if answer and answer["error_code"] == errors.TimeLimit.error_code:
            raise errors.TimeLimit(answer["cause"])
        raise errors.FaultNotRun(f"{moment.strategy}: the restore could not be killed {moment.what} ({answer})")
    where = f"{moment.strategy}, killed {moment.what}"
    interrupted = journal.pending(live) is not None
    try:
        settled = scene.back_up(live, scene.backups)["recovered"]
        _start_application(live)
    except (errors.TimeLimit, *OF_THE_PLACE):
        raise
    except errors.BackupError as error:
        raise errors.FaultMissed(f"{where}: the database cannot be used: {error.error_code} ({error.cause})") from error
    left = places.beside(live)
    require(not left, f"{where}: left beside the database: {', '.join(left)}")
    require(interrupted and settled, f"{where}: the next backup did not see that a restore had been interrupted")
    for which, rows, outcome in (("old", old, "undone"), ("new", scene.rows, "finished")):
        if content.same(live, rows):
            said = settled["outcome"]
            require(said == outcome, f"{where}: it has the {which} content, and is told as {said}")
            return which
    raise errors.FaultMissed(f"{where}: the database has neither the old content nor the new")


def _start_application(live):
    """Write to the database, take it back, and close it, as an application does first: what the kill has left beside it
    and SQLite still needs, or makes nothing of, goes by that. Raises what SQLite says where that cannot be done.
    """
    try:
        connection = database.connect(live, mode="rw", busy_timeout=1.0)
        try:
            connection.execute("BEGIN IMMEDIATE")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            connection.execute(f"PRAGMA user_version={int(version)}")
            connection.execute("ROLLBACK")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise database.translate(error, live) from error


def _restore_until(scene, live, moment):
    """In a child of its own, which does not come to the end of this."""
    trap = _Trap(moment, live, scene.common["progress"])
    if moment.strategy == "in_place":
        database.STEP_PAGES = max(1, scene.form.size_bytes // scene.form.page_size // _STEPS)
        if scene.form.size_bytes < _CACHED_BYTES:
            _forget_pages(live)
    else:
        sys.addaudithook(trap.hear)
    try:
        scene.restore(live, strategy=moment.strategy, progress=trap.progress)
    except errors.BackupError as error:
        return {"error_code": error.error_code, "cause": error.cause}
    return {"error_code": None, "cause": "it went to its end"}


def _forget_pages(live):
    """Let SQLite keep no page in this process's memory, so that it writes into the file as it goes, not at the end."""
    connection = database.connect(live, mode="rw")
    try:
        connection.execute("PRAGMA soft_heap_limit=1").fetchall()
    finally:
        connection.close()


class _Trap:
    """Kills this process when its restore comes to the moment."""

    def __init__(self, moment, live, progress):
        self._moment, self._live, self._progress = moment, live, progress
        self._renamed = False

    def progress(self, stage, done, total):
        """Told how far the restore has come."""
        share = self._moment.share
        # Short of the end there is always a step left.
        enough = total if share == 1.0 else min(share * total, total - database.STEP_PAGES)
        if stage == self._moment.stage and total and done >= enough:
            self._kill()
        self._progress(stage, done, total)

    def hear(self, event, arguments):
        """Told by Python of what is about to be done to a name on the disk."""
        # Below a state directory a name is reached by its directory's descriptor.
        stage, live = self._moment.stage, os.path.basename(self._live)
        if self._renamed:
            aside = os.path.basename(journal.aside_path(self._live))
            gone = event == "os.remove" and os.path.basename(arguments[0]) == aside
            if (stage == "renamed" and event == "open") or (stage == "forget" and gone):
                self._kill()
        elif event == "os.link" and os.path.basename(arguments[0]) == live and stage == "link":
            self._kill()
        elif event == "os.rename" and os.path.basename(arguments[1]) == live:
            if stage == "rename":
                self._kill()
            self._renamed = True

    @staticmethod
    def _kill():
        os.kill(os.getpid(), signal.SIGKILL)
