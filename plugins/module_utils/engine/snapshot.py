# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A live database -> one consistent file, while writers go on.

All methods read inside one read transaction, begun before the first page and held to the last:

* in WAL mode it pins the state of that instant; writers go on appending to the log and nobody waits;
* in rollback mode it is a shared lock: writers wait until the reading is done, as they do for ``sqlite3 .backup``,
  and the lock is given up before the fsync.

``clone`` copies the raw bytes; `clone` says why that is consistent. ``online`` and ``vacuum`` let SQLite read.

Because the source connection already is in a transaction, SQLite's backup API neither takes nor gives up a lock of
its own between steps (``sqlite3_backup_step`` opens a transaction only where there is none), so a copy in steps does
not start again when somebody commits; without it, it never ends under writes. Steps are what gives progress and a
point at which a signal can end it. The wait for the first lock is bounded by ``busy_timeout``; after it there is no
other lock to wait for.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import NamedTuple

from . import behind, checks, clock, clone, database, errors, files, processes
from .header import Header

METHODS = ("auto", "online", "vacuum", "clone")
# So large a log, as a part of the database, is at most copied and then replayed page by page: SQLite's own copy reads
# each page once. See docs/PERFORMANCE.md.
LARGE_LOG = 0.25


class Snapshot(NamedTuple):
    """What was taken: by which method and why, the live file's header at that time, and the seconds until durable.

    ``digest`` is the SHA-256 of the copy, which goes on being taken, where that was asked for; it must be closed.
    """

    method: str
    reason: str
    header: Header
    source_bytes: int
    seconds: float
    digest: behind.Hashing | None


def choose(method, header, path):
    """(method, reason) for the live database at ``path``.

    ``auto`` takes the fastest that is right whatever the database holds: ``clone`` where its argument holds, unless its
    log turns out to be too large; else ``online``. ``vacuum`` writes another file, so only who asks for it gets it.
    """
    if method not in METHODS:
        raise errors.UsageError(f"unknown snapshot method '{method}'; there are: {', '.join(METHODS)}")
    if method not in ("auto", "clone"):
        return method, "asked for"
    why_not = clone.obstacle(path)
    if why_not is not None:
        return "online", f"{_INSTEAD[header.journal_mode]}; no clone: {why_not}"
    return "clone", "asked for" if method == "clone" else _CLONED[header.journal_mode]


_CLONED = {
    "wal": "WAL mode: a raw copy inside one read transaction, writers go on",
    "delete": "rollback mode: a raw copy under one shared lock, writers wait while it is read",
}
_INSTEAD = {
    "wal": "WAL mode: a page-for-page copy inside one read transaction, writers go on",
    "delete": "rollback mode: a page-for-page copy under one shared lock, writers wait while it is read",
}


def take(path, target, method="auto", *, busy_timeout=30.0, progress=None, hashing=False):
    """Copy the live database at ``path`` into the empty file ``target``, durable and without sidecars.

    ``busy_timeout`` in seconds bounds the wait for the database's lock. With ``hashing`` the digest is begun while the
    bytes pass. Raises DatabaseBusy, the errors of `database.check_file`, and what SQLite found wrong. After a failure
    or a crash ``target`` is worthless and the source untouched.
    """
    started, path = clock.monotonic(), files.resolve(path)
    header = database.check_file(path)
    chosen, reason = choose(method, header, path)
    digest = None
    if chosen == "clone":
        most_log = LARGE_LOG if method == "auto" else None
        source_bytes, digest, way, why_not = _clone(path, header, target, busy_timeout, progress, hashing, most_log)
        if why_not is not None:
            files.truncate(target, 0)
            header = database.check_file(path)  # Another file may have taken its place.
            chosen, reason = "online", f"{_INSTEAD[header.journal_mode]}; no clone: {why_not}"
        else:
            reason = f"{reason}; by {way}"
    try:
        if chosen != "clone":
            source_bytes = _by_sqlite(chosen, path, header, target, busy_timeout, progress)
            make_self_contained(target)
        if hashing and digest is None:
            digest = behind.Hashing.whole(target)
        files.sync(target)
    except BaseException:
        if digest is not None:
            digest.close()
        raise
    return Snapshot(chosen, reason, header, source_bytes, clock.monotonic() - started, digest)


