# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An application's directory on a host where root runs the engine, and the command line as a process of its own."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import tempfile

import surroundings
from at_event import NOBODY

ROWS = 60


class Ground:
    """``app`` belongs to an ordinary user, with a database and a backup directory in it; ``victim`` is root's."""

    def __init__(self, root):
        self.root = root
        self.app, self.victim = root / "app", root / "victim"
        self.database, self.backups = self.app / "app.db", self.app / "backups"
        self.home = root / "home"
        for place in (self.app, self.victim, self.home):
            place.mkdir(mode=0o755)
        self.backups.mkdir(mode=0o700)
        make_database(self.database, "app")
        make_database(self.victim / "victim.db", "victim")
        (self.victim / "victim.txt").write_text("nobody's business\n")
        (self.victim / "victim.txt").chmod(0o600)
        self.give(self.app)

    def give(self, place):
        for path in (place, *place.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)

    def again(self):
        """Put the application's directory back as it was, with what ``kept`` holds."""
        shutil.rmtree(self.app)
        shutil.copytree(self.root / "kept", self.app, symlinks=True)
        self.give(self.app)

    def keep(self):
        shutil.copytree(self.app, self.root / "kept", symlinks=True)

    def rows(self):
        return rows(self.database)

    def victims(self):
        """Everything that there is of the victim: names, bytes, owners, modes, times."""
        found = {}
        for path in (self.victim, *sorted(self.victim.rglob("*"))):
            facts = path.lstat()
            content = path.read_bytes() if path.is_file() else b""
            found[path.name] = (content, facts.st_mode, facts.st_uid, facts.st_gid, facts.st_nlink, facts.st_size)
        return found

    def environment(self, **more):
        return surroundings.environment(self.home, **more)

    def command(self, *words, seconds=60, **options):
        """A finished process of the command line; one that hangs fails the test."""
        environment = options.pop("environment", {})
        return subprocess.run(
            [sys.executable, "-m", "engine", *map(str, words)],
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            **options,
        )


def make_database(path, word, mode="delete"):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA journal_mode={mode}")
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, word TEXT)")
        connection.execute("CREATE INDEX t_word ON t (word)")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO t (word) VALUES (?)", ((f"{word} {n} " * 20,) for n in range(ROWS)))
        connection.execute("COMMIT")


def rows(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT word FROM t ORDER BY id").fetchall()


@contextlib.contextmanager
def new():
    """A Ground where an ordinary user gets to: pytest's own directories are for the user who runs it."""
    root = pathlib.Path(os.path.realpath(tempfile.mkdtemp(prefix="digitalme-test-")))
    root.chmod(0o755)
    try:
        yield Ground(root)
    finally:
        shutil.rmtree(root, ignore_errors=True)
