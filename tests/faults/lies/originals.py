# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Real backups that are to be lied about, and what they were truly of: told without the engine.

A house is a directory with ``live/app.db`` and ``backups/``: two backups of ``app`` and one of ``other``. What each was
made of is known byte for byte, so that whatever is accepted later can be held against it.
"""

from __future__ import annotations

import contextlib
import filecmp
import functools
import gzip
import io
import os
import random
import shutil
import sqlite3
import subprocess

from engine import catalog, clock, operations

FILLING = b"overflow"
_FREE_TABLE = "gone"
_now = clock.now
_BEGUN = clock.now()


class Kind:
    """What a database is like. ``pragmas`` come before its tables."""

    def __init__(self, page_size, mode, pragmas=(), without_rowid=False):
        self.page_size, self.mode, self.pragmas, self.without_rowid = page_size, mode, pragmas, without_rowid


KINDS = {
    "plain": Kind(1024, "delete"),
    "wal": Kind(4096, "wal", without_rowid=True),
    "mapped": Kind(512, "delete", ("PRAGMA auto_vacuum=INCREMENTAL", "PRAGMA encoding='UTF-16le'")),
}
COMPRESSIONS = ("none", "gzip", "zstd")


def make_database(path, kind, word, count):
    """Tables with indexes and foreign keys, chains of overflow pages, and free pages that hold what was deleted."""
    numbers = random.Random(word)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size={kind.page_size}")
        for pragma in kind.pragmas:
            connection.execute(pragma)
        connection.execute(f"PRAGMA journal_mode={kind.mode}")
        connection.execute("CREATE TABLE accounts (id INTEGER PRIMARY KEY, owner TEXT UNIQUE, balance INTEGER)")
        suffix = " WITHOUT ROWID" if kind.without_rowid else ""
        connection.execute(
            f"CREATE TABLE moves (id INTEGER PRIMARY KEY, account REFERENCES accounts, why TEXT){suffix}"
        )
        connection.execute("CREATE INDEX moves_by_account ON moves (account, why)")
        connection.execute('CREATE TABLE "größe, maß" (id INTEGER PRIMARY KEY, picture BLOB)')
        connection.execute(f"CREATE TABLE {_FREE_TABLE} (id INTEGER PRIMARY KEY, text TEXT)")
        connection.execute("BEGIN")
        for n in range(count):
            connection.execute("INSERT INTO accounts VALUES (?, ?, ?)", (n, f"{word} {n}", numbers.randrange(10**6)))
            connection.execute("INSERT INTO moves VALUES (?, ?, ?)", (n, n, f"{word} moved {numbers.random()}"))
            connection.execute(f"INSERT INTO {_FREE_TABLE} VALUES (?, ?)", (n, f"deleted {word} " * 9))
        for n in range(4):
            connection.execute('INSERT INTO "größe, maß" VALUES (?, ?)', (n, FILLING * (300 + 100 * n)))
        connection.execute("COMMIT")
        connection.execute(f"DELETE FROM {_FREE_TABLE}")
    return path


def rows(path):
    """Every row of every table, read by plain sqlite3 from a copy of the database and what lies beside it; None where
    SQLite cannot read it or finds it unsound.
    """
    scratch = path + ".read"
    os.mkdir(scratch)
    try:
        copy = os.path.join(scratch, "copy.db")
        for suffix in ("", "-wal", "-journal"):
            if os.path.isfile(path + suffix):
                shutil.copy(path + suffix, copy + suffix)
        with contextlib.closing(sqlite3.connect(copy)) as connection:
            connection.text_factory = bytes
            if connection.execute("PRAGMA integrity_check").fetchall() != [(b"ok",)]:
                return None
            names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")]
            quoted = ['"' + name.decode("utf-8").replace('"', '""') + '"' for name in names]
            return {name: connection.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall() for name in quoted}
    except (sqlite3.Error, UnicodeError):
        return None
    finally:
        shutil.rmtree(scratch)


def content(path):
    """The bytes of the database that a stored file holds; None where it holds none that can be had."""
    with open(path, "rb") as file:
        raw = file.read()
    return expanded(raw, path)


def expanded(raw, name):
    if name.endswith(".gz"):
        try:
            return gzip.decompress(raw)
        except (OSError, EOFError, ValueError, gzip.zlib.error):
            return None
    if name.endswith(".zst"):
        done = subprocess.run(["zstd", "-q", "-d", "-c"], input=raw, capture_output=True, check=False)
        return done.stdout if done.returncode == 0 else None
    return raw


def packed(raw, name):
    """The stored form of a content, by other means than the engine's."""
    if name.endswith(".gz"):
        out = io.BytesIO()
        with gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as stream:
            stream.write(raw)
        return out.getvalue()
    if name.endswith(".zst"):
        return subprocess.run(["zstd", "-q", "-c"], input=raw, capture_output=True, check=True).stdout
    return raw


