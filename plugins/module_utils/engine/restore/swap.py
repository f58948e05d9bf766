# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Put the staged copy in the live database's place, and the old content back. The only code that writes to it."""

from __future__ import annotations

import contextlib
import os
import sqlite3

from .. import clock, copying, database, errors, files, ownership, processes, snapshot
from . import free_name
from . import journal as journal_room
from . import plan as plan_room
from .shut import CAN_SHUT, STOP_IT, shut

_BUSY = (5, 6)  # SQLITE_BUSY, SQLITE_LOCKED: https://www.sqlite.org/rescode.html
_PATIENCE = 0.1


def in_place(content, path, busy_timeout, progress=None):
    """Write the pages of the file ``content`` into the live database in one transaction of SQLite.

    SQLite keeps the old pages in its rollback journal, or appends the new ones to the log, and both are synced before
    the commit. A crash before the commit leaves the old content (the next reader rolls back), after it the new.
    Raises DatabaseBusy when other connections do not let go within ``busy_timeout`` seconds, and what SQLite says
    otherwise; the old content is then still there. The Watch that is returned must be closed.
    """
    deadline = clock.monotonic() + busy_timeout
    source = database.connect(content, immutable=True)
    try:
        target = database.connect(path, mode="rw", busy_timeout=_PATIENCE)
        try:
            # The commit is the removal of the rollback journal: without this SQLite does not sync its directory, and a
            # loss of power could bring the journal back, and with it the old content, after we had told of the new one
            # (https://www.sqlite.org/pragma.html#pragma_synchronous).
            _patiently(deadline, lambda: target.execute("PRAGMA synchronous=EXTRA"))
            watch = _patiently(deadline, lambda: Watch(target))
            _copy_pages(source, target, path, deadline, busy_timeout, progress)
            # The new content is committed. In WAL mode the log holds all of it; whether it can be emptied (a reader may
            # need it, the disk may be full) changes nothing in that, so it is no failure.
            with contextlib.suppress(sqlite3.Error):
                target.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except BaseException:
            target.close()
            raise
        return watch
    except sqlite3.Error as error:
        raise database.translate(error, path) from error
    finally:
        source.close()


class Watch:
    """The connection that wrote the content: it tells whether anybody else has committed since it was opened.

    ``PRAGMA data_version`` changes when another connection, of whatever process or container, has committed, and not
    by the connection's own commits (https://www.sqlite.org/pragma.html#pragma_data_version).
    """

    def __init__(self, connection):
        self._connection = connection
        self._version = self._look()

    def _look(self):
        return self._connection.execute("PRAGMA data_version").fetchone()[0]

    def others_wrote(self):
        try:
            return self._look() != self._version
        except sqlite3.Error:
            return True

    def close(self):
        self._connection.close()


class FileWatch:
    """The same of a file that was renamed into place: begun while it is shut, before anybody can have written to it."""

    def __init__(self, path):
        self._path = path
        self._was = self._look()

    def _look(self):
        facts = os.stat(self._path)
        return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, files.size(self._path + "-wal")

    def others_wrote(self):
        try:
            return self._look() != self._was
        except OSError:
            return True

    def close(self):
        """Nothing is held open."""


def writers(path, findings, watch):
    """Who has changed rows in the moment since: differing rows are no failure while an application writes."""
    if any(row["check"] != "rows" for row in findings.errors):
        return ""
    found, _unseen = processes.holders([path])
    return (processes.describe(found) or "a connection that has gone again") if watch.others_wrote() else ""


def _patiently(deadline, work):
    """Do it again while the database is locked: SQLite itself waits only a moment, so that signals are heard."""
    while True:
        try:
            return work()
        except sqlite3.Error as error:
            busy = isinstance(database.translate(error, None), errors.DatabaseBusy)
            if not busy or clock.monotonic() >= deadline:
                raise
        clock.sleep(_PATIENCE / 2)


