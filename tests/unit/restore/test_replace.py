# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A restore undoes what it did itself and nothing else, and puts no file where somebody has come meanwhile."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys

import pytest
from engine import clock, errors, files, operations, verify
from engine.restore import apply, free_name, journal, shut, swap


class _Killed(BaseException):
    """Stands for the kill: nothing of ours handles it, so the journal stays as it is."""


_CONNECTS = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2:]:
    connection.execute(statement).fetchall()
print("connected", flush=True)
sys.stdin.readline()
connection.execute("INSERT INTO t VALUES ('of the other')")
connection.close()
"""


@contextlib.contextmanager
def somebody(path, *statements):
    """Another process that has opened the database; a line to it lets it write, and go."""
    command = [sys.executable, "-c", _CONNECTS, path, *statements]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "connected\n"
        yield other


class Place:
    """A database with the rows ``old``, and a verified backup of it when it had the rows ``new``."""

    def __init__(self, root, mode="delete"):
        (root / "live").mkdir()
        self.path, self.backups = str(root / "live" / "app.db"), str(root / "backups")
        self.aside, self.staged = journal.aside_path(self.path), journal.staged_path(self.path)
        self._options = {"database": self.path, "backup_dir": self.backups, "name": "app"}
        self.make("new", mode)
        self.backup()
        os.unlink(self.path)
        self.make("old", mode)

    def make(self, word, mode="delete"):
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            connection.executescript(f"PRAGMA journal_mode={mode}; CREATE TABLE t (word)")
            connection.execute("INSERT INTO t VALUES (?)", (word,))
            connection.commit()

    def backup(self):
        return operations.backup(**self._options, disk_limit_percent=100)

    def restore(self, **options):
        return operations.restore(**self._options, **{"force": True, **options})

    def words(self):
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            return [word for (word,) in connection.execute("SELECT word FROM t ORDER BY rowid")]

    def beside(self):
        return sorted(os.listdir(os.path.dirname(self.path)))

    def raw_copy(self):
        """A raw copy of a database with a row in its file and one in its log; each sum is noted."""
        made = os.path.join(self.backups, "app_pre_recovery_20261101_000000.damaged")
        source = self.path + ".source"
        with contextlib.closing(sqlite3.connect(source)) as connection:
            connection.executescript("PRAGMA journal_mode=wal; CREATE TABLE t (word); INSERT INTO t VALUES ('file')")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            connection.execute("INSERT INTO t VALUES ('log')")
            connection.commit()
            sums = {}
            for suffix in ("", "-wal"):
                shutil.copy(source + suffix, made + suffix)
                with open(made + suffix, "rb") as file:
                    sums[os.path.basename(made) + suffix] = hashlib.sha256(file.read()).hexdigest()
        os.unlink(source)
        with open(made + ".json", "w", encoding="ascii") as file:
            json.dump({"file": os.path.basename(made), "sha256_of": sums}, file)
        return made


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


# --- what is undone ---------------------------------------------------------------------------------------------------


def test_undo_that_fails_before_it_touched_anything_takes_no_old_file_for_its_own(place):
    made = place.raw_copy()
    os.unlink(made + "-wal")
    shutil.copy(place.path, place.aside)
    with contextlib.closing(sqlite3.connect(place.path)) as connection:
        connection.execute("INSERT INTO t VALUES ('since')")
        connection.commit()
    with pytest.raises(errors.BackupInvalid) as caught:
        place.restore(backup=made, undo=True)
    assert made + "-wal" in str(caught.value)
    assert place.words() == ["old", "since"] and place.beside() == ["app.db"]


def test_restore_in_place_that_fails_takes_no_old_log_for_its_own(place, monkeypatch):
    def locked(*_arguments):
        raise errors.DatabaseBusy("locked", path=place.path)

    with open(place.aside + "-wal", "wb") as file:
        file.write(b"of another time")
    monkeypatch.setattr(swap, "in_place", locked)
    with pytest.raises(errors.DatabaseBusy):
        place.restore(strategy="in_place")
    assert place.beside() == ["app.db"] and place.words() == ["old"]


def test_disk_error_in_the_last_look_brings_the_old_content_back(place, monkeypatch):
    real, raised = verify.checks.count, []

    def count(connection, findings):
        of_live = connection.execute("PRAGMA database_list").fetchone()[2] == os.path.realpath(place.path)
        if of_live and not raised:
            raised.append(True)
            raise sqlite3.OperationalError("disk I/O error")
        return real(connection, findings)

    monkeypatch.setattr(verify.checks, "count", count)
    with pytest.raises(errors.RolledBack) as caught:
        place.restore(strategy="replace")
    assert raised and "disk I/O error" in caught.value.cause
    assert caught.value.details["steps"][-1]["name"] == "rollback"
    assert place.words() == ["old"] and place.beside() == ["app.db"]


@pytest.mark.parametrize("existed", [True, False])
def test_raw_copy_without_its_log_is_no_finished_undo(place, monkeypatch, existed):
    made = place.raw_copy()
    if not existed:
        os.unlink(place.path)
    real = swap.replace

    def killed(*arguments):
        real(*arguments)
        raise _Killed

    with monkeypatch.context() as patch:
        patch.setattr(swap, "replace", killed)
        with pytest.raises(_Killed):
            place.restore(backup=made, undo=True)
    assert place.words() == ["file"], "the kill was to come between the renames"
    if existed:
        settled = place.backup()["recovered"]
        assert place.words() == ["old"]
    else:
        with pytest.raises(errors.DatabaseNotFound):
            place.backup()
        settled = None
    assert settled is None or settled["outcome"] == "undone"
    set_aside = os.path.basename(swap.present_path(place.path))
    assert place.beside() == [set_aside, *(["app.db"] if existed else [])]
    place.restore(backup=made, undo=True)
    assert place.words() == ["file", "log"]


# --- who comes meanwhile ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seen_before", [True, False], ids=["before the renames", "in the last moment"])
def test_database_that_is_made_where_there_was_none_is_not_replaced(place, monkeypatch, seen_before):
    os.unlink(place.path)
    if seen_before:
        monkeypatch.setattr(apply.recover.swap, "dress", lambda *_arguments: place.make("of the application"))
    else:
        real = free_name.require

        def made_now(path):
            monkeypatch.setattr(free_name, "require", real)
            place.make("of the application")

        monkeypatch.setattr(free_name, "require", made_now)
    with pytest.raises(errors.DatabaseBusy, match="has been made there"):
        place.restore(force=False)
    assert place.words() == ["of the application"] and place.beside() == ["app.db"]


def test_log_of_a_database_that_is_just_being_made_is_not_renamed_away(place, monkeypatch):
    """There was one without a database before; the one that is there now is somebody's who works in it."""
    os.unlink(place.path)
    with open(place.path + "-journal", "wb") as file:
        file.write(b"of one that is gone")
    real, looks = free_name.require, []

    def require(path):
        looks.append(path)
        if len(looks) == 2:  # Since the first look, and before the renames.
            os.unlink(path + "-journal")
            with open(path + "-journal", "wb") as file:
                file.write(b"of somebody")
        return real(path)

    monkeypatch.setattr(free_name, "require", require)
    with pytest.raises(errors.DatabaseBusy):
        place.restore(force=False)
    with open(place.path + "-journal", "rb") as file:
        assert file.read() == b"of somebody"
    assert place.beside() == ["app.db-journal"]


