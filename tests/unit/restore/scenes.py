# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Scenes for the tests that kill or fail an operation at each of its steps, and what must be true after each.

A scene is a directory with ``live/app.db`` and ``backups/``, put up afresh for each point. The database holds the *old*
content, the backup the *new* one (it is what a restore brings).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3

from engine import audit, catalog, clock, errors, files, kept_files, manifest, operations
from engine.restore import journal

# Passes on the staged copy and fails on the live database: so a restore gets as far as its last check, and fails it.
ONLY_ELSEWHERE = [{"sql": "SELECT count(*) FROM pragma_database_list WHERE file LIKE '%/app.db'", "expect": "0"}]
_real_now = clock.now


def rows(path):
    """Every row of every table, read by plain sqlite3 from a copy of the database and its sidecars."""
    scratch = path + ".read"
    os.mkdir(scratch)
    try:
        for suffix in ("", "-wal", "-shm", "-journal"):
            if os.path.exists(path + suffix):
                shutil.copy(path + suffix, os.path.join(scratch, "copy.db" + suffix))
        connection = sqlite3.connect(os.path.join(scratch, "copy.db"))
        try:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")]
            return {table: connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in tables}
        finally:
            connection.close()
    finally:
        shutil.rmtree(scratch)


def fill(path, word, mode, count=60):
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA page_size=1024")
    connection.execute(f"PRAGMA journal_mode={mode}")
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, word TEXT NOT NULL)")
    connection.execute("CREATE INDEX t_word ON t (word)")
    connection.executemany("INSERT INTO t (word) VALUES (?)", [(f"{word} {number}",) for number in range(count)])
    connection.close()


def leave_log(path, word, count=40):
    """Commit into the log and die: an application that was killed."""
    pid = os.fork()
    if pid == 0:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.executemany("INSERT INTO t (word) VALUES (?)", [(f"{word} log {n}",) for n in range(count)])
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.path.getsize(path + "-wal") > 0


