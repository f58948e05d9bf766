# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A restore that was interrupted is settled by the next run, and nothing that was written since is ever lost by it."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys

import pytest
from engine import checks, contents, errors, health, operations, verify
from engine.restore import apply, journal, rollback


class _Killed(BaseException):
    """Stands for the kill: nothing of ours handles it, so the journal stays as it is."""


class Place:
    """A database, its backup directory with one backup of 100 rows, and a way to be killed in the compare step."""

    def __init__(self, root):
        (root / "live").mkdir()
        self.path, self.backups = str(root / "live" / "app.db"), str(root / "backups")
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, word TEXT)")
            connection.executemany("INSERT INTO t (word) VALUES (?)", (("w" * 50,) for _n in range(100)))
            connection.commit()
        self.made = self.backup()["backup"]

    def backup(self, **options):
        return operations.backup(database=self.path, backup_dir=self.backups, **options)

    def restore(self, **options):
        return operations.restore(database=self.path, backup_dir=self.backups, force=True, **options)

    def write(self, *statements):
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()

    def rows(self, where="1"):
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(f"SELECT count(*) FROM t WHERE {where}").fetchone()[0]


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def _kill_in(monkeypatch, room, name):
    def killed(*_arguments, **_options):
        raise _Killed

    monkeypatch.setattr(room, name, killed)


def _lose_database(place):
    os.unlink(place.path)


def _damage_database(place):
    with open(place.path, "r+b") as file:
        file.write(bytes(4096))


def _delete_rows(place):
    place.write("DELETE FROM t WHERE id > 10")


@pytest.mark.parametrize("before", [_lose_database, _damage_database, _delete_rows])
def test_what_an_application_wrote_since_survives_the_settling(place, monkeypatch, before):
    """Killed after the new content was in place; the application migrated it and wrote; then the nightly backup."""
    before(place)
    with monkeypatch.context() as patched:
        _kill_in(patched, apply, "_compare")
        with pytest.raises(_Killed):
            place.restore()
    place.write("ALTER TABLE t ADD COLUMN more TEXT", "INSERT INTO t (word) VALUES ('since')")
    result = place.backup()
    assert result["recovered"]["outcome"] == "finished"
    assert place.rows("word = 'since'") == 1
    assert place.rows() == 101
    assert not os.path.exists(journal.path_for(place.path))


def test_rollback_that_had_worked_is_not_done_again(place, monkeypatch):
    """Killed just after the old content had been written back; the application went on with it for a day."""
    place.write("DELETE FROM t WHERE id > 10")
    real = verify.verify_live
    calls = []

    def fails_once_then_dies(*arguments, **options):
        calls.append(1)
        if len(calls) == 1:
            findings = real(*arguments, **options)
            findings.add("failed", "assertion", "not as asserted")
            return findings
        raise _Killed

    with monkeypatch.context() as patched:
        patched.setattr(verify, "verify_live", fails_once_then_dies)
        with pytest.raises(_Killed):
            place.restore()
    assert place.rows() == 10
    place.write("INSERT INTO t (word) VALUES ('since')")
    result = place.backup()
    assert result["recovered"]["outcome"] == "undone"
    assert place.rows("word = 'since'") == 1


def test_missing_pre_restore_backup_is_named_and_nothing_touched(place, monkeypatch):
    place.write("DELETE FROM t WHERE id > 10")

    def failed(*arguments, **options):
        findings = real(*arguments, **options)
        findings.add("failed", "assertion", "not as asserted")
        return findings

    real = verify.verify_live
    with monkeypatch.context() as patched:
        patched.setattr(verify, "verify_live", failed)
        patched.setattr(rollback, "_bring_back", lambda restore, *_rest: _note_and_die(restore))
        with pytest.raises(_Killed):
            place.restore()
    kept = [file for file in os.listdir(place.backups) if "_pre_recovery_" in file and file.endswith(".db")]
    os.unlink(os.path.join(place.backups, kept[0]))
    with pytest.raises(errors.RestoreFailed, match=kept[0]):
        place.backup()
    assert place.rows() == 100


def _note_and_die(restore):
    restore.log.note(journal.ROLLING_BACK, strategy="in_place")
    raise _Killed


def test_writer_that_comes_and_goes_is_no_failed_restore(place, monkeypatch):
    """It commits between the restore and the comparison and holds nothing open when we look."""
    place.write("DELETE FROM t WHERE id > 10")
    real = verify.verify_live

    def after_a_visit(*arguments, **options):
        place.write("INSERT INTO t (word) VALUES ('visitor')")
        return real(*arguments, **options)

    monkeypatch.setattr(verify, "verify_live", after_a_visit)
    result = place.restore()
    assert result["changed"] and not result["rolled_back"]
    assert place.rows("word = 'visitor'") == 1