def _copy_pages(source, target, path, deadline, busy_timeout, progress):
    def step(status, remaining, total):
        # Connection.backup retries for ever on a locked target; an exception from here ends it, rolled back.
        if status in _BUSY and clock.monotonic() >= deadline:
            raise errors.DatabaseBusy(f"it stayed locked for {busy_timeout:g} s", path=path)
        if progress is not None:
            progress("restore", total - remaining, total)

    source.backup(target, pages=database.STEP_PAGES, progress=step, sleep=_PATIENCE / 2)


def dress(staged, path, source):
    """Give the staged file the owner, mode, attributes and journal mode that the database has, or had."""
    if source.get("journal_mode") == "wal":
        snapshot.set_wal_flag(staged, True)
    if files.exists(path):
        ownership.copy(path, staged)
    else:
        _dress_as_recorded(staged, path, source)
    files.sync(staged)


def _dress_as_recorded(staged, path, source):
    """The database is gone: its manifest knows the mode and, for root, the owner; else the directory's owner has it."""
    try:
        mode = int(str(source.get("mode")), 8) & 0o777  # A manifest never makes a file that runs as its owner.
    except ValueError:
        mode = 0o600
    if not hasattr(os, "geteuid"):
        return
    facts = os.stat(os.path.dirname(path))
    uid, gid = source.get("uid"), source.get("gid")
    if os.geteuid() != 0:
        uid, gid = os.geteuid(), os.stat(staged).st_gid
    elif not isinstance(uid, int) or not isinstance(gid, int):
        uid, gid = facts.st_uid, facts.st_gid
    ownership.set_on(staged, uid, gid, mode)


def replace(staged, path, live, log, held):
    """Rename the staged file over the live one, keeping the old one aside. ``log`` is the open restore journal.

    1. Of a sound database SQLite folds the log or a hot journal into the file: crash: old content, whole. Whoever came
       since the plan was made is found now, by SQLite's lock and by who holds the files. Then both files are shut: who
       comes now can begin with neither before it is decided which one it is. ``held`` (an ExitStack) opens them again,
       which the caller lets happen after it has undone what fails.
    2. The staged file's name is made durable, then ``swapping`` is noted: from now on that it is not there means that
       it was renamed. What sidecars are left (of a damaged database) are renamed aside: crash: the damaged file without
       them, and the next run puts them back.
    3. The old file gets a second name aside: crash: as before.
    4. The rename: before it the old content, after it the new, both without sidecars, so neither is ever mixed with a
       log of the other.
    5. ``swapped`` is noted; whoever opened the old file in the last moment is found now, and the old file put back.
    """
    forget_old(path)  # Left by a restore that had ended long ago: never to be taken for this one's.
    if live == "sound":
        fold(path)
    held.enter_context(shut(staged, path))
    orphans = free_name.orphans(path) if live == "absent" else None
    if live == "absent":
        free_name.require(path)
    else:
        plan_room.require_free(path)  # It can name them.
        held.enter_context(shut(path))
        if live == "sound":
            _require_folded(path)
        plan_room.require_free(path)
    directory, aside = os.path.dirname(path), journal_room.aside_path(path)
    files.sync_directory(directory)
    log.note(journal_room.SWAPPING, existed=live != "absent")
    for suffix in database.SIDECARS:
        if files.exists(path + suffix):
            if orphans is not None:
                free_name.require_orphan(path, suffix, orphans)
            files.rename(path + suffix, aside + suffix)
    files.sync_directory(directory)
    if live != "absent":
        _second_name(path, aside)
    try:
        if live == "absent":
            free_name.give(staged, path)
        else:
            files.replace(staged, path)
    except PermissionError:
        if os.name == "nt":
            plan_room.require_free(path)  # Windows renames over no file that is open: somebody came in this moment.
        raise
    log.note(journal_room.SWAPPED)
    if live != "absent":
        plan_room.require_free(aside)