class Scene:
    """One way in which things lie before an operation. Subclasses set ``mode`` and override what differs.

    ``fails`` is the error that the operation ends with when nobody disturbs it.
    """

    mode = "wal"
    fails: str | None = None
    options: dict = {}
    damaged = False

    def __init__(self, base):
        self.base = str(base)
        self.template, self.place = os.path.join(self.base, "template"), os.path.join(self.base, "place")
        self.path = os.path.join(self.place, "live", "app.db")
        self.backups = os.path.join(self.place, "backups")
        os.makedirs(os.path.join(self.place, "live"))
        self.build()
        self.old = self.read()
        os.rename(self.place, self.template)

    def build(self):
        fill(self.path, "new", self.mode)
        self.back_up()
        self.new = rows(self.path)
        os.unlink(self.path)
        fill(self.path, "old", self.mode, count=90)

    def back_up(self, **options):
        return operations.backup(database=self.path, backup_dir=self.backups, **options)

    def put_up(self):
        clock.now = _real_now
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.template, self.place)

    def act(self):
        """The operation under test: plain data of its result, or of the engine's error."""
        try:
            return self.operate()
        except errors.BackupError as error:
            return error.as_result()

    def operate(self):
        result = operations.restore(database=self.path, backup_dir=self.backups, force=True, **self.options)
        return {"changed": result["changed"], "warnings": result["warnings"]}

    def read(self):
        """The content that is there: rows; for a damaged database its bytes; None where there is none."""
        if not os.path.exists(self.path):
            return None
        try:
            return rows(self.path)
        except sqlite3.DatabaseError:
            return self.raw()

    def raw(self):
        """Bytes of the damaged database, each sidecar from beside it or from where a restore keeps it meanwhile."""
        found = {}
        for suffix in ("", "-wal", "-journal"):
            for place in (self.path + suffix, journal.aside_path(self.path) + suffix):
                if os.path.exists(place):
                    found[suffix] = files.sha256(place)
                    break
        return found

    # --- what must be true --------------------------------------------------------------------------------------------

    def content(self):
        """``old`` or ``new``; fails when it is neither."""
        content = self.read()
        assert content in (self.old, self.new), f"neither the old content nor the new: {content}"
        return "new" if content == self.new else "old"

    def check_catalog(self):
        """What is listed is there, whole, and what its manifest says."""
        entries = catalog.scan(self.backups, "app")
        assert [entry.file for entry in entries if entry.status not in ("verified", "unverified")] == []
        for entry in entries:
            if entry.manifest:
                assert entry.manifest["sha256"] == files.sha256(entry.path)
        return entries

    def check_tidy(self):
        live = set(os.listdir(os.path.dirname(self.path)))
        # SQLite may leave a journal that is not hot, or a log, for the next one who opens the database.
        live = {name for name in live if not name.startswith(".app.db.restore-set-aside")}
        assert live <= {"app.db", "app.db-wal", "app.db-shm", "app.db-journal"}, live
        known = {".state"}
        for entry in self.check_catalog():
            known |= {entry.file, entry.file + manifest.SUFFIX}
        for file in kept_files.quarantined(self.backups, "app"):
            known |= {file, file + manifest.SUFFIX}
        for name in os.listdir(self.backups):
            if name.endswith(catalog.RAW) and name + manifest.SUFFIX in os.listdir(self.backups):
                sums = manifest.json.loads(manifest_text(os.path.join(self.backups, name)))["sha256_of"]
                known |= {name + manifest.SUFFIX, *sums}
                for file, digest in sums.items():
                    assert files.sha256(os.path.join(self.backups, file)) == digest
        assert set(os.listdir(self.backups)) <= known, set(os.listdir(self.backups)) - known
        assert set(os.listdir(os.path.join(self.backups, ".state"))) <= {"app.lock", "audit.jsonl"}

    def check_audit(self):
        found = audit.check(os.path.join(self.backups, ".state", "audit.jsonl"))
        assert found["intact"], found
        return found["lines"]

    def pending(self):
        return journal.pending(self.path)

    def left(self):
        return catalog.leftovers(self.backups, "app")

    def next_run(self):
        """The next ordinary backup settles what was left and says so.

        Where there is nothing that could be backed up, the restore that is tried next ends it.
        """
        pending, left, before = self.pending(), self.left(), self.content()
        an_hour_later()
        try:
            said = self.back_up()["warnings"]
        except errors.BackupError as error:
            assert (self.damaged or self.old is None) and self.content() == "old", error
            said = error.details.get("warnings", [])
        after = self.content()
        outcome = None
        if pending and self.old != self.new:
            outcome = "finished" if after == "new" else "undone"
            assert any(f"was {outcome}" in text for text in said), (outcome, said)
        assert after == before or (outcome == "undone" and pending.phase == journal.ROLLING_BACK), pending
        if after == "old" and (self.damaged or self.old is None):
            said = said + operations.restore(database=self.path, backup_dir=self.backups, force=True)["warnings"]
            assert self.content() == "new"
        assert all(name in " ".join(said) for name in left), (left, said)


def an_hour_later():
    """From now on in this process: what an interrupted run left does not hide behind names of the same second."""
    clock.now = lambda: clock.after(_real_now(), 3600)


def manifest_text(path):
    with open(manifest.path_for(path), encoding="ascii") as source:
        return source.read()


class InPlace(Scene):
    """SQLite writes into a WAL database that nobody has open."""


class InPlaceWithLog(Scene):
    """The last commits of a killed application are still in the log."""

    def build(self):
        super().build()
        leave_log(self.path, "old")


class InPlaceRollbackMode(Scene):
    mode = "delete"


class InPlaceWithoutPreBackup(Scene):
    mode = "delete"
    options = {"pre_backup": False}


class Replace(Scene):
    """A sound database with a log is replaced because that was asked for."""

    options = {"strategy": "replace"}

    def build(self):
        super().build()
        leave_log(self.path, "old")


class ReplaceDamaged(Scene):
    """The header is gone, and a log of the lost content lies beside the file."""

    damaged = True

    def build(self):
        super().build()
        leave_log(self.path, "old")
        with open(self.path, "r+b") as file:
            file.write(bytes(100))


class Absent(Scene):
    def build(self):
        super().build()
        os.unlink(self.path)


class RolledBackInPlace(Scene):
    """The last check fails, and the old content is written back."""

    options = {"assertions": ONLY_ELSEWHERE}
    fails = "rolled_back"


class RolledBackReplace(Replace):
    options = {"strategy": "replace", "assertions": ONLY_ELSEWHERE}
    fails = "rolled_back"


class RolledBackDamaged(ReplaceDamaged):
    options = {"assertions": ONLY_ELSEWHERE}
    fails = "rolled_back"