@contextlib.contextmanager
def _reading(path, header, target, busy_timeout):
    """A connection in its read transaction; SQLite's errors become ours, and one that was killed leaves no lock."""
    try:
        source = database.open_live(path, header, busy_timeout)
    except errors.DatabaseBusy as error:
        found, _unseen = processes.holders([path])
        by = processes.describe(found) or "by a process that cannot be seen"
        raise errors.DatabaseBusy(
            f"it stayed locked for {busy_timeout:g} s ({by})",
            path=path,
            processes=found,
        ) from error
    try:
        yield source
        database.require_quiet(source)
        source.execute("COMMIT")
    except sqlite3.Error as error:
        translated = database.translate(error, path)
        if isinstance(translated, errors.NoSpace):
            translated.path = target  # It is the copy that has no room.
        raise translated from error
    finally:
        source.close()


def _by_sqlite(method, path, header, target, busy_timeout, progress):
    with _reading(path, header, target, busy_timeout) as source:
        source_bytes = database.content_bytes(path)
        _COPIERS[method](source, target, progress)
    return source_bytes


def _clone(path, header, target, busy_timeout, progress, hashing, most_log):
    """(bytes of the source, Hashing or None, way, None), or (.., None, .., why not) when it is not to be relied on."""
    with contextlib.ExitStack() as undo:
        undo.callback(_remove_sidecars, target)
        with _reading(path, header, target, busy_timeout) as source:
            source_bytes = database.content_bytes(path)
            copied, why_not, passing = clone.copy(
                source, path, target, progress=progress, hashing=hashing, most_log=most_log
            )
            if passing is not None:
                undo.callback(passing.close)
        if copied is None:
            return source_bytes, None, "", why_not
        try:
            pages, changed, why_not = clone.fold(target, copied)
        except (sqlite3.Error, errors.BackupError) as error:
            why_not = f"the copy could not be finished ({error})"
        if why_not is not None:
            return source_bytes, None, "", why_not
        clone.finish(target, pages)
        taken = passing.finish()
        if taken is not None:
            undo.callback(taken.close)
            taken = taken.taken_up(changed)
        undo.pop_all()
        return source_bytes, taken, copied.way, None


def _remove_sidecars(target):
    for suffix in database.SIDECARS:
        files.remove(target + suffix)


def _online(source, target, progress):
    def step(status, remaining, total):
        if progress is not None:
            progress((total - remaining), total)

    copy = database.connect(target, mode="rw")
    try:
        # The target is ours alone and worthless until it is whole: no journal, and one fsync at the end.
        copy.execute("PRAGMA journal_mode=OFF")
        copy.execute("PRAGMA synchronous=OFF")
        source.backup(copy, pages=database.STEP_PAGES, progress=step)
    finally:
        copy.close()


def _vacuum(source, target, progress):
    # VACUUM cannot run inside an explicit transaction; it opens a read transaction of its own and holds it throughout.
    source.execute("COMMIT")
    written = None if progress is None else lambda _done, _total: progress(files.size(target), 0)
    checks.heard(source, written, lambda: source.execute("VACUUM INTO ?", (database.uri(target, mode="rw"),)))
    database.begin_read(source)


_COPIERS = {"online": _online, "vacuum": _vacuum}


def make_self_contained(path):
    """Clear the WAL flag of a finished copy, so that it opens anywhere without creating sidecars."""
    set_wal_flag(path, False)


def set_wal_flag(path, wal):
    """Write the journal mode into the header of a database file that nobody has open and that has no sidecars.

    Bytes 18 and 19 of the header are all that distinguishes a fully checkpointed WAL database from one in rollback
    mode (https://www.sqlite.org/fileformat2.html#file_format_version_numbers). The manifest records the mode, and a
    restore sets it again. Not durable by itself.
    """
    descriptor = os.open(path, files.IN_PLACE)
    try:
        wanted = b"\x02\x02" if wal else b"\x01\x01"
        now = os.read(descriptor, 20)[18:20]
        if now in (b"\x01\x01", b"\x02\x02") and now != wanted:
            os.lseek(descriptor, 18, os.SEEK_SET)
            files.write_all(descriptor, wanted)
    finally:
        os.close(descriptor)
