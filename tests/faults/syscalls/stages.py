# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The operations that are struck, as commands of the command line, and what must be true after each strike.

Built on the scenes of the restore's own tests: ``old`` is the content of the live database, ``new`` that of the newest
backup, and here ``elder`` that of the backup before it.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import json
import os
import shutil
import stat
import sys

import scenes
import surroundings
import tracing
from engine import audit, catalog, clock, files
from engine.restore import journal

NOBODY = 65534
# An index doubles it: some tens of pages.
_TAIL = "." * 200
_ATTRIBUTE, _VALUE = "user.digitalme", b"kept"
_NAMED = {"wal": "Wal", "delete": "Rollback"}
_now = clock.now
# The backups that are there before have the same names in every process.
_BEGUN = clock.now()


class Stage(scenes.Scene):
    """A scene whose operation is a command in a process of its own. ``only`` are the calls of interest, () is all."""

    words: tuple = ()
    only: tuple = ()
    rows_each = 90
    tail = _TAIL

    def __init__(self, base):
        self.home, self.log = os.path.join(str(base), "home"), os.path.join(str(base), "calls")
        super().__init__(base)

    def build(self):
        for word, hours in (("elder", 2), ("new", 1)):
            clock.now = functools.partial(clock.after, _BEGUN, -3600 * hours)
            scenes.fill(self.path, word + _TAIL, self.mode)
            self.back_up()
            setattr(self, word, scenes.rows(self.path))
            os.unlink(self.path)
        clock.now = _now
        scenes.fill(self.path, "old" + self.tail, self.mode, count=self.rows_each)
        if self.mode == "wal":
            scenes.leave_log(self.path, "old")
        os.chmod(self.path, 0o640)
        with contextlib.suppress(OSError):  # Not on every filesystem.
            os.setxattr(self.path, _ATTRIBUTE, _VALUE)
        self._owned()
        self.dress = self.dressed()

    def _owned(self):
        """By another user than root, who restores: so it has to be given back."""
        if os.geteuid() == 0:
            for name in os.listdir(os.path.dirname(self.path)):
                os.chown(os.path.join(os.path.dirname(self.path), name), NOBODY, NOBODY)

    def put_up(self):
        super().put_up()
        self._owned()
        shutil.rmtree(self.home, ignore_errors=True)
        os.mkdir(self.home)

    def command(self):
        places = {"database": self.path, "backups": self.backups}
        return [sys.executable, "-m", "engine", *(word.format(**places) for word in self.words), "--json"]

    @property
    def surroundings(self):
        """The same for each run, so that each makes the same calls; any umask must do, so it is the most open one."""
        return {"env": surroundings.environment(self.home, PYTHONHASHSEED="0"), "umask": 0, "cwd": "/"}

    def recorded(self):
        """Every call of the command, which was run undisturbed."""
        self.put_up()
        lines = self.audit_lines()
        done, calls = tracing.record(self.command(), self.log, **self.surroundings)
        assert done.returncode == 0, (done.stdout, done.stderr)
        self.settled(done, lines)
        return calls

    # --- what must be true -------------------------------------------------------------------------------------------

    def settled(self, done, lines):
        """All is true after the command, and the next ordinary run succeeds and leaves nothing of it."""
        self.after(done, lines)
        self.next_run()
        self.check_tidy()
        self.truthful()
        self.audit_lines()

    def dressed(self):
        facts = os.stat(self.path)
        attribute = None
        with contextlib.suppress(OSError):
            attribute = os.getxattr(self.path, _ATTRIBUTE)
        return stat.S_IMODE(facts.st_mode), facts.st_uid, facts.st_gid, attribute

    def audit_logs(self):
        last_resort = os.path.join(self.home, ".local", "state", "digitalme-backup", "audit.jsonl")
        return os.path.join(self.backups, ".state", "audit.jsonl"), last_resort

    def audit_lines(self):
        """How many there are, wherever they had to go; the chain of each log holds."""
        found = [audit.check(path) for path in self.audit_logs()]
        assert all(each["intact"] for each in found), found
        return sum(each["lines"] for each in found)

    def must_be_durable(self, path):
        """Whether the command may not say that it is done when this could not be brought to the disk."""
        kept = path == self.backups or path.startswith(self.backups + "/")
        return (kept and "/.state" not in path) or path == journal.staged_path(self.path)

    def after(self, done, lines):
        """Nothing is lost, mixed or untrue, whatever came of the command; ``lines`` of the audit log were before."""
        killed = done.returncode < 0
        assert "Traceback" not in done.stderr, done.stderr
        assert killed or 0 <= done.returncode <= 8, (done.returncode, done.stderr)
        assert killed or self.audit_lines() > lines, "the operation left no line in an audit log"
        content = self.content()
        assert content in ("old", "new") or done.returncode == 0, content
        assert self.dressed() == self.dress, "the database has lost its owner, mode or attributes"
        self.truthful()
        self.closed_to_others()
        if killed:
            return
        answer = json.loads(done.stdout)
        if done.returncode == 0:
            self.did(answer, content)
        else:
            assert answer["error_code"] and answer["msg"].count(". ") >= 1, answer
            as_it_was = answer.get("rolled_back") or "everything is as it was" in answer["msg"]
            assert not as_it_was or content == "old", answer

    def truthful(self):
        """What is listed as verified can be had: its bytes give back one of the contents that were backed up."""
        for entry in self.check_catalog():
            if entry.status != "missing":
                assert entry.verified, entry
                assert self.brought(entry.path) in (self.elder, self.new, self.old), entry

    def brought(self, path):
        """The rows of a backup, unpacked by hand; of a raw copy with the log or journal that was kept beside it."""
        directory = os.path.join(self.base, "unpacked")
        os.mkdir(directory)
        copy = os.path.join(directory, "copy.db")
        try:
            with gzip.open(path) if path.endswith(".gz") else open(path, "rb") as source, open(copy, "wb") as target:
                shutil.copyfileobj(source, target)
            for suffix in ("-wal", "-journal"):
                if os.path.exists(path + suffix):
                    shutil.copy(path + suffix, copy + suffix)
            return scenes.rows(copy)
        finally:
            shutil.rmtree(directory)

    def closed_to_others(self):
        for directory, _directories, names in os.walk(self.backups):
            for path in (directory, *(os.path.join(directory, name) for name in names)):
                assert not os.stat(path).st_mode & 0o077, f"{path} is open to others"

    def did(self, answer, content):
        """The command said that it is done: is it?"""
        raise NotImplementedError


