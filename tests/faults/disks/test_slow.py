# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Disks that take their time: a command stands still just after any of its calls, as long as others need to look at it,
to write into the database, to begin the same, or to end it; and every sync takes long.

``FAULTS=all`` tries every call, otherwise a sample: ``FAULTS_SEED`` chooses another.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import threading

import disk_stage
import pytest
import tracing
from asked import EVERYTHING, SEED
from engine import catalog, manifest

SAMPLED = 2
_LONGEST = 120
_BACKUPS = ("BackupWalClone", "BackupWalOnlineGzip", "BackupRollbackClone", "BackupRollbackOnlineGzip")
NAMES = (*_BACKUPS, "Retention", "RestoreWalInPlace", "RestoreRollbackReplace")
if not EVERYTHING:
    NAMES = ("BackupWalClone", "BackupRollbackOnlineGzip", "RestoreRollbackReplace")
_TERMINATED = 143

pytestmark = pytest.mark.skipif(tracing.obstacle() is not None, reason=str(tracing.obstacle()))


def ask(stage, *words):
    """(exit status, answer) of another command, which waits for nothing."""
    done = subprocess.run(
        [*stage.command()[:3], *words, "--backup-dir", stage.backups, "--json"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=_LONGEST,
        **stage.surroundings,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout)


def can_commit(path):
    """Whether an application that does not wait at all gets all the locks that a commit takes."""
    connection = sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=0, isolation_level=None)
    try:
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        assert "locked" in str(error), error
        return False
    finally:
        connection.close()
    return True


class Onlooker:
    """What others see while the command stands still: ``wrong`` is what they must not."""

    def __init__(self, stage, aim):
        self.stage, self.aim = stage, aim
        self.wrong = []

    def look(self):
        stage = self.stage
        try:
            if stage.words[0] == "backup":
                self._write()
            self._read()
            self._begin_another()
        except Exception as error:  # It must not keep the command from going on.
            self.wrong.append(f"{type(error).__name__}: {error}")

    def _write(self):
        """In WAL mode nobody ever waits; in rollback mode nobody does once the snapshot is there.

        But whoever opens a database first whose application was killed makes its ``-shm`` anew, and SQLite lets nobody
        else in meanwhile.
        """
        path = self.aim.path or ""
        free = not path.endswith("-shm") if self.stage.mode == "wal" else path.endswith(manifest.SUFFIX)
        if free and not can_commit(self.stage.path):
            self.wrong.append("the application is kept from writing")

    def _read(self):
        status, answer = ask(self.stage, "list", "--name", "app")
        unsound = [row["file"] for row in answer["backups"] if row["status"] not in ("verified", "missing")]
        if status or unsound:
            self.wrong.append(f"list: {status} {unsound}")
        status, answer = ask(self.stage, "health", "--name", "app", "--disk-limit-percent", "100")
        told = [check["message"] for check in answer["checks"] if "interrupted" in check["name"]]
        if self.stage.words[0] == "backup" and not all("nothing" in text or "run" in text for text in told):
            self.wrong.append(f"health takes what is going on for interrupted: {told}")

    def _begin_another(self):
        """It is told who is at it, at once; or the one that stands still had not begun yet, or is done."""
        status, answer = ask(self.stage, "retention", "--name", "app", "--busy-timeout", "0")
        if status == 6:
            # Where it stands still while it writes who it is into the lock, that cannot be told yet, or any more.
            known = not (self.aim.path or "").endswith(".lock")
            if answer["error_code"] != "busy" or (known and f"{self.stage.words[0]} by pid" not in answer["msg"]):
                self.wrong.append(answer["msg"])
        elif status:
            self.wrong.append(f"retention: {status} {answer}")


def chosen_of(stage, purpose):
    chooser = random.Random(f"{SEED} {purpose} {type(stage).__name__}")
    return disk_stage.aims(stage, stage.place, chooser, SAMPLED)


