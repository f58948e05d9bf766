#!/usr/bin/env python3
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Attack the snapshot method ``clone``: take one after the other from a database that everything happens to.

    python3 tests/stress/clone_attack.py --seconds 1200 [--journal wal delete] [--broken lock|log]

Beside the clones run two writers (small transactions, large ones that spill, rollbacks; they grow and shrink the
database, and are killed now and then), a process that checkpoints in a loop (PASSIVE, FULL, RESTART, TRUNCATE), one
that vacuums, and one whose connections come and go. The copying is made slow at every step, so that all of them get in
between. Of each clone it is held that

* every row, each of which fills a page, is whole: its bytes follow from its number and its stamp;
* the sum of all stamps is the one that each transaction keeps, and the number of rows as well;
* no transaction is missing that had been committed before the clone began;
* SQLite finds nothing wrong, nothing lies beside the copy, and the hash taken while the bytes passed is the file's.

``--broken`` takes away one thing that the method rests on: the same attack must then find violations, or it proves
nothing.
It prints one line of JSON and exits 1 after a violation.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import hashlib
import json
import mmap
import os
import pathlib
import random
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "plugins" / "module_utils"))

from engine import clone, copying, database, files, snapshot  # noqa: E402

ROWS = 300
WRITERS = 2
PIECE = 64 * 1024


