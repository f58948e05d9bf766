# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Open a SQLite file safely: sidecar files, locks, connections that create nothing."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading

from . import errors, files, links, wording
from .header import looks_encrypted, parse_header

SIDECARS = ("-wal", "-shm", "-journal")
# A connection that waits does so in SQLite's busy handler, which sleeps at most 0.1 s at a time.
STEP_PAGES = 4096

# --- raw descriptors beside SQLite's locks -----------------------------------------------------------------------
# POSIX drops all of a process's locks on a file when the process closes any descriptor of it. So a descriptor that was
# opened to read raw bytes is closed at once only while no connection of this process is open on that file; otherwise
# it is parked until the last one closes.

_guard = threading.Lock()
_connections: dict[tuple[int, int], int] = {}
_parked: dict[tuple[int, int], list[int]] = {}


def _identity(facts):
    return facts.st_dev, facts.st_ino


def close_raw(descriptor, beside=None):
    """Close a descriptor of a database file, as soon as no lock of this process can be lost by it.

    That of a sidecar goes with ``beside``, an open descriptor of its database: in WAL mode the ``-shm`` has the locks.
    """
    key = _identity(os.fstat(descriptor if beside is None else beside))
    with _guard:
        if _connections.get(key):
            _parked.setdefault(key, []).append(descriptor)
            return
        os.close(descriptor)  # Still guarded: nobody opens a connection and takes a lock in between.


class Connection(wording.Connection):
    """A connection that is counted, so that raw descriptors of its file outlive its locks."""

    _key: tuple[int, int] | None = None

    def opened_on(self, path):
        key = _identity(os.stat(path))
        with _guard:
            self._key = key
            _connections[key] = _connections.get(key, 0) + 1

    def reads(self, descriptor):
        """Whether the descriptor is of the file that this connection was opened on."""
        return self._key == _identity(os.fstat(descriptor))

    def close(self):
        super().close()
        key, self._key = self._key, None
        if key is None:
            return
        with _guard:
            _connections[key] -= 1
            if not _connections[key]:
                for descriptor in _parked.pop(key, []):
                    os.close(descriptor)


def read_prefix(path, length=4096):
    """The first bytes of a database file, without endangering a lock of this process."""
    descriptor = files.open_regular(path, follow=True)
    try:
        return os.read(descriptor, length)
    finally:
        close_raw(descriptor)


# --- judging a path ----------------------------------------------------------------------------------------------


def check_file(path):
    """Header of the SQLite file at ``path``; one error for each way in which it is none. Opens nothing with SQLite."""
    try:
        facts = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise errors.DatabaseNotFound("there is no such file", path=path) from None
    except OSError as error:
        raise errors.from_os_error(error, path) from error
    if not stat.S_ISREG(facts.st_mode):
        what = "it is a directory" if stat.S_ISDIR(facts.st_mode) else "it is not a regular file"
        raise errors.DatabaseNotAFile(what, path=path)
    if facts.st_size == 0:
        raise errors.DatabaseEmpty("the file is empty (0 bytes)", path=path)
    try:
        raw = read_prefix(path)
    except OSError as error:
        raise errors.from_os_error(error, path) from error
    header = parse_header(raw[:100])
    if header is None:
        raise _not_sqlite(raw, facts.st_size, path)
    return header


def _not_sqlite(raw, size, path):
    if size % 512 == 0 and looks_encrypted(raw):
        return errors.DatabaseEncrypted(
            "the file has no SQLite header and its bytes look random, so it seems to be encrypted", path=path
        )
    return errors.NotADatabase("the file does not begin with a valid SQLite header", path=path)


def sidecars(path):
    """The sidecar files that are there now, as {suffix: bytes}."""
    found = {}
    for suffix in SIDECARS:
        try:
            found[suffix] = os.stat(path + suffix).st_size
        except OSError:
            continue
    return found


def content_bytes(path):
    """An upper bound of what a snapshot of the database takes: the file and the log beside it."""
    return files.size(path) + files.size(path + "-wal")