def test_restore_without_effect_is_found_though_somebody_is_connected(place, monkeypatch):
    """An idle connection excuses nothing: rows that differ while nobody has written mean that it did not work."""
    place.write("DELETE FROM t WHERE id > 10")
    real = contents.count_rows
    monkeypatch.setattr(
        contents, "count_rows", lambda connection: {"t": 10} if _is(connection, place) else real(connection)
    )
    with contextlib.closing(sqlite3.connect(place.path)) as reader:
        reader.execute("SELECT count(*) FROM t").fetchone()
        with pytest.raises(errors.RolledBack):
            place.restore()
    assert place.rows() == 10


def _is(connection, place):
    return connection.execute("PRAGMA database_list").fetchone()[2] == place.path


def test_sidecars_of_somebody_who_came_since_the_plan_are_not_moved(place, monkeypatch):
    """A connection opened while the backup was being staged: replace is refused, and both see the same database."""
    place.write("PRAGMA journal_mode=WAL")
    connection = sqlite3.connect(place.path, isolation_level=None)
    from engine.restore import plan

    monkeypatch.setattr(plan, "require_free", lambda _path: None)  # As in a container: it cannot be seen.
    with pytest.raises(errors.DatabaseBusy):
        connection.execute("SELECT count(*) FROM t").fetchone()
        place.write("DELETE FROM t WHERE id > 10")
        place.restore(strategy="replace")
    connection.execute("INSERT INTO t (word) VALUES ('after')")
    connection.close()
    assert place.rows() == 11


# --- the journal -----------------------------------------------------------------------------------------------------


def _journal(place, record, mode=0o600, uid=0):
    path = journal.path_for(place.path)
    with open(path, "w", encoding="ascii") as file:
        file.write(json.dumps(record) + "\n")
    os.chmod(path, mode)
    if os.geteuid() == 0:
        os.chown(path, uid, uid)
    return path


def test_journal_that_others_may_write_is_not_believed(place, tmp_path):
    secret = str(tmp_path / "secret.db")
    shutil.copy(place.made["path"], secret)
    record = {"phase": "rolling_back", "strategy": "in_place", "kept": secret, "expected": {"tables": {"t": 100}}}
    before = pathlib.Path(place.path).read_bytes()
    path = _journal(place, record, mode=0o666)
    with pytest.raises(errors.PermissionDenied, match="not believed"):
        place.backup()
    assert pathlib.Path(place.path).read_bytes() == before
    row = {check["name"]: check for check in operations.health(database=place.path, backup_dir=place.backups)["checks"]}
    assert row["interrupted"]["status"] == "unhealthy"
    os.unlink(path)
    assert place.backup()["changed"]


@pytest.mark.parametrize("record", [{"phase": "swapping"}, {"phase": "flying", "strategy": "in_place"}])
def test_journal_of_another_version_is_refused_with_the_next_step(place, record):
    _journal(place, record)
    with pytest.raises(errors.RestoreFailed, match="remove the journal"):
        place.backup()


def test_fifo_in_the_journals_place_hangs_nobody(place):
    os.mkfifo(journal.path_for(place.path))
    assert operations.health(database=place.path, backup_dir=place.backups)["status"] in health.STATUSES
    with pytest.raises(errors.BackupError, match="not a regular file"):
        place.backup()


# --- verdicts --------------------------------------------------------------------------------------------------------


_ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT count(*) FROM n"


@pytest.mark.parametrize("name", ["_integrity", "_of_no_table"], ids=["undivided", "divided"])
def test_interrupt_in_a_check_is_no_verdict(place, monkeypatch, name):
    """What a signal raises in the midst of SQLite's work is raised; SQLite itself would only say "interrupted"."""
    if name == "_of_no_table":
        monkeypatch.setattr(checks, "LARGE", 0)
        monkeypatch.setattr(checks.together, "processors", lambda: 2)

    def interrupt(_done, _total):
        raise KeyboardInterrupt

    monkeypatch.setattr(checks, name, lambda connection, _findings: connection.execute(_ENDLESS).fetchall())
    with pytest.raises(KeyboardInterrupt):
        verify.verify(place.made["path"], "full", progress=interrupt)