class UndoInPlace(Scene):
    """The restore is over, and what it replaced is brought back: the content before is the old one here."""

    options: dict = {"undo": True}

    def build(self):
        super().build()
        before = self.read()
        operations.restore(database=self.path, backup_dir=self.backups, force=True)
        self.new = before


class UndoReplace(UndoInPlace):
    options = {"undo": True, "strategy": "replace"}


class UndoRaw(ReplaceDamaged):
    """What the restore replaced was too damaged to be read: its bytes are brought back, with their log."""

    options = {"undo": True}

    def build(self):
        super().build()
        before = self.read()
        done = operations.restore(database=self.path, backup_dir=self.backups, force=True)
        self.kept = done["pre_restore_backup"]
        self.new = before

    def raw(self):
        """The log follows its file in a moment of its own, in which it is still staged."""
        staged, found = journal.staged_path(self.path) + "-wal", super().raw()
        if "-wal" not in found and os.path.exists(staged) and not os.path.exists(journal.staged_path(self.path)):
            found["-wal"] = files.sha256(staged)
        return found

    def next_run(self):
        pending = self.pending()
        an_hour_later()
        with contextlib.suppress(errors.BackupError):
            self.back_up()
        assert self.pending() is None
        if pending is not None and self.content() == "old":
            operations.restore(database=self.path, backup_dir=self.backups, force=True, undo=True, backup=self.kept)
            assert self.content() == "new"


class Unchanged(Scene):
    """The live database has the backup's content already: the needless pre-restore backup goes again."""

    def build(self):
        fill(self.path, "new", self.mode)
        self.back_up()
        self.new = rows(self.path)


class Backup(Scene):
    """An ordinary backup; nothing live may change."""

    def operate(self):
        return {"changed": self.back_up(**self.options)["changed"]}


class BackupCompressed(Backup):
    mode = "delete"
    options = {"compression": "gzip"}


class BackupOfDamaged(Backup):
    """A page of a b-tree is overwritten: the copy fails its verification and is kept aside."""

    fails = "verification_failed"
    damaged = True
    mode = "delete"

    def build(self):
        super().build()
        with open(self.path, "r+b") as file:
            file.seek(1024 * 2)
            file.write(b"\xde\xad\xbe\xef" * 200)


class RestoreTest(Scene):
    """A rehearsal of a compressed backup; its result goes into the manifest."""

    def back_up(self, **options):
        return super().back_up(compression="gzip", **options)

    def operate(self):
        result = operations.restore(backup_dir=self.backups, name="app", test=True)
        return {"changed": result["changed"]}


class Retention(Scene):
    """Two old backups expire."""

    def build(self):
        super().build()
        newest = catalog.scan(self.backups, "app")[0]
        for day in ("20200101", "20200102"):
            path = os.path.join(self.backups, f"app_{day}_000000.db")
            shutil.copy(newest.path, path)
            document = dict(newest.manifest, file=os.path.basename(path))
            document["created_at"] = f"{day[:4]}-{day[4:6]}-{day[6:]}T00:00:00Z"
            files.write_atomically(manifest.path_for(path), manifest.encode(document))

    def operate(self):
        result = operations.retention(backup_dir=self.backups, name="app", max_remove_percent=100)
        return {"changed": result["changed"], "removed": [row["file"] for row in result["removed"]]}

    def check_catalog(self):
        """A backup that was being removed may be a manifest without its file: the next run removes that, too."""
        entries = catalog.scan(self.backups, "app")
        for entry in entries:
            assert entry.status == "verified" or (entry.status == "missing" and entry.file < "app_2021"), entry
        assert entries[0].status == "verified"
        return entries

    def next_run(self):
        super().next_run()
        self.operate()
        assert all(entry.status == "verified" for entry in catalog.scan(self.backups, "app"))
        assert not any(name.startswith("app_2020") for name in os.listdir(self.backups))


ALL = (
    InPlace,
    InPlaceWithLog,
    InPlaceRollbackMode,
    InPlaceWithoutPreBackup,
    Replace,
    ReplaceDamaged,
    Absent,
    RolledBackInPlace,
    RolledBackReplace,
    RolledBackDamaged,
    UndoInPlace,
    UndoReplace,
    UndoRaw,
    Unchanged,
    Backup,
    BackupCompressed,
    BackupOfDamaged,
    RestoreTest,
    Retention,
)