class Backup(Stage):
    """Of a live database that somebody has left in the middle: in WAL mode its last commits are in the log."""

    def did(self, answer, content):
        entry = catalog.read_entry(answer["backup"]["path"], "app")
        assert entry.verified, entry
        assert self.brought(entry.path) == self.old
        assert files.sha256(entry.path) == answer["backup"]["sha256"]

    def content(self):
        found = super().content()
        assert found == "old", "a backup has changed the database"
        return found


def _backup(mode, method, compression):
    name = f"Backup{_NAMED[mode]}{method.title()}{'' if compression == 'none' else compression.title()}"
    words = ("backup", "--database", "{database}", "--backup-dir", "{backups}")
    return type(name, (Backup,), {"mode": mode, "words": (*words, "--method", method, "--compression", compression)})


class BackupFirst(Backup):
    """The first one, which makes its directory."""

    mode = "delete"
    words = ("backup", "--database", "{database}", "--backup-dir", "{backups}")

    def build(self):
        super().build()
        shutil.rmtree(self.backups)
        self.new = self.read()

    def content(self):
        assert scenes.Scene.content(self) == "new"
        return "old"


class BackupLarge(Backup):
    """So large that a thread writes it back to the disk meanwhile: only what that does is new."""

    mode = "delete"
    words = ("backup", "--database", "{database}", "--backup-dir", "{backups}", "--method", "clone")
    only = ("sync_file_range",)
    tail = "." * 60_000


class Retention(scenes.Retention, Stage):
    """Of four backups the two of long ago expire."""

    mode = "delete"
    words = ("retention", "--backup-dir", "{backups}", "--name", "app", "--max-remove-percent", "100")

    def did(self, answer, content):
        """What it says of each is so; where a manifest could not be read, that is why something stays."""
        left = set(os.listdir(self.backups))
        assert not left & {row["file"] for row in answer["removed"]}
        assert {row["file"] for row in answer["kept"]} <= left
        for row in answer["kept"]:
            why = " ".join(row["reasons"])
            assert not row["file"].startswith("app_2020") or "error" in why or "denied" in why or "held" in why, row


class Restore(Stage):
    """Over a database that an application was using; the old content is kept first."""

    def content(self):
        """Where the newest backup could not be read it may be the elder's: then that must be said."""
        return "elder" if self.read() == self.elder else super().content()

    def did(self, answer, content):
        assert answer["changed"], answer
        newest = next(entry.file for entry in self.check_catalog() if self.brought(entry.path) == self.new)
        told = any(newest in warning and "passed over" in warning for warning in answer["warnings"])
        assert content == "new" or (content == "elder" and told), answer
        assert self.brought(answer["pre_restore_backup"]) == self.old


def _restore(mode, strategy):
    words = ("restore", "latest", "--database", "{database}", "--backup-dir", "{backups}", "--force")
    name = f"Restore{_NAMED[mode]}{strategy.title().replace('_', '')}"
    return type(name, (Restore,), {"mode": mode, "words": (*words, "--strategy", strategy)})


class RestoreCompressed(Restore):
    """Of a compressed backup, by whichever strategy can do it."""

    mode = "delete"
    words = ("restore", "latest", "--database", "{database}", "--backup-dir", "{backups}", "--force")

    def back_up(self, **options):
        return super().back_up(compression="gzip", **options)


ALL = (
    *(_backup(*each) for each in (("wal", "clone", "none"), ("wal", "clone", "gzip"), ("wal", "online", "none"))),
    *(_backup(*each) for each in (("wal", "online", "gzip"), ("delete", "clone", "none"), ("delete", "clone", "gzip"))),
    *(_backup(*each) for each in (("delete", "online", "none"), ("delete", "online", "gzip"))),
    BackupFirst,
    BackupLarge,
    Retention,
    *(_restore(mode, strategy) for mode in ("wal", "delete") for strategy in ("in_place", "replace")),
    RestoreCompressed,
)