@pytest.mark.parametrize("name", NAMES)
def test_others_go_on_while_it_stands_still(name, quick_place, tally):
    stage = disk_stage.STAGES[name](quick_place / "base")
    failures, chosen = [], chosen_of(stage, "stands still")
    for aim in chosen:
        stage.put_up()
        lines, onlooker = stage.audit_lines(), Onlooker(stage, aim)
        done, stopped = tracing.halt(stage.command(), stage.log, aim, onlooker.look, **stage.surroundings)
        wrong = "; ".join(onlooker.wrong) or disk_stage.settled(stage, done, lines)
        wrong = wrong or (None if stopped and done.returncode == 0 else f"{stopped} {done}")
        tally("stands still, and others go on", wrong is None)
        if wrong:
            failures.append(f"after {aim}:\n{wrong}")
    disk_stage.report(failures, len(chosen))


def _process(log):
    """The traced command: the process of whichever of its threads made the first call."""
    with open(log, encoding="ascii", errors="replace") as lines:
        thread = lines.readline().split()[0]
    with open(f"/proc/{thread}/status", encoding="ascii") as facts:
        return int(next(line for line in facts if line.startswith("Tgid")).split()[1])


@pytest.mark.parametrize("name", NAMES)
def test_it_hears_that_it_is_to_end(name, quick_place, tally):
    """SIGTERM while it stands still; it may be done already when it goes on."""
    stage = disk_stage.STAGES[name](quick_place / "base")
    failures, chosen = [], chosen_of(stage, "terminated")
    for aim in chosen:
        stage.put_up()
        lines = stage.audit_lines()
        done, stopped = tracing.halt(
            stage.command(), stage.log, aim, lambda: os.kill(_process(stage.log), signal.SIGTERM), **stage.surroundings
        )
        wrong = None if stopped and done.returncode in (0, _TERMINATED) else f"{stopped} {done}"
        if wrong is None and done.returncode == _TERMINATED:
            # It has no result; that of a command which was killed is judged as well.
            killed = subprocess.CompletedProcess(done.args, -signal.SIGTERM, done.stdout, done.stderr)
            heard = "terminated" in done.stderr and stage.audit_lines() > lines
            wrong = disk_stage.settled(stage, killed, lines) or (None if heard else f"not told: {done}")
        elif wrong is None:
            wrong = disk_stage.settled(stage, done, lines)
        tally("told to end while it stands still", wrong is None)
        if wrong:
            failures.append(f"after {aim}:\n{wrong}")
    disk_stage.report(failures, len(chosen))


@pytest.mark.parametrize("name", _BACKUPS if EVERYTHING else _BACKUPS[1:3])
def test_application_goes_on_while_every_sync_takes_long(name, quick_place, tally):
    """It waits for no lock in WAL mode; in rollback mode no longer than its own time-out, ordinary for it."""
    stage = disk_stage.STAGES[name](quick_place / "base")
    stage.put_up()
    lines, over, refused, got = stage.audit_lines(), threading.Event(), [], []

    def application():
        timeout = 0 if stage.mode == "wal" else _LONGEST
        connection = sqlite3.connect(stage.path, timeout=timeout, isolation_level=None)
        with contextlib.closing(connection):
            while not over.is_set():
                try:
                    connection.execute("BEGIN EXCLUSIVE")
                    connection.execute("ROLLBACK")
                    got.append(1)
                except sqlite3.OperationalError as error:
                    refused.append(str(error))

    writer = threading.Thread(target=application)
    writer.start()
    try:
        done = subprocess.run(
            ["strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=fsync,fdatasync,sync_file_range"]
            + ["-e", "inject=fsync,fdatasync,sync_file_range:delay_enter=150000", *stage.command()],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_LONGEST,
            **stage.surroundings,
        )
    finally:
        over.set()
        writer.join()
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert got and not refused
    assert disk_stage.settled(stage, done, lines) is None
    assert [entry.status for entry in catalog.scan(stage.backups, "app")] == ["verified"] * 4
    tally("every sync takes long", True)
