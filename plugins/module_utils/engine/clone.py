# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The snapshot method ``clone``: the raw bytes of a live database, copied while SQLite's own locks hold them still.

**Why the copy is consistent.** Everything is read inside one read transaction of an ordinary connection, begun before
the first byte and ended after the last one. What may happen to the bytes meanwhile depends on the journal mode.

*Rollback journal* (https://www.sqlite.org/lockingv3.html, sections 3 to 5). The read transaction holds a SHARED lock.
Pages are written to the database file only under an EXCLUSIVE lock, which nobody gets while somebody holds SHARED; a
writer gets as far as RESERVED or PENDING, with its changes in memory and in the journal. A hot journal was rolled back
when SHARED was taken. So the file does not change, and is the last committed state. The journal is not copied.

*WAL* (https://www.sqlite.org/walformat.html, sections 2.3 and 4; https://www.sqlite.org/wal.html). Let M be the last
frame of the log that the transaction sees. It holds a shared lock on one of the read marks:

* WAL_READ_LOCK(k), k > 0, whose mark is at most M. A checkpoint copies frames into the database file no further than
  the smallest mark that is in use, so what it writes while we copy are frames up to M. A page that we read half old
  and half new is one of them. The log cannot start again from its beginning (by a writer, RESTART or TRUNCATE).
* WAL_READ_LOCK(0): all frames had been copied into the database file when the transaction began, and the file alone is
  the state. A checkpoint has to lock WAL_READ_LOCK(0) exclusively to write into the file, so the file does not change.
  Writers may append to the log, or start it again, or a TRUNCATE may empty it.

After the transaction has begun, and before the first byte is copied, the index of the log (``-shm``) is asked for the
last frame N of the newest commit, which is M or later, and for the number B of frames that are in the file. It is
read until two readings agree, so that B is no later than N: a checkpoint leaves out a page of which it sees a later
frame than it may copy, so a B from behind another commit would count frames that are not in the file.

* B < N: the first N frames of the log are copied after the file, and SQLite replays them over it. They are there until
  we end the transaction: under k > 0 the log does not start again, under 0 it could do so only with all of it in the
  file, into which nobody writes. What somebody appends after N is not copied. A page that may have been torn is in one
  of the N frames, as is a page behind the end of the file. So the copy is the state of the commit that ended with N.
* B = N, or larger, as it is seen for a moment where the log starts again: the file is the state. Nobody changes it:
  under k > 0 a checkpoint may go no further than M, where it already is, and 0 keeps everybody out. The log is not
  copied.

There is one trap. Were a log copied that starts again meanwhile, old and new frames would mix, and the replay of the
first few old frames over a file that has them all would bring old pages back.

**What is not taken on trust.** A log that is copied must have the salts that the index tells, before and after: they
change when it starts again. SQLite's readers do not check the frames' checksums, but the replay does, and ends at the
first that is wrong; it must reach N. The file that was read must be the one that SQLite has locked and still have the
name: where another was renamed over it, the log that lies there is the other's. In rollback mode the header, size
and times of the file must be the same before and after. The finished copy must have the size that its header tells.
Wherever one of these fails, and wherever the locks are not SQLite's POSIX locks on a local filesystem, `obstacle`,
`copy` or `fold` says why, and the caller takes the method ``online``.

**Descriptors.** POSIX drops all locks of a process on a file when it closes any descriptor of it. So those of the
database and its ``-shm`` are closed by `database.close_raw`, which waits for the last connection.

A crash at any time leaves the source untouched and a worthless copy, ``TARGET`` and ``TARGET-wal``.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import sys
from typing import NamedTuple

from . import behind, copying, database, files, mounts
from .header import canonical, library_version

# Where a page that another process has written is what a raw read sees at once, and where POSIX locks work. Not among
# them: network filesystems, FUSE, overlay (a file may move to the upper layer under an open descriptor).
LOCAL = ("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "tmpfs", "jfs", "reiserfs", "bcachefs", "nilfs2")
_FRAME_HEADER = 24
_LOG_HEADER = 32
# Two copies of the header of the log's index, then the number of frames that are in the database file.
_INDEX = struct.Struct("=48s48sI")
_INDEX_HEADER = struct.Struct("=I8xBxxxI12x8s8x")
_INDEX_VERSION = 3007000
_INDEX_TRIES = 100
# With more frames to replay than this, all is hashed again: to look for the first page that changes takes longer.
_LOOKED_AT = 5_000


class Index(NamedTuple):
    """What the log's index says: its last frame, how many are in the database file, and which log it is of."""

    frames: int
    folded: int
    salts: bytes

    def log_bytes(self, page_size):
        """How much of the log belongs to the state beside the file: 0 where the file has it all."""
        return _LOG_HEADER + self.frames * (_FRAME_HEADER + page_size) if self.folded < self.frames else 0


class Copied(NamedTuple):
    """A raw copy that is not folded yet: the ``log_index`` of a log that has to be replayed or None, whether it was
    copied with it, the ``pages`` of the database and their size, and the way in which the bytes were copied.
    """

    log_index: Index | None
    has_log: bool
    pages: int
    page_size: int
    way: str


def obstacle(path):
    """Why the database at ``path`` cannot be cloned here, without having opened it; or None."""
    if not sys.platform.startswith("linux"):
        return "its locks and filesystems are known on Linux only"
    path = files.resolve(path)
    kind = mounts.filesystem(path)
    if kind not in LOCAL:
        return (
            f"its filesystem ({kind or 'unknown'}) is none of those on which raw reads are known to agree with SQLite's"
        )
    if files.exists(path + ".lock"):
        return "a .lock beside it shows an application that does not use SQLite's POSIX locks"
    return None


def _obstacle_now(connection, path, mode):
    if isinstance(connection, database.Quiet):
        return "it is read without locks"
    if mode not in ("wal", "delete"):
        return f"its journal mode here is {mode}"
    if connection.execute("PRAGMA locking_mode").fetchone()[0] != "normal":
        return "this SQLite locks exclusively"
    if mode == "wal" and not os.access(path + "-shm", os.R_OK | os.W_OK):
        # SQLite then reads the log without a lock, by an index in its own memory.
        return "its -shm file cannot be shared by this user"
    return None


def copy(connection, path, target, *, progress=None, hashing=False, most_log=None):
    """Copy the bytes into the empty file ``target``: (Copied, None, Passing), or (None, why not, None).

    ``connection`` is in its read transaction and stays there. ``progress(done, total)`` in bytes. With ``hashing`` the
    bytes are hashed as they pass, with the header that `finish` will write; a reflink passes no bytes. ``most_log`` is
    how much of a log is accepted, as a part of the database. The Passing has still to be finished.
    """
    path = files.resolve(path)
    try:
        questions = ("journal_mode", "page_count", "page_size")
        mode, pages, page_size = (connection.execute(f"PRAGMA {what}").fetchone()[0] for what in questions)
    except sqlite3.Error as error:
        # A schema that this SQLite does not understand; to copy pages it need not.
        return None, f"SQLite cannot be asked about it ({error})", None
    why_not = _obstacle_now(connection, path, mode)
    if why_not:
        return None, why_not, None
    reader = files.open_regular(path)
    try:
        index = _index(path, reader) if mode == "wal" else None
        if mode == "wal" and index is None:
            return None, "the index of its log cannot be read", None
        log = index.log_bytes(page_size) if index else 0
        if most_log is not None and log > most_log * pages * page_size:
            return None, f"its log has {log} bytes that are not in the file yet, and to replay them takes longer", None
        before = _look(reader)
        length = os.fstat(reader).st_size if index else pages * page_size
        passing = behind.Passing(
            target,
            length,
            progress=progress,
            hashing=hashing,
            begin=lambda raw: canonical(raw, pages, library_version()),
            patient=index is not None,  # In rollback mode writers wait for us, and we for nothing.
            gently=_lively(path) if index is not None else lambda: True,
        )
        try:
            way = _copy_main(reader, target, length, passing)
            has_log = index is not None and log > 0 and _copy_log(path, target, index.salts, log)
        except BaseException:
            passing.close()
            raise
        why_not = _disturbed(connection, path, reader, before if index is None else None)
        if why_not:
            passing.close()
            return None, why_not, None
        return Copied(index if log else None, has_log, pages, page_size, way), None, passing
    finally:
        database.close_raw(reader)


def _lively(path):
    """A function that tells whether somebody has written to the log since."""

    def look():
        try:
            facts = os.stat(path + "-wal")
        except OSError:
            return None
        return facts.st_mtime_ns, facts.st_size

    first = look()
    return lambda: look() != first


def _copy_main(reader, target, length, passing):
    writer = os.open(target, files.IN_PLACE)
    try:
        if copying.reflink(reader, writer):
            return copying.REFLINK
        # A file that a checkpoint has made shorter meanwhile ends earlier: what it lost is no part of the state.
        return copying.move(reader, writer, length, passing)[1]
    finally:
        os.close(writer)


def _disturbed(connection, path, reader, before):
    """What has happened that no lock keeps out, as far as it shows; or None. ``before`` is of `_look`, or None."""
    try:
        named = os.path.samestat(os.fstat(reader), os.stat(path))
    except OSError:
        named = False
    if not (named and connection.reads(reader)):
        return "another file has taken its place"
    if before is not None and _look(reader) != before:
        return "it was changed while SQLite's lock was held: somebody does not keep to the locks"
    return None


def _look(reader):
    facts = os.fstat(reader)
    return facts.st_size, facts.st_mtime_ns, os.pread(reader, 100, 0)


def _index(path, reader):
    """The Index as two readings found it, or None. The descriptor of ``-shm`` stays until the connection is closed."""
    try:
        shared = files.open_regular(path + "-shm")
    except OSError:
        return None
    try:
        before = None
        for _try in range(_INDEX_TRIES):
            raw = os.pread(shared, _INDEX.size, 0)
            if len(raw) < _INDEX.size:
                return None
            first, second, folded = _INDEX.unpack(raw)
            version, ready, frames, salts = _INDEX_HEADER.unpack(first)
            # A writer changes the second copy first: while they differ it is under way.
            if raw == before and first == second and version == _INDEX_VERSION and ready == 1:
                return Index(frames, folded, salts)
            before = raw
        return None
    finally:
        database.close_raw(shared, beside=reader)


def _copy_log(path, target, salts, length):
    """Copy so much of ``-wal`` beside the copy; False when it is not the log with these salts, or not any more."""
    try:
        reader = files.open_regular(path + "-wal")
    except FileNotFoundError:
        return False
    try:
        if _salts(reader) != salts:
            return False
        with files.being_made(target + "-wal") as writer:
            copying.move(reader, writer, length)
        if _salts(reader) == salts:
            return True
        files.remove(target + "-wal")
        return False
    finally:
        os.close(reader)  # There are no locks on a log.


def _salts(reader):
    return os.pread(reader, _LOG_HEADER, 0)[16:24]


# --- after the lock --------------------------------------------------------------------------------------------------


def fold(target, copied):
    """Let SQLite replay the copied log into the copy, and check that it could: (pages, first changed byte, why not).

    ``first changed byte`` is None where nothing has changed that was hashed before. Raises what SQLite says.
    """
    pages, changed = copied.pages, None
    if copied.log_index is not None:
        if not copied.has_log:
            return pages, changed, "its log was gone although it was needed"
        changed = _first_changed(target, copied)
        replayed, pages = _replay(target)
        if replayed < copied.log_index.frames:
            return pages, changed, "its log could not be replayed to the end"
        changed = changed if pages == copied.pages else 0
    return pages, changed, _trim(target, pages)


def _replay(target):
    """(frames replayed, pages of the database afterwards). A crash leaves the copy and its log, both worthless."""
    connection = database.connect(target, mode="rw")
    try:
        # Nobody else knows the copy: the index of its log can be in memory, and one fsync at the end is enough.
        connection.execute("PRAGMA locking_mode=EXCLUSIVE").fetchall()
        connection.execute("PRAGMA synchronous=OFF")
        _busy, frames, folded = connection.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
    finally:
        connection.close()
    for suffix in database.SIDECARS:
        files.remove(target + suffix)
    return (frames if folded == frames else -1), pages


def _first_changed(target, copied):
    """Where the first page begins that the replay will change: those of the frames which the file did not have when
    its copying began. Frames that it had change nothing, unless a later one has the same page.
    """
    todo = range(copied.log_index.folded, copied.log_index.frames)
    if len(todo) > _LOOKED_AT:
        return 0
    with os.fdopen(files.open_regular(target + "-wal"), "rb", buffering=0) as log:
        first = min((_page_number(log, frame, copied.page_size) for frame in todo), default=1)
    return (first - 1) * copied.page_size


def _page_number(log, frame, page_size):
    log.seek(_LOG_HEADER + frame * (_FRAME_HEADER + page_size))
    return int.from_bytes(log.read(4), "big")


def _trim(target, pages):
    """Cut off what lies behind the last page, of a file that was once larger; why the copy cannot be right, or None."""
    size, wanted = files.size(target), pages * database.check_file(target).page_size
    if size > wanted:
        files.truncate(target, wanted)
    return "its file is shorter than SQLite takes it to be" if size < wanted else None


def finish(target, pages):
    """Write the header that tells nothing of the file's history, so that it opens anywhere. Not durable by itself."""
    descriptor = os.open(target, files.IN_PLACE)
    try:
        raw = os.pread(descriptor, 100, 0)
        files.write_all(descriptor, canonical(raw, pages, library_version()))
    finally:
        os.close(descriptor)