@pytest.mark.parametrize("links", [True, False], ids=["with links", "without"])
def test_restore_of_an_absent_database_that_is_killed_behind_its_renaming_is_finished(place, monkeypatch, links):
    os.unlink(place.path)
    name = "remove_durably" if links else "sync_directory"
    with monkeypatch.context() as patch:
        if not links:
            patch.setattr(files, "link", _unknown)
        real = getattr(files, name)

        def killed(*paths):
            if os.path.exists(place.path):
                raise _Killed
            return real(*paths)

        patch.setattr(files, name, killed)
        with pytest.raises(_Killed):
            place.restore(force=False)
    assert os.path.exists(place.staged) == links
    assert place.backup()["recovered"]["outcome"] == "finished"
    assert place.words() == ["new"] and place.beside() == ["app.db"]


def _unknown(*_paths):
    raise OSError(95, "Operation not supported")


def _failing(monkeypatch, between):
    """Let the last look at a restored database find another schema, after ``between`` was called."""
    real = apply._compare

    def compare(restore, *arguments):
        with contextlib.closing(sqlite3.connect(restore.path)) as connection:
            connection.execute("CREATE TABLE migrated (a)")
        between()
        return real(restore, *arguments)

    monkeypatch.setattr(apply, "_compare", compare)


@pytest.mark.parametrize("existed", [True, False])
def test_new_file_that_somebody_has_opened_stays_and_the_old_one_is_kept(tmp_path, monkeypatch, existed):
    """It could be renamed back only later, and what was committed until then would be lost."""
    place = Place(tmp_path, "wal")
    if not existed:
        os.unlink(place.path)
    with contextlib.ExitStack() as others:
        came = []
        _failing(monkeypatch, lambda: came.append(others.enter_context(somebody(place.path))))
        with pytest.raises(errors.RestoreFailed) as caught:
            place.restore(strategy="replace", pre_backup=False)
        assert "did not pass its checks" in caught.value.cause and str(came[0].pid) in caught.value.cause
        assert caught.value.details["rolled_back"] is False
        assert (swap.present_path(place.path) in caught.value.hint) == existed
        assert place.backup()["recovered"] is None, "nothing is left that a later run could take back"
        came[0].communicate("\n", timeout=60)
    assert place.backup()["recovered"] is None
    assert place.words() == ["new", "of the other"]
    assert not os.path.exists(place.aside)
    if existed:
        with contextlib.closing(sqlite3.connect(swap.present_path(place.path))) as kept:
            assert kept.execute("SELECT word FROM t").fetchall() == [("old",)]


