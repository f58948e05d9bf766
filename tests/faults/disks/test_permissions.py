# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rights that are taken from an ordinary user while his backup, retention or restore runs, just after any of its calls.

Root is refused nothing, so the command runs as somebody else, who owns the database and its backups. ``FAULTS=all``
tries every call, each with one of the changes; otherwise a sample: ``FAULTS_SEED`` chooses another.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess

import disk_stage
import ordinary_user
import pytest
import tracing
from asked import EVERYTHING, SEED
from engine import catalog

SAMPLED = 2
_LONGEST = 120
_SAMPLE = ("BackupWalClone", "BackupRollbackOnlineGzip", "Retention", "RestoreWalInPlace", "RestoreRollbackReplace")
NAMES = tuple(disk_stage.STAGES) if EVERYTHING else _SAMPLE
CODES = (
    *("permission_denied", "rolled_back", "read_only"),
    "restore_failed",  # Its undoing needed the same rights: the next run does it.
    "io_error",  # Retention could not remove some.
    "backup_not_found",  # No manifest can be read.
)
# What the system and SQLite say of it.
CAUSES = ("denied", "not permitted", "readonly database", "unable to open")

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can take rights from somebody else"),
    pytest.mark.skipif(tracing.obstacle() is not None, reason=str(tracing.obstacle())),
]