@pytest.mark.parametrize("name", ["_integrity", "_of_no_table"], ids=["undivided", "divided"])
def test_sigterm_is_heard_within_a_check_without_a_terminal(place, name):
    code = (
        "import os, signal, sqlite3, sys, threading\n"
        "from engine import checks, verify\n"
        "if sys.argv[3] == '_of_no_table': checks.LARGE, checks.together.processors = 0, lambda: 2\n"
        "class Stop(BaseException): pass\n"
        "def stop(*_): raise Stop\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "def slow(connection, findings):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    connection.execute(sys.argv[2])\n"
        "setattr(checks, sys.argv[3], slow)\n"
        "try:\n"
        "    verify.verify(sys.argv[1])\n"
        "except Stop:\n"
        "    print('stopped')\n"
    )
    engine = os.path.dirname(os.path.dirname(os.path.abspath(verify.__file__)))
    done = subprocess.run(
        [sys.executable, "-c", code, place.made["path"], _ENDLESS, name],
        env={**os.environ, "PYTHONPATH": engine},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout == "stopped\n", done.stderr


def test_interrupted_restore_test_is_not_recorded_as_failed(place, monkeypatch):
    from engine.restore import rehearse

    operations.restore(backup_dir=place.backups, test=True)
    _kill_in(monkeypatch, rehearse, "_use_as_application")
    with pytest.raises(_Killed):
        operations.restore(backup_dir=place.backups, test=True)
    entry = operations.info(backup_dir=place.backups)["backups"][0]
    assert entry["manifest"]["restore_test"]["status"] == "ok"


def test_table_whose_name_is_no_text_is_left_out(tmp_path):
    """SQLite calls it sound, so it can be backed up; its rows cannot be asked for by name."""
    path = tmp_path / "odd.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE oddname (x)")
        connection.execute("CREATE TABLE plain (x)")
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute(
            "UPDATE sqlite_master SET name = CAST(X'6F6464FF6E616D' AS TEXT),"
            " tbl_name = CAST(X'6F6464FF6E616D' AS TEXT),"
            " sql = CAST(X'435245415445205441424C4520226F6464FF6E616D2220287829' AS TEXT) WHERE name = 'oddname'"
        )
        connection.commit()
    result = operations.backup(database=str(path), backup_dir=str(tmp_path / "backups"))
    assert result["backup"]["source"]["tables"] == {"plain": 0}


def test_backup_copied_by_hand_with_its_log_is_not_restored_without_it(place):
    place.write("PRAGMA journal_mode=WAL")
    with contextlib.closing(sqlite3.connect(place.path)) as connection:
        connection.execute("INSERT INTO t (word) VALUES ('in the log')")
        connection.commit()
        for suffix in ("", "-wal"):
            shutil.copy(place.path + suffix, os.path.join(place.backups, "app-copy.db" + suffix))
    with pytest.raises(errors.BackupInvalid, match="-wal"):
        operations.restore(backup_dir=place.backups, name="app", backup="app-copy.db", test=True)


def test_reference_by_path_keeps_lock_and_pre_restore_backup_at_home(place, tmp_path):
    """A backup fetched to some other directory: what is kept of the old content goes where this name's backups are."""
    elsewhere = tmp_path / "usb"
    elsewhere.mkdir()
    for suffix in ("", ".json"):
        shutil.copy(place.made["path"] + suffix, elsewhere)
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"databases": [{"path": place.path, "backup_dir": place.backups}]}))
    place.write("DELETE FROM t WHERE id > 10")
    result = operations.restore(
        database=place.path, backup=str(elsewhere / place.made["file"]), force=True, config_path=str(config)
    )
    assert place.rows() == 100
    assert os.path.dirname(result["pre_restore_backup"]) == place.backups
    assert sorted(os.listdir(elsewhere)) == [place.made["file"], place.made["file"] + ".json"]


def test_staged_file_exchanged_for_a_link_gives_nothing_away(tmp_path):
    """Owner and mode are set through a descriptor that follows no link."""
    from engine import ownership

    secret, staged = tmp_path / "secret", tmp_path / "staged"
    secret.write_text("secret")
    secret.chmod(0o600)
    staged.symlink_to(secret)
    with pytest.raises(OSError, match="symbolic|[Ll]ink|regular"):
        ownership.set_on(str(staged), os.geteuid(), os.getegid(), 0o644)
    assert secret.stat().st_mode & 0o777 == 0o600


def test_bomb_without_a_manifest_stops_at_a_likely_size(place):
    import gzip

    bomb = os.path.join(place.backups, "app_20200101_000000.db.gz")
    with gzip.open(bomb, "wb") as stream:
        for _chunk in range(64):
            stream.write(bytes(1024 * 1024))
    with pytest.raises(errors.BackupInvalid, match="expands to more"):
        operations.restore(backup_dir=place.backups, name="app", backup=os.path.basename(bomb), test=True)