# --- connections -------------------------------------------------------------------------------------------------


def _quoted(raw, kept):
    """Bytes as a part of a URI. urllib.parse does it, too, and takes two milliseconds of every start to be imported."""
    plain = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-~" + kept
    return "".join(chr(byte) if byte in plain else f"%{byte:02X}" for byte in raw)


def uri(path, **options):
    """A ``file:`` URI for any path (spaces, quotes, newlines, undecodable bytes)."""
    raw = os.fsencode(path)
    if os.name == "nt":
        from . import windows

        name = windows.uri_path(_quoted(raw.replace(b"\\", b"/"), b"/:"))
    else:
        name = _quoted(raw, b"/")
    return "file:" + name + "?" + "&".join(f"{key}={value}" for key, value in options.items())


def connect(path, *, mode="ro", immutable=False, busy_timeout=0.0, factory=Connection):
    """A connection in autocommit mode to a file that exists; never creates one.

    ``mode`` is ``ro`` or ``rw``; ``immutable`` tells SQLite that nobody can write, so it takes no lock and reads no
    sidecar: only for finished files of our own. ``busy_timeout`` in seconds is for each lock that SQLite waits for.
    """
    options = {"mode": mode}
    if immutable:
        options["immutable"] = 1
    known = links.open_files()
    connection = sqlite3.connect(
        uri(path, **options),
        uri=True,
        timeout=busy_timeout,
        isolation_level=None,
        check_same_thread=False,
        factory=factory,
    )
    links.require_not_led(connection, path, known)
    connection.text_factory = _lenient_text
    connection.opened_on(path)
    return connection


def _lenient_text(raw):
    return raw.decode("utf-8", "surrogateescape")


def open_live(path, header, busy_timeout):
    """A connection for reading a live database that leaves no trace an application could trip over.

    Read-only where that works. Two cases need more:

    * WAL mode without sidecars: whoever opens the database creates them. As the last connection a writable one removes
      them again on closing; a read-only one would leave them behind. Files created by a user who is neither root nor
      the owner could lock the application out, so that is refused.
    * A hot rollback journal (an application was killed): SQLite must roll it back before anybody can read.

    A crash after any of this leaves what any SQLite reader leaves: the next one to open the file cleans up.
    """
    if header.journal_mode == "wal" and not _has_log(path):
        if _read_only_place(path):
            return Quiet.open(path)
        _require_harmless_sidecars(path)
        mode = "rw" if os.access(path, os.W_OK) else "ro"
    else:
        mode = "ro"
    connection = connect(path, mode=mode, busy_timeout=busy_timeout)
    try:
        begin_read(connection)
    except sqlite3.Error as error:
        connection.close()
        if mode == "ro" and _needs_recovery(error, path):
            connection = connect(path, mode="rw", busy_timeout=busy_timeout)
            try:
                begin_read(connection)
            except sqlite3.Error as again:
                connection.close()
                raise translate(again, path) from again
            return connection
        raise translate(error, path) from error
    return connection


def begin_read(connection):
    """Start a read transaction and take its lock now. Reads only the header: an unreadable schema does not matter."""
    connection.execute("BEGIN")
    connection.execute("PRAGMA schema_version").fetchall()


def _has_log(path):
    return os.path.exists(path + "-wal") and os.path.exists(path + "-shm")


def _read_only_place(path):
    return not os.access(os.path.dirname(path) or ".", os.W_OK)


def _needs_recovery(error, path):
    return "readonly" in str(error) and files.size(path + "-journal") > 0


def _require_harmless_sidecars(path):
    """Refuse when sidecars that this process creates could not be written by the application afterwards."""
    if not hasattr(os, "geteuid"):
        return
    facts = os.stat(path)
    if os.geteuid() in (0, facts.st_uid):
        return  # SQLite gives sidecars made by root the owner of the database.
    directory = os.stat(os.path.dirname(path) or ".")
    group = directory.st_gid if directory.st_mode & stat.S_ISGID else os.getegid()
    if facts.st_mode & 0o060 == 0o060 and group == facts.st_gid:
        return
    if facts.st_mode & 0o006 == 0o006:
        return
    raise errors.PermissionDenied(
        "opening this WAL database now would create -wal and -shm files that its application could not write",
        path=path,
        hint="Run as root or as the owner of the database, or give user and application a common group that may write.",
    )