def body(row, stamp, page_size):
    """What fills a page of its own, and follows from number and stamp."""
    seed = hashlib.sha256(b"%d %d" % (row, stamp)).digest()
    return (seed * (page_size // 32 + 1))[: page_size - 120]


def connect(path, wait=60.0):
    return sqlite3.connect(path, timeout=wait, isolation_level=None)


def create(path, journal, page_size):
    connection = connect(path)
    connection.execute(f"PRAGMA page_size={page_size}")
    connection.execute("PRAGMA auto_vacuum=FULL")
    connection.execute(f"PRAGMA journal_mode={journal}")
    connection.execute("CREATE TABLE page (id INTEGER PRIMARY KEY, stamp INTEGER NOT NULL, body BLOB NOT NULL)")
    connection.execute("CREATE INDEX page_stamp ON page (stamp)")
    connection.execute("CREATE TABLE ledger (total INTEGER, rows INTEGER, w0 INTEGER, w1 INTEGER)")
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO page VALUES (?, 0, ?)", ((row, body(row, 0, page_size)) for row in range(ROWS)))
    connection.execute("INSERT INTO ledger VALUES (0, ?, 0, 0)", (ROWS,))
    connection.execute("COMMIT")
    connection.close()


# --- those who disturb -----------------------------------------------------------------------------------------------


def write(path, number, acknowledged, page_size, chance):
    """Commit for ever; the count of a commit is made known after it."""
    with open(acknowledged, "r+b") as file:
        shared = mmap.mmap(file.fileno(), 8 * WRITERS)
    connection = connect(path)
    connection.execute(f"PRAGMA cache_size={chance.choice((5, 50, 2000))}")
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute(f"PRAGMA wal_autocheckpoint={chance.choice((0, 20, 1000))}")
    connection.execute(f"PRAGMA mmap_size={chance.choice((0, 1 << 30))}")
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
            change(connection, page_size, chance)
            connection.execute(f"UPDATE ledger SET w{number} = w{number} + 1")
            if chance.random() < 0.1:
                connection.execute("ROLLBACK")
                continue
            done = connection.execute(f"SELECT w{number} FROM ledger").fetchone()[0]
            connection.execute("COMMIT")
        except sqlite3.OperationalError:
            with contextlib.suppress(sqlite3.OperationalError):
                connection.execute("ROLLBACK")
            continue
        struct.pack_into("<q", shared, 8 * number, done)
        time.sleep(chance.choice((0, 0, 0.001, 0.01)))


def change(connection, page_size, chance):
    for _row in range(chance.choice((1, 3, 10, 60, 300))):
        row, stamp = chance.randrange(2 * ROWS), chance.randrange(1 << 20)
        old = connection.execute("SELECT stamp FROM page WHERE id = ?", (row,)).fetchone()
        if old is None:
            connection.execute("INSERT INTO page VALUES (?, ?, ?)", (row, stamp, body(row, stamp, page_size)))
            connection.execute("UPDATE ledger SET total = total + ?, rows = rows + 1", (stamp,))
        elif chance.random() < 0.4:
            connection.execute("DELETE FROM page WHERE id = ?", (row,))
            connection.execute("UPDATE ledger SET total = total - ?, rows = rows - 1", old)
        else:
            new = (stamp, body(row, stamp, page_size), row)
            connection.execute("UPDATE page SET stamp = ?, body = ? WHERE id = ?", new)
            connection.execute("UPDATE ledger SET total = total + ?", (stamp - old[0],))


def checkpoint(path, _number, _acknowledged, _page_size, chance):
    connection = connect(path, wait=0.05)
    while True:
        with contextlib.suppress(sqlite3.OperationalError):
            connection.execute(f"PRAGMA wal_checkpoint({chance.choice(('PASSIVE', 'FULL', 'RESTART', 'TRUNCATE'))})")
        time.sleep(chance.choice((0, 0.001, 0.01, 0.05)))


def vacuum(path, _number, _acknowledged, _page_size, chance):
    connection = connect(path)
    while True:
        with contextlib.suppress(sqlite3.OperationalError):
            connection.execute("VACUUM")
        time.sleep(chance.uniform(0.2, 2))


def visit(path, _number, _acknowledged, _page_size, chance):
    """Connections that come and go; the last one to close would fold the log and remove it."""
    while True:
        with contextlib.suppress(sqlite3.OperationalError):
            connection = connect(path)
            connection.execute("SELECT count(*) FROM page").fetchone()
            connection.close()
        time.sleep(chance.uniform(0, 0.05))


ROLES = {"write": write, "checkpoint": checkpoint, "vacuum": vacuum, "visit": visit}


class Crowd:
    """All who disturb, as processes of their own."""

    def __init__(self, path, acknowledged, page_size, chance):
        self._arguments, self._chance = (path, acknowledged, page_size), chance
        names = [("write", number) for number in range(WRITERS)]
        self._members = {name: self._start(name) for name in [*names, ("checkpoint", 0), ("vacuum", 0), ("visit", 0)]}

    def _start(self, name):
        path, acknowledged, page_size = self._arguments
        seed = self._chance.randrange(1 << 30)
        words = ["--role", name[0], str(name[1]), path, acknowledged, str(page_size), str(seed)]
        return subprocess.Popen([sys.executable, __file__, *words])

    def kill_one(self):
        """As a power switch for one process: its transaction is undone by whoever comes next."""
        name = self._chance.choice([name for name in self._members if name[0] == "write"])
        self._end(self._members[name])
        self._members[name] = self._start(name)

    @staticmethod
    def _end(process):
        if process.poll() is not None:
            raise SystemExit(f"somebody who was to disturb ended by himself with status {process.returncode}")
        process.send_signal(signal.SIGKILL)
        process.wait()

    def close(self):
        for process in self._members.values():
            process.kill()
            process.wait()


# --- the clones ------------------------------------------------------------------------------------------------------


def slow_down(chance):
    """Every copied piece, and the time between the file and its log, take long enough for others to get in between."""
    real_copy, real_log = os.copy_file_range, clone._copy_log
    copying.PIECE = PIECE

    def copy(*arguments):
        time.sleep(chance.choice((0, 0, 0, 0.001, 0.005)))
        return real_copy(*arguments)

    def log(*arguments):
        time.sleep(chance.choice((0, 0.001, 0.02)))
        return real_log(*arguments)

    os.copy_file_range, clone._copy_log = copy, log


def take_away(what):
    """Break the method: what it rests on is gone."""
    if what == "lock":
        real = clone._copy_main

        def unlocked(reader, target, length, passing):
            connection = HELD[-1]
            connection.execute("COMMIT")
            way = real(reader, target, length, passing)
            database.begin_read(connection)
            return way

        real_copy = clone.copy

        def copy(connection, *arguments, **options):
            HELD.append(connection)
            return real_copy(connection, *arguments, **options)

        clone._copy_main, clone.copy = unlocked, copy
        clone._look = lambda _reader: None
    elif what == "log":
        clone.Index.log_bytes = lambda _index, _page_size: 0


HELD: list = []


def violations(copy, acknowledged, digest, page_size):
    """What is wrong with a clone, as lines."""
    wrong = []
    beside = [suffix for suffix in database.SIDECARS if os.path.exists(copy + suffix)]
    if beside:
        wrong.append(f"{beside} lie beside it")
    if files.sha256(copy) != digest:
        wrong.append("the hash is not that of the file")
    connection = sqlite3.connect(f"file:{copy}?immutable=1", uri=True)
    try:
        found = connection.execute("PRAGMA integrity_check").fetchall()
        if found != [("ok",)]:
            wrong.append(f"integrity_check: {found[0][0][:200]}")
        total, rows, *counts = connection.execute("SELECT * FROM ledger").fetchone()
        stamps = count = 0
        for row, stamp, content in connection.execute("SELECT id, stamp, body FROM page"):
            stamps, count = stamps + stamp, count + 1
            if content != body(row, stamp, page_size):
                wrong.append(f"row {row} is torn")
        if (stamps, count) != (total, rows):
            wrong.append(f"{count} rows with the sum {stamps} where the ledger has {rows} and {total}")
        if any(now < before for now, before in zip(counts, acknowledged)):
            wrong.append(f"commits are missing: {counts} of {acknowledged}")
    except sqlite3.Error as error:
        wrong.append(f"SQLite says: {error}")
    finally:
        connection.close()
    return wrong


def attack(folder, journal, page_size, seconds, clones, chance):
    """{"clones", "methods", "reasons", "violations", "commits"} of one database."""
    live, acknowledged, copy = (os.path.join(folder, name) for name in ("live.db", "acknowledged", "copy.db"))
    create(live, journal, page_size)
    with open(acknowledged, "wb") as file:
        file.write(bytes(8 * WRITERS))
    result: dict = {"clones": 0, "ways": collections.Counter(), "violations": [], "kills": 0}
    crowd = Crowd(live, acknowledged, page_size, chance)
    ends = time.monotonic() + seconds
    try:
        with open(acknowledged, "rb") as file:
            shared = mmap.mmap(file.fileno(), 8 * WRITERS, prot=mmap.PROT_READ)
        while time.monotonic() < ends and result["clones"] < clones:
            files.remove(copy)
            files.create_new(copy)
            before = struct.unpack(f"<{WRITERS}q", shared[:])
            with contextlib.suppress(snapshot.errors.DatabaseBusy):
                taken = snapshot.take(live, copy, "clone", busy_timeout=60, hashing=True)
                with contextlib.closing(taken.digest):
                    digest = taken.digest.hexdigest()
                result["ways"][taken.reason if taken.method != "clone" else taken.reason.rpartition("by ")[2]] += 1
                result["clones"] += taken.method == "clone"
                result["violations"] += violations(copy, before, digest, page_size)
            if chance.random() < 0.01:
                crowd.kill_one()
                result["kills"] += 1
        result["commits"] = sum(struct.unpack(f"<{WRITERS}q", shared[:]))
    finally:
        crowd.close()
    return result


def main():
    parser = argparse.ArgumentParser(description="attack the snapshot method clone")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clones", type=int, default=10**9, help="end after so many of each database")
    parser.add_argument("--journal", nargs="+", default=["wal", "delete"])
    parser.add_argument("--page-size", nargs="+", type=int, default=[4096])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--place", help="a directory on the filesystem to try; default: the one for temporary files")
    parser.add_argument("--broken", choices=["lock", "log"])
    parser.add_argument("--role", nargs=6, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        role, number, path, acknowledged, page_size, seed = options.role
        ROLES[role](path, int(number), acknowledged, int(page_size), random.Random(int(seed)))
    chance = random.Random(options.seed)
    slow_down(chance)
    take_away(options.broken)
    cases = [(journal, size) for journal in options.journal for size in options.page_size]
    results, failed = [], False
    for journal, size in cases:
        with tempfile.TemporaryDirectory(dir=options.place) as folder:
            found = attack(folder, journal, size, options.seconds / len(cases), options.clones, chance)
        failed |= bool(found["violations"])
        found = {**found, "violations": len(found["violations"]), "first": found["violations"][:3]}
        results.append({"journal": journal, "page_size": size, **found})
        sys.stdout.write(json.dumps(results[-1]) + "\n")
        sys.stdout.flush()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