def test_old_content_that_sqlite_cannot_write_back_is_kept(tmp_path, monkeypatch):
    """In WAL mode no page size changes: it would be refused in place for ever."""
    place = Place(tmp_path, "wal")
    with contextlib.closing(sqlite3.connect(place.path)) as connection:
        connection.executescript("PRAGMA journal_mode=delete; PRAGMA page_size=8192; VACUUM; PRAGMA journal_mode=wal")
    with contextlib.ExitStack() as others:
        _failing(monkeypatch, lambda: others.enter_context(somebody(place.path)))
        with pytest.raises(errors.RestoreFailed, match="could not be brought back") as caught:
            place.restore()
        assert "app_pre_recovery_" in caught.value.hint and swap.present_path(place.path) in caught.value.hint
    assert place.backup()["recovered"] is None and place.words()[0] == "new"


def test_old_content_is_written_back_under_somebody_who_has_opened_the_new_file(tmp_path, monkeypatch):
    place = Place(tmp_path, "wal")
    with contextlib.ExitStack() as others:
        came = []
        _failing(monkeypatch, lambda: came.append(others.enter_context(somebody(place.path))))
        with pytest.raises(errors.RolledBack):
            place.restore(strategy="replace")
        assert place.words() == ["old"]
        came[0].communicate("\n", timeout=60)
    assert place.words() == ["old", "of the other"]


@pytest.mark.parametrize("begins", [bytes(12) + b"nonce and sizes of one that was killed", bytes(512)])
def test_journal_that_was_never_synced_is_no_users(place, begins):
    """Its writer was killed before it had touched the database; SQLite ignores it, and leaves it."""
    with open(place.path + "-journal", "wb") as file:
        file.write(begins)
    assert place.restore(strategy="replace")["changed"]
    assert place.beside() == ["app.db"] and place.words() == ["new"]


@pytest.mark.skipif(not shut.CAN_SHUT, reason="locks of open files are Linux's")
def test_settling_renames_nothing_under_a_user_that_cannot_be_seen(tmp_path, monkeypatch):
    """As one in a container: only SQLite's own lock tells of it."""
    place = Place(tmp_path, "wal")

    def killed(*_arguments):
        raise _Killed

    with monkeypatch.context() as patch:
        patch.setattr(apply, "_compare", killed)
        with pytest.raises(_Killed):
            place.restore(strategy="replace")
    monkeypatch.setattr(swap.plan_room.processes, "holders", lambda _paths: ([], 0))
    with somebody(place.path, "SELECT count(*) FROM t") as other:
        with pytest.raises(errors.DatabaseBusy, match="stop the application"):
            place.restore(undo=True, busy_timeout=0.1)
        other.communicate("\n", timeout=60)
    assert place.words() == ["new", "of the other"]
    place.restore(undo=True)
    assert place.words() == ["old"]


def test_writing_in_place_waits_for_a_lock_as_long_as_busy_timeout_says(place, monkeypatch):
    other = sqlite3.connect(place.path, isolation_level=None)
    real, waited = swap.in_place, []

    def in_place(*arguments):
        other.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr(clock, "sleep", lambda seconds: (waited.append(seconds), other.execute("ROLLBACK")))
        return real(*arguments)

    monkeypatch.setattr(swap, "in_place", in_place)
    with contextlib.closing(other):
        assert place.restore(strategy="in_place", busy_timeout=60)["changed"]
    assert waited and place.words() == ["new"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root could read more than its owner")
def test_content_of_a_link_in_the_staged_copys_place_is_not_restored(place, tmp_path, monkeypatch):
    secret = tmp_path / "secret.db"
    with contextlib.closing(sqlite3.connect(secret)) as connection:
        connection.execute("CREATE TABLE of_root (a)")

    real = apply.stage.keep_old

    def exchange(*arguments):
        os.unlink(place.staged)
        os.symlink(secret, place.staged)
        return real(*arguments)

    monkeypatch.setattr(apply.stage, "keep_old", exchange)
    with pytest.raises(errors.PermissionDenied, match="a link was put in its place"):
        place.restore(strategy="in_place")
    assert place.words() == ["old"]