class House:
    """A template of real backups, put up afresh under ``place`` each time."""

    def __init__(self, base, kind, compression):
        self.kind, self.compression = KINDS[kind], compression
        self.label = f"{kind}, {compression}"
        self.template, self.place = os.path.join(base, "template"), os.path.join(base, "place")
        self.template_of_raw = os.path.join(base, "template-of-raw")
        os.makedirs(os.path.join(self.place, "live"))
        self.live = os.path.join(self.place, "live", "app.db")
        self.backups = os.path.join(self.place, "backups")
        self.stored, self.true = {}, {}
        other = os.path.join(self.place, "live", "other.db")
        self._back_up(make_database(other, self.kind, "other", 60), 3)
        self.elder = self._back_up(make_database(self.live, self.kind, "elder", 80), 2)
        os.unlink(self.live)
        self.newest = self._back_up(make_database(self.live, self.kind, "new", 90), 1)
        self.other = next(file for file in self.stored if file.startswith("other"))
        for database in (self.live, other):
            os.unlink(database)
        make_database(self.live, self.kind, "old", 100)
        self.wal = self._wal(make_database(os.path.join(base, "w.db"), KINDS["wal"], "in the log", 20))
        self.journal = self._journal(make_database(os.path.join(base, "j.db"), self.kind, "in the journal", 20))
        self.own_wal, self.own_journal = self._wal(self._copy(base, "wal")), self._journal(self._copy(base, "delete"))
        self.live_in_wal = self._in_wal(base)
        self.old = rows(self.live)
        shutil.copytree(self.place, self.template)
        self._keep_raw()
        os.rename(self.place, self.template_of_raw)
        self._from = self.template

    def _back_up(self, database, hours):
        clock.now = functools.partial(clock.after, _BEGUN, -3600 * hours)
        try:
            made = operations.backup(database=database, backup_dir=self.backups, compression=self.compression)
        finally:
            clock.now = _now
        path = made["backup"]["path"]
        file = os.path.basename(path)
        with open(path, "rb") as stored:
            self.stored[file] = stored.read()
        unpacked = os.path.join(self.place, "unpacked.db")
        with open(unpacked, "wb") as whole:
            whole.write(expanded(self.stored[file], file))
        self.true[file] = (content(unpacked), rows(unpacked))
        assert self.true[file][1]
        os.unlink(unpacked)
        return file

    def _copy(self, base, mode):
        """A copy of the newest content that goes another way from here on."""
        path = os.path.join(base, f"own-{mode}.db")
        with open(path, "wb") as file:
            file.write(self.true[self.newest][0])
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA journal_mode={mode}")
        return path

    def _in_wal(self, base):
        """(the bytes of the live database in WAL mode, those of a log that belongs to it)."""
        path = os.path.join(base, "live.db")
        shutil.copy(self.live, path)
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        with open(path, "rb") as file:
            main = file.read()
        return main, self._wal(path)

    def _keep_raw(self):
        """A restore replaces a live database that SQLite cannot read, and keeps its bytes and those of its log."""
        main, log = self.live_in_wal
        self.damaged = {"": bytes(100) + main[100:], "-wal": log}
        for suffix, raw in self.damaged.items():
            with open(self.live + suffix, "wb") as file:
                file.write(raw)
        done = operations.restore(database=self.live, backup_dir=self.backups, name="app", force=True)
        self.raw = os.path.basename(done["pre_restore_backup"])
        assert self.raw.endswith(catalog.RAW), self.raw

    @staticmethod
    def _wal(path):
        """The log of a process that wrote into the database and died."""
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA wal_autocheckpoint=0")
            connection.execute("UPDATE accounts SET balance = 0, owner = 'a lie ' || id")
            with open(path + "-wal", "rb") as log:
                return log.read()

    @staticmethod
    def _journal(path):
        """The hot journal of a process that died in a transaction, whole without any fsync."""
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
            connection.execute("PRAGMA synchronous=OFF")
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("UPDATE accounts SET balance = 0, owner = 'a lie ' || id")
            with open(path + "-journal", "rb") as journal:
                raw = journal.read()
            connection.execute("ROLLBACK")
        return raw

    def put_up(self, template=None):
        self._from = template or self.template
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self._from, self.place)

    def looks_untouched(self):
        """Whether a lie left everything as it was: a mutation that changed nothing."""
        compared = filecmp.dircmp(self._from, self.place)
        pending = [compared]
        while pending:
            one = pending.pop()
            _same, other, odd = filecmp.cmpfiles(one.left, one.right, one.common_files, shallow=False)
            if one.left_only or one.right_only or one.common_funny or other or odd:
                return False
            pending += one.subdirs.values()
        return True

    def path(self, file):
        return os.path.join(self.backups, file)
