#!/usr/bin/env python3
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An application of whose database it can be told which transactions are in it, and whether each is whole.

Every transaction has a writer, a number and the *era* that the database says is now. It puts one row into ``done``,
`PARTS` rows into ``item`` and their count into ``total``. Who turns the era (`turn`) removes all rows of the one
before, in one transaction. So a mixture of two contents shows: as rows of two eras, or as a part of a transaction.

As a program it is a writer or an onlooker in a process of its own, until standard input is closed:

    tellable.py write FILE WRITER LOG [--come-and-go]   commit; each commit goes into LOG after it: number, begin, end
    tellable.py watch FILE [--come-and-go]              look all the while; says how often all was well

Begin and end are of the monotonic clock, in nanoseconds, which is one for all processes.
"""

from __future__ import annotations

import contextlib
import os
import select
import sqlite3
import subprocess
import sys
import time

PARTS = 4
SCHEMA = """
CREATE TABLE meta (era TEXT NOT NULL);
CREATE TABLE total (items INTEGER NOT NULL);
CREATE TABLE done (writer INTEGER, number INTEGER, era TEXT NOT NULL, PRIMARY KEY (writer, number));
CREATE TABLE item (id INTEGER PRIMARY KEY, writer INTEGER, number INTEGER, era TEXT NOT NULL, pad TEXT NOT NULL);
CREATE INDEX item_of ON item (writer, number);
INSERT INTO meta VALUES ('A');
INSERT INTO total VALUES (0);
"""


class Mixture(AssertionError):
    """What was read is no content that ever was."""


def connect(path, timeout=30.0):
    """A connection to a database that is there."""
    return sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=timeout, isolation_level=None)


def create(path, journal_mode):
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA page_size=1024")
    connection.execute(f"PRAGMA journal_mode={journal_mode}")
    connection.executescript(SCHEMA)
    connection.close()


def commit(connection, writer, number):
    """One transaction; raises sqlite3.OperationalError when it could not be had."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        era = connection.execute("SELECT era FROM meta").fetchone()[0]
        connection.execute("INSERT INTO done VALUES (?, ?, ?)", (writer, number, era))
        rows = [(writer, number, era, f"{number} {part} " * 20) for part in range(PARTS)]
        connection.executemany("INSERT INTO item (writer, number, era, pad) VALUES (?, ?, ?, ?)", rows)
        connection.execute("UPDATE total SET items = items + ?", (PARTS,))
        connection.execute("COMMIT")
    except sqlite3.Error:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def turn(path, era):
    """A new era: nothing of the one before is left."""
    with contextlib.closing(connect(path)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM item")
        connection.execute("DELETE FROM done")
        connection.execute("UPDATE total SET items = 0")
        connection.execute("UPDATE meta SET era = ?", (era,))
        connection.execute("COMMIT")


def content(connection):
    """(era, {(writer, number)}) of one snapshot; raises Mixture."""
    connection.execute("BEGIN")
    try:
        era = connection.execute("SELECT era FROM meta").fetchone()[0]
        (total,) = connection.execute("SELECT items FROM total").fetchone()
        done = {(row[0], row[1]): row[2] for row in connection.execute("SELECT * FROM done")}
        items: dict = {}
        for writer, number, theirs in connection.execute("SELECT writer, number, era FROM item"):
            items.setdefault((writer, number), []).append(theirs)
    finally:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("COMMIT")
    if set(done) != set(items) or any(len(parts) != PARTS for parts in items.values()):
        raise Mixture("a part of a transaction is there, and a part is not")
    if total != PARTS * len(done):
        raise Mixture(f"the total is {total} and there are {PARTS * len(done)} items")
    strange = {one for parts in items.values() for one in parts} | set(done.values())
    if not strange <= {era}:
        raise Mixture(f"rows of the eras {sorted(strange)} in the era {era}")
    return era, set(done)


def read(path):
    """`content` of the database, with SQLite's own checks."""
    with contextlib.closing(connect(path)) as connection:
        found = connection.execute("PRAGMA integrity_check").fetchall()
        if found != [("ok",)]:
            raise Mixture(f"integrity_check: {found[0][0][:200]}")
        return content(connection)


def acknowledged(log):
    """[(number, begin, end)] of a writer's commits, in their order."""
    with open(log, encoding="ascii") as source:
        lines = source.read().splitlines(keepends=True)
    return [tuple(int(word) for word in line.split()) for line in lines if line.endswith("\n")]


# --- in a process of its own -----------------------------------------------------------------------------------------


def _until_closed():
    """True while nobody has closed standard input."""
    while not select.select([sys.stdin], [], [], 0)[0]:
        yield True


class _Connections:
    """A connection for each step: always the same one, or a new one each time that is closed after it."""

    def __init__(self, path, come_and_go):
        self.path, self.come_and_go, self.kept = path, come_and_go, None

    def step(self, function, *arguments):
        """What the function says; False where the database was busy."""
        try:
            if self.kept is None:
                self.kept = connect(self.path, timeout=5.0)
            return function(self.kept, *arguments) or True
        except sqlite3.OperationalError as error:
            if not _is_busy(error):
                raise
            return False
        finally:
            if self.come_and_go:
                if self.kept is not None:
                    self.kept.close()
                self.kept = None
                time.sleep(0.01)


def commit_and_tell(connection, writer, number, descriptor, begin):
    commit(connection, writer, number)
    os.write(descriptor, b"%d %d %d\n" % (number, begin, time.monotonic_ns()))


def write(path, writer, log, come_and_go):
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    connections, ready = _Connections(path, come_and_go), False
    for number, _more in enumerate(_until_closed(), 1):
        begin = time.monotonic_ns()
        if not connections.step(commit_and_tell, writer, number, descriptor, begin):
            continue
        if not ready:
            _say("ready")
            ready = True
        time.sleep(0.001)


def watch(path, come_and_go):
    well = 0
    connections = _Connections(path, come_and_go)
    _say("ready")
    for _more in _until_closed():
        well += bool(connections.step(content))
    _say(str(well))


def _is_busy(error):
    return "locked" in str(error) or "busy" in str(error)


def _say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Process:
    """A writer or an onlooker; `end` returns what it has said, and raises when it has complained."""

    def __init__(self, *words):
        command = [sys.executable, os.path.abspath(__file__), *map(str, words)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
        assert self.process.stdout.readline() == b"ready\n", self.process.communicate()[1].decode()

    def end(self):
        said, complaint = self.process.communicate(timeout=120)
        assert self.process.returncode == 0, complaint.decode()
        return said.decode().strip()

    def kill(self):
        self.process.kill()
        self.process.communicate()


def main():
    come_and_go = "--come-and-go" in sys.argv
    action, path, *rest = [word for word in sys.argv[1:] if not word.startswith("--")]
    if action == "write":
        write(path, int(rest[0]), rest[1], come_and_go)
    else:
        watch(path, come_and_go)


if __name__ == "__main__":
    main()