class Quiet(Connection):
    """A WAL database in a directory that cannot be written, with nobody connected: read as immutable, and checked.

    SQLite cannot create the sidecars that readers need there. Nobody is connected while there is no ``-wal``; a writer
    elsewhere (the same directory mounted writable) would create one and change the file. ``still_quiet`` tells.
    """

    path = ""
    fingerprint: tuple = ()

    @classmethod
    def open(cls, path):
        if files.size(path + "-wal"):
            raise errors.ReadOnly(
                "it has unsaved pages in its -wal file, and the directory cannot be written to read them",
                path=path,
                hint="Copy the database with its -wal to a writable directory and back that up.",
            )
        fingerprint = cls._look(path)
        connection = connect(path, immutable=True, factory=cls)
        connection.path, connection.fingerprint = path, fingerprint
        try:
            begin_read(connection)
        except sqlite3.Error as error:
            connection.close()
            raise translate(error, path) from error
        return connection

    @staticmethod
    def _look(path):
        facts = os.stat(path)
        return facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, tuple(sidecars(path))

    def still_quiet(self):
        return self._look(self.path) == self.fingerprint


def require_quiet(connection):
    """After reading everything: raise DatabaseBusy if a connection without locks read a file that somebody changed."""
    if isinstance(connection, Quiet) and not connection.still_quiet():
        raise errors.DatabaseBusy(
            "it was written through another mount while it was read without locks",
            path=connection.path,
            hint="Back it up where its directory is writable, so that SQLite's locks work.",
        )


# --- SQLite's errors in our words ----------------------------------------------------------------------------------

_BY_TEXT = (
    (("database is locked", "database table is locked", "database schema is locked"), errors.DatabaseBusy),
    (("database or disk is full",), errors.NoSpace),
    (("readonly database",), errors.ReadOnly),
    (("file is not a database", "file is encrypted"), errors.NotADatabase),
    (("malformed",), errors.DatabaseCorrupt),
    (("access permission denied",), errors.PermissionDenied),
)
# Of the file or of one beside it.
CANNOT_OPEN = "unable to open database file"
UNVERIFIABLE_TEXT = (
    "no such collation sequence",
    "no such module",
    "no such function",
    "no such tokenizer",
    "unknown tokenizer",
    "unsupported file format",
    "unknown function",
)


def translate(error, path):
    """The engine's error for one of SQLite's, told by its text (its codes reach Python only from 3.11 on)."""
    text = str(error)
    if any(known in text for known in UNVERIFIABLE_TEXT):
        return errors.Unverifiable(f"SQLite here cannot judge it ({text})", path=path)
    for known, kind in _BY_TEXT:
        if any(part in text for part in known):
            return kind(f"SQLite says: {text}", path=path)
    if CANNOT_OPEN in text:
        return _cannot_open(text, path or "")
    # Of a full disk it says so, of a quota or a limit that is reached no more than of a broken disk.
    hint = "Check the disk (kernel log, SMART), quotas and limits on the size of files, and run the command again."
    return errors.IoError(f"SQLite says: {text}", path=path, hint=hint)


def _cannot_open(text, path):
    """SQLite says this of every file that it can neither open nor create: is it a matter of rights, or of the disk?"""
    refused = [path + end for end in ("", *sidecars(path)) if not os.access(path + end, os.R_OK | os.W_OK)]
    if not refused and os.access(os.path.dirname(path) or ".", os.W_OK):
        hint = "SQLite can create no file beside it: check the disk (space, inodes, kernel log) and try again."
        return errors.IoError(f"SQLite says: {text}", path=path, hint=hint)
    return errors.PermissionDenied(f"SQLite says: {text}", path=(refused or [path])[0] or None)