def ordinary(name, base):
    """A stage of that name whose command, and the next ordinary run, an ordinary user calls."""

    class Stage(disk_stage.STAGES[name]):
        def put_up(self):
            super().put_up()
            for directory in (self.place, self.home):
                for path, _directories, files in os.walk(directory):
                    for each in (path, *(os.path.join(path, file) for file in files)):
                        os.chown(each, ordinary_user.NOBODY, ordinary_user.NOBODY)

        def command(self):
            words = super().command()
            return ordinary_user.command(*words[words.index("engine") + 1 :])

        def call(self, *words):
            return subprocess.run(
                ordinary_user.command(*words, "--json") if words else self.command(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=_LONGEST,
                **self.surroundings,
            )

        def pending(self):
            os.seteuid(ordinary_user.NOBODY)  # Root would not believe his journal.
            try:
                return super().pending()
            finally:
                os.seteuid(0)

        def next_run(self):
            """His next backup settles what was left, and says so."""
            pending, left, before = self.pending(), self.left(), self.content()
            done = self.call("backup", "--database", self.path, "--backup-dir", self.backups)
            assert done.returncode == 0, (done.stdout, done.stderr)
            said, after = " ".join(json.loads(done.stdout)["warnings"]), self.content()
            if pending and self.old != self.new:
                assert f"was {'finished' if after == 'new' else 'undone'}" in said, (after, said)
            else:
                assert after == before
            assert all(file in said for file in left), (left, said)
            if words := self.words[: self.words[0] == "retention" and len(self.words)]:
                places = {"database": self.path, "backups": self.backups}
                done = self.call(*(word.format(**places) for word in words))
                assert done.returncode == 0, (done.stdout, done.stderr)

    Stage.__name__ = name
    return Stage(base)


class Taken:
    """Rights that were taken of some paths, to be given back."""

    def __init__(self):
        self._facts = []

    def _note(self, path):
        descriptor = os.open(path, os.O_RDONLY)
        self._facts.append((descriptor, os.fstat(descriptor)))

    def mode(self, path, mode):
        with contextlib.suppress(FileNotFoundError):
            self._note(path)
            os.chmod(path, mode)

    def owner(self, path):
        with contextlib.suppress(FileNotFoundError):
            self._note(path)
            os.chown(path, 0, 0)

    def give_back(self):
        """By descriptor: a file may have another name by now, and another may have its name."""
        for descriptor, facts in reversed(self._facts):
            os.fchown(descriptor, facts.st_uid, facts.st_gid)
            os.fchmod(descriptor, facts.st_mode & 0o7777)
            os.close(descriptor)
        self._facts = []


def _places(stage):
    """Directories and files whose rights change: {word: [paths]}."""
    backups = sorted(name for name in os.listdir(stage.backups) if name != catalog.STATE)
    state = os.path.join(stage.backups, catalog.STATE)
    return {
        "the backup directory": [stage.backups],
        "the state directory": [state],
        "the database's directory": [os.path.dirname(stage.path)],
        "the database": [stage.path],
        "its sidecars": [stage.path + suffix for suffix in ("-wal", "-shm", "-journal")],
        "all files of the backup directory": [os.path.join(stage.backups, name) for name in backups],
        "all files of the state directory": [os.path.join(state, name) for name in os.listdir(state)],
    }


PLACES = (
    *("the backup directory", "the state directory", "the database's directory", "the database", "its sidecars"),
    *("all files of the backup directory", "all files of the state directory"),
)
CHANGES = tuple(
    (place, change)
    for place in PLACES
    for change in (("read-only", "closed", "root's") if "directory" in place[-9:] else ("read-only", "closed"))
)


def take(stage, place, change):
    taken = Taken()
    for path in _places(stage)[place]:
        if change == "root's":
            taken.owner(path)
        else:
            readable = 0o500 if os.path.isdir(path) else 0o400
            taken.mode(path, readable if change == "read-only" else 0)
    return taken


def judged(stage, done, lines):
    """What is wrong, or None: how it failed, and what it left."""
    return (wrong_refusal(done) if done.returncode else None) or disk_stage.settled(stage, done, lines)


def wrong_refusal(done):
    """What is wrong with how a command failed: it says one of the codes, the file and the cause."""
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        return f"no answer: {done}"
    if answer["error_code"] not in CODES:
        return f"{answer['error_code']} is none of {CODES}: {answer['msg']}"
    if "/" not in answer["msg"] or not any(cause in done.stdout for cause in CAUSES):
        return f"the file or the cause is not named: {done.stdout}"
    return None


@pytest.fixture
def place(quick_place):
    """A place that an ordinary user can get to."""
    for directory in (quick_place, *quick_place.parents):
        if len(directory.parts) > 3 or directory == quick_place:
            directory.chmod(directory.stat().st_mode | 0o011)
    return quick_place


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("BackupFirst", "BackupLarge")])
def test_rights_are_taken_meanwhile(name, place, tally):
    stage = ordinary(name, place / "base")
    chooser = random.Random(f"{SEED} {name}")
    changes = list(CHANGES)
    chooser.shuffle(changes)
    chosen = disk_stage.aims(stage, stage.place, chooser, SAMPLED)
    failures = []
    for nth, aim in enumerate(chosen):
        change = changes[nth % len(changes)]
        stage.put_up()
        lines, taken = stage.audit_lines(), []
        done, stopped = tracing.halt(
            stage.command(),
            stage.log,
            aim,
            lambda change=change, taken=taken: taken.append(take(stage, *change)),
            **stage.surroundings,
        )
        for each in taken:
            each.give_back()
        wrong = judged(stage, done, lines)
        wrong = wrong or (None if stopped else "the call was not made again")
        tally("rights taken meanwhile", wrong is None)
        if wrong:
            failures.append(f"{change} after {aim}:\n{wrong}")
    disk_stage.report(failures, len(chosen))


@pytest.mark.parametrize("change", CHANGES if EVERYTHING else CHANGES[::3], ids="-".join)
@pytest.mark.parametrize("name", NAMES if EVERYTHING else ("RestoreRollbackReplace",))
def test_rights_are_lacking_from_the_beginning(name, change, place, tally):
    stage = ordinary(name, place / "base")
    stage.put_up()
    lines = stage.audit_lines()
    taken = take(stage, *change)
    done = stage.call()
    taken.give_back()
    wrong = judged(stage, done, lines)
    tally("rights lacking from the beginning", wrong is None)
    assert wrong is None, wrong
