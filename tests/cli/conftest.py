# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The command line as a process of its own, on a database in a directory of its own."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import sqlite3
import subprocess
import sys

import pytest
import surroundings
from ordinary_user import AS_NOBODY, MAIN, NOBODY


class Answer:
    """What a call answered: exit status, the JSON object of standard output, and standard error."""

    def __init__(self, done):
        self.status, self.errors = done.returncode, done.stderr
        self.result = json.loads(done.stdout) if done.stdout.strip() else None

    @property
    def code(self):
        return self.result.get("error_code")

    @property
    def message(self):
        return self.result["msg"]

    def __repr__(self):
        return f"<{self.status} {json.dumps(self.result, indent=1)} {self.errors}>"


class Site:
    """A database ``app.db`` in ``srv``, its backup directory beside it, and a home for the audit log's last resort."""

    def __init__(self, root):
        self.root = root
        self.home, self.srv, self.backups = root / "home", root / "srv", root / "backups"
        self.home.mkdir()
        self.srv.mkdir()
        self.database = self.srv / "app.db"

    def make(self, path=None, mode="delete", rows=200):
        path = os.fsencode(path or self.database)
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute(f"PRAGMA journal_mode={mode}")
        connection.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, word TEXT)")
        connection.execute("CREATE INDEX item_word ON item (word)")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO item (word) VALUES (?)", ((f"word {n} " * 20,) for n in range(rows)))
        connection.execute("COMMIT")
        connection.close()

    def command(self, command, *arguments, nobody=False):
        start = ["-c", AS_NOBODY, MAIN] if nobody else ["-m", "engine"]
        return [sys.executable, *start, command, *(os.fspath(argument) for argument in arguments), "--json"]

    def as_nobody(self, code, *arguments):
        """Run Python code as an ordinary user."""
        command = [sys.executable, "-c", AS_NOBODY, code, *map(str, arguments)]
        subprocess.run(command, check=True, env=self.environment)

    def open_up(self):
        """Let an ordinary user come as far as this site, and write its home."""
        for path in (self.root, *self.root.parents):
            if len(path.parts) > 2:
                path.chmod(path.stat().st_mode | 0o055)
        os.chown(self.home, NOBODY, NOBODY)

    @property
    def environment(self):
        return surroundings.environment(self.home)

    def run(self, command, *arguments, nobody=False, **options):
        done = subprocess.run(
            self.command(command, *arguments, nobody=nobody),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            **options,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Answer(done)

    def backup(self, *arguments, database=None, backups=None, **options):
        where = ("--database", database or self.database, "--backup-dir", backups or self.backups)
        return self.run("backup", *where, *arguments, **options)

    def restore(self, *arguments, **options):
        where = ("--database", self.database, "--backup-dir", self.backups)
        return self.run("restore", *arguments, *where, **options)

    def made(self, *arguments):
        """Path of a backup made now."""
        answer = self.backup(*arguments)
        assert answer.status == 0, answer
        return pathlib.Path(answer.result["backup"]["path"])

    def listed(self):
        """{file: status} of the catalog."""
        answer = self.run("list", "--backup-dir", self.backups, "--name", "app")
        assert answer.status == 0, answer
        return {row["file"]: row["status"] for row in answer.result["backups"]}

    def audit_lines(self):
        """All audit lines there are, wherever they had to go."""
        places = [*self.root.rglob("audit.jsonl")]
        return [json.loads(line) for place in places for line in place.read_bytes().splitlines()]

    def tree(self, *roots):
        """{path: (kind, mode, SHA-256)} of everything below the roots but the state directory."""
        found = {}
        for root in roots or (self.srv, self.backups):
            for path in sorted(pathlib.Path(root).rglob("*")):
                if ".state" in path.parts:
                    continue
                facts = path.lstat()
                digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
                found[str(path)] = (facts.st_mode, facts.st_uid, digest)
        return found

    @contextlib.contextmanager
    def refused(self, code, status, *names):
        """A block whose ``answer(...)`` must be this failure: nothing changed, one audit line, a message that helps."""
        before, lines = self.tree(), len(self.audit_lines())
        answers = []
        yield answers.append
        (answer,) = answers
        assert (answer.code, answer.status) == (code, status), answer
        for name in names:
            assert str(name) in answer.message, answer.message
        assert answer.message.count(". ") >= 1, f"the message has no next step: {answer.message}"
        assert self.tree() == before
        assert len(self.audit_lines()) == lines + 1
        assert self.audit_lines()[-1]["outcome"] == code or code in {line["outcome"] for line in self.audit_lines()}


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


@pytest.fixture
def mounted():
    """``mounted(*arguments of mount)``; what was mounted is unmounted at the end, the newest first."""
    done = []

    def mount(*arguments):
        subprocess.run(["mount", *map(str, arguments)], check=True, capture_output=True)
        if "remount" not in " ".join(map(str, arguments)):
            done.append(str(arguments[-1]))

    yield mount
    for place in reversed(done):
        subprocess.run(["umount", "-l", place], check=True, capture_output=True)