def _second_name(path, aside):
    try:
        files.link(path, aside)
    except OSError:
        # A filesystem without hard links (FAT, some network ones): a copy serves as well.
        copying.copy(path, aside)
        ownership.copy(path, aside)
        files.sync_directory(os.path.dirname(aside))


def fold(path):
    """Let SQLite fold a database's log or hot journal into the one file. Raises DatabaseBusy when it is in use.

    In exclusive locking mode that needs a lock which every other connection in WAL mode denies, also one of a container
    whose processes cannot be seen from here.
    """
    if not files.size(path):
        return
    connection = database.connect(path, mode="rw", busy_timeout=_PATIENCE)
    try:
        connection.execute("PRAGMA locking_mode=EXCLUSIVE").fetchall()
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.Error as error:
        problem = database.translate(error, path)
        if isinstance(problem, errors.DatabaseBusy):
            problem.hint = STOP_IT
        raise problem from error
    finally:
        connection.close()


def _require_folded(path):
    """Raise DatabaseBusy when a log or a hot journal is there again: it is somebody's who came since."""
    if files.size(path + "-wal") or _has_hot_journal(path):
        raise errors.DatabaseBusy("another connection began to use it", path=path, hint=STOP_IT)


def _has_hot_journal(path):
    """Whether the rollback journal has a header, as SQLite tells by its first byte (``hasHotJournal`` in its pager.c).

    Without one it is zeroed (journal_mode PERSIST), or was not synced yet when its writer was killed: the database was
    not touched then, and SQLite lets the journal lie. Where nobody can be shut out such a writer may be alive.
    """
    if not files.size(path + "-journal"):
        return False
    begins = database.read_prefix(path + "-journal", 28)
    return any(begins[:1] if CAN_SHUT else begins)


def put_back(path, log):
    """Bring the old file back after ``replace``: the same inode, with the sidecars it had.

    Also the undo of a restore that was killed at any point of ``replace`` or of this function.
    Sidecars of the new file go first: crash: the new file without a log of its own checks. Then the old file is renamed
    back: crash: the old file, its sidecars still aside, and ``rolling_back`` noted. Then its sidecars.
    """
    log.note(journal_room.ROLLING_BACK)
    directory, aside = os.path.dirname(path), journal_room.aside_path(path)
    if files.exists(aside):
        for suffix in database.SIDECARS:
            files.remove(path + suffix)
        files.sync_directory(directory)
        files.replace(aside, path)
    sidecars_back(path)


def present_path(path):
    """Where settling keeps the file that it renames over."""
    directory, base = os.path.split(path)
    return os.path.join(directory, f".{base}.restore-set-aside")


def keep(source, path):
    """Give the file ``source``, with the sidecars it has, a second name that no restore takes away; that name.

    Crash: it is there under its own names as well.
    """
    kept = present_path(path)
    for suffix in ("", *database.SIDECARS):
        files.remove(kept + suffix)
        if files.exists(source + suffix):
            _second_name(source + suffix, kept + suffix)
    return kept


def remove_new(path):
    """Undo of a ``replace`` where there had been no database: take the new file away again."""
    for suffix in ("", *database.SIDECARS):
        files.remove(path + suffix)
    sidecars_back(path)


def sidecars_back(path):
    """Rename the old file's sidecars back beside it. Where an application has made new ones since, those stay."""
    aside = journal_room.aside_path(path)
    for suffix in database.SIDECARS:
        if files.exists(aside + suffix) and not files.exists(path + suffix):
            files.rename(aside + suffix, path + suffix)
    files.sync_directory(os.path.dirname(path))


def forget_old(path):
    """The new database has passed its checks: remove what was kept for the way back. Crash: some of it is left."""
    aside = journal_room.aside_path(path)
    files.remove_durably(*(aside + suffix for suffix in ("", *database.SIDECARS)))
