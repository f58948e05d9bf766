# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every bad input gets a clear error with its code, leaves the old state untouched, and one line in the audit log."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import random
import shutil
import sqlite3
import subprocess
import sys

import pytest

NOBODY = 65534


# --- the database ----------------------------------------------------------------------------------------------------


def _nothing(path):
    pass


def _directory(path):
    path.mkdir()


def _empty(path):
    path.touch()


def _text(path):
    path.write_bytes(b"this is no database, only text\n" * 300)


def _encrypted(path):
    path.write_bytes(random.Random(7).randbytes(65536) if hasattr(random.Random, "randbytes") else os.urandom(65536))


def _dangling(path):
    path.symlink_to(path.parent / "gone.db")


@pytest.mark.parametrize(
    "prepare, code, status",
    [
        (_nothing, "database_not_found", 1),
        (_directory, "database_not_a_file", 1),
        (_empty, "database_empty", 1),
        (_text, "not_a_database", 1),
        (_encrypted, "database_encrypted", 8),
        (_dangling, "database_not_found", 1),
    ],
)
def test_backup_of_what_is_no_database_is_refused(site, prepare, code, status):
    prepare(site.database)
    site.backups.mkdir()
    name = "gone.db" if prepare is _dangling else site.database
    with site.refused(code, status, name) as answer:
        answer(site.backup())


def test_backup_of_a_missing_database_creates_no_directory_of_backups_to_list(site):
    site.backup()
    assert site.listed() == {}
    assert not site.database.exists()


def _truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def _flip_in_page(path):
    """A bit of a b-tree page's header: its cell count."""
    with open(path, "r+b") as file:
        file.seek(2 * 4096 + 3)
        file.write(b"\xff\xff")


@pytest.mark.parametrize("damage", [_truncate, _flip_in_page])
def test_corrupt_database_gives_no_backup_and_pushes_none_out(site, damage):
    site.make()
    good = site.made()
    damage(site.database)
    before = site.database.read_bytes()
    answer = site.backup()
    assert answer.status in (1, 3)
    assert answer.code in ("database_corrupt", "verification_failed")
    assert str(site.database) in answer.message
    assert site.database.read_bytes() == before
    assert site.listed() == {good.name: "verified"}
    assert len(site.audit_lines()) == 2


_EXCLUSIVE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


def test_locked_database_is_busy_and_names_who_holds_it(site):
    site.make()
    site.backups.mkdir()
    # In a process of its own: hashing the file here would drop this process's locks on it.
    with _holding(site, _EXCLUSIVE, site.database) as holder:
        named = (site.database, f"pid {holder.pid}")
        with site.refused("database_busy", 6, *named) as answer:
            answer(site.backup("--busy-timeout", "0.2"))


@contextlib.contextmanager
def _holding(site, code, path):
    """A process that runs the code on the path and holds what it took until the block ends."""
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        env=site.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout.readline() == "held\n"
        yield holder
    finally:
        holder.communicate()


@pytest.mark.parametrize("mode", ["delete", "wal"])
@pytest.mark.parametrize(
    "name",
    [
        b"with space.db",
        b"with 'single' and \"double\" quotes.db",
        b"100%?#&=.db",
        b"two\nlines.db",
        b"undecodable-\xff\xfe.db",
    ],
)
def test_any_path_is_backed_up_and_restored(site, name, mode):
    path = os.fsdecode(os.fsencode(site.srv) + b"/" + name)
    site.make(path, mode)
    named = ("--name", "odd")
    answer = site.backup(*named, database=path)
    assert answer.status == 0, answer
    connection = sqlite3.connect(os.fsencode(path))
    connection.execute("DELETE FROM item")
    connection.commit()
    connection.close()
    where = ("--database", path, "--backup-dir", site.backups, *named, "--force")
    answer = site.run("restore", *where)
    assert answer.status == 0, answer
    assert answer.result["changed"]
    connection = sqlite3.connect(os.fsencode(path))
    assert connection.execute("SELECT count(*) FROM item").fetchone() == (200,)
    connection.close()


@pytest.mark.parametrize("name", [b"two\nlines.db", b"undecodable-\xff.db"])
def test_path_that_makes_no_name_asks_for_one(site, name):
    path = os.fsdecode(os.fsencode(site.srv) + b"/" + name)
    site.make(path)
    site.backups.mkdir()
    with site.refused("name_invalid", 2, "'name'") as answer:
        answer(site.backup(database=path))


# --- names and directories -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../other", "a/b", "..", "", ".hidden", "-x", "x_pre_recovery", "app_20260101_000000"]
)
def test_name_that_could_leave_the_directory_is_refused(site, name):
    site.make()
    site.backups.mkdir()
    with site.refused("name_invalid", 2) as answer:
        answer(site.backup(f"--name={name}"))


def test_backup_dir_that_is_the_databases_own_is_refused(site):
    site.make()
    before = site.tree()
    answer = site.backup(backups=site.srv)
    assert (answer.code, answer.status) == ("backup_dir_invalid", 2), answer
    assert str(site.srv) in answer.message
    assert site.tree() == before
    assert len(site.audit_lines()) == 1


def test_backup_dir_that_is_a_file_is_refused(site):
    site.make()
    site.backups.write_text("a file")
    with site.refused("backup_dir_invalid", 2, site.backups) as answer:
        answer(site.backup())


def test_backup_dir_that_cannot_be_written_is_refused(site):
    site.make()
    site.backups.mkdir(mode=0o755)
    site.open_up()
    with site.refused("permission_denied", 1, site.backups) as answer:
        answer(site.backup(nobody=True))


def test_full_disk_is_told_before_anything_is_written(site, mounted):
    site.make(rows=20000)
    site.backups.mkdir()
    mounted("-t", "tmpfs", "-o", "size=512k", "tmpfs", site.backups)
    with site.refused("no_space", 5, site.backups) as answer:
        answer(site.backup("--disk-limit-percent", "100"))


def test_filesystem_that_would_be_too_full_is_refused(site):
    site.make()
    site.backups.mkdir()
    with site.refused("no_space", 5, "disk_limit_percent") as answer:
        answer(site.backup("--disk-limit-percent", "0.0001"))


def test_read_only_database_is_backed_up(site, mounted):
    for mode in ("delete", "wal"):
        site.make(site.srv / f"{mode}.db", mode)
    mounted("--bind", site.srv, site.srv)
    mounted("-o", "remount,bind,ro", site.srv)
    for mode in ("delete", "wal"):
        answer = site.backup(database=site.srv / f"{mode}.db")
        assert answer.status == 0, answer


def test_read_only_backup_directory_refuses_a_backup_and_serves_a_restore(site, mounted):
    site.make()
    site.made()
    mounted("--bind", site.backups, site.backups)
    mounted("-o", "remount,bind,ro", site.backups)
    with site.refused("read_only", 1, site.backups) as answer:
        answer(site.backup())
    site.database.unlink()
    answer = site.restore()
    assert answer.status == 0, answer
    assert site.run("test", "--backup-dir", site.backups).status == 0


def test_read_only_database_directory_refuses_a_restore(site, mounted):
    site.make()
    site.made()
    mounted("--bind", site.srv, site.srv)
    mounted("-o", "remount,bind,ro", site.srv)
    with site.refused("read_only", 1, site.srv) as answer:
        answer(site.restore("--force"))


# --- stored backups --------------------------------------------------------------------------------------------------


def _flip_in_value(path):
    """One bit of one stored word: SQLite's own check finds nothing wrong with it."""
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"word 17 ")] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize("damage", [_flip_in_value, _flip_in_page])
def test_backup_with_a_flipped_bit_is_refused_everywhere(site, damage):
    site.make()
    backup = site.made()
    damage(backup)
    with site.refused("backup_invalid", 3, backup, "SHA-256") as answer:
        answer(site.restore("--force"))
    answer = site.run("test", "--backup-dir", site.backups)
    assert (answer.code, answer.status, answer.result["recoverable"]) == ("backup_invalid", 3, False), answer
    answer = site.run("validate", "--backup-dir", site.backups)
    assert (answer.code, answer.status) == ("backup_invalid", 3), answer
    assert site.listed() == {backup.name: "invalid"}


def test_truncated_backup_is_refused(site):
    site.make()
    backup = site.made()
    _truncate(backup)
    assert site.listed() == {backup.name: "invalid"}
    with site.refused("backup_not_found", 3, "1 invalid") as answer:
        answer(site.restore("--force"))
    with site.refused("backup_invalid", 3, backup) as answer:
        answer(site.restore(backup.name, "--force"))


def test_backup_without_a_manifest_is_listed_unverified_and_can_be_adopted(site):
    site.make()
    backup = site.made()
    (site.backups / (backup.name + ".json")).unlink()
    assert site.listed() == {backup.name: "unverified"}
    with site.refused("backup_not_found", 3, "1 unverified") as answer:
        answer(site.restore("--force"))
    answer = site.run("validate", "--backup-dir", site.backups, "--adopt")
    assert answer.status == 0, answer
    assert answer.result["backups"][0]["adopted"]
    assert site.listed() == {backup.name: "verified"}


def test_older_scripts_backup_is_listed_and_adopted(site):
    site.make()
    site.backups.mkdir()
    shutil.copy(site.database, site.backups / "digitalme_20240131_023000.db")
    where = ("--backup-dir", site.backups, "--name", "digitalme")
    row = site.run("list", *where).result["backups"][0]
    assert (row["status"], row["created_at"]) == ("unverified", "2024-01-31T02:30:00.000Z")
    assert site.run("validate", *where, "--adopt").status == 0
    assert site.run("list", *where).result["backups"][0]["status"] == "verified"


def test_manifest_without_its_backup_is_reported(site):
    site.make()
    backup = site.made()
    backup.unlink()
    assert site.listed() == {backup.name: "missing"}
    with site.refused("backup_not_found", 3) as answer:
        answer(site.restore("--force"))
    health = site.run("health", "--backup-dir", site.backups, "--name", "app")
    checks = {check["name"]: check["status"] for check in health.result["checks"]}
    assert checks["catalog"] == "degraded"
    assert health.status == 2


def test_manifest_of_another_backup_is_not_believed(site):
    site.make()
    first = site.made()
    connection = sqlite3.connect(site.database)
    connection.execute("DELETE FROM item WHERE id > 100")
    connection.commit()
    connection.close()
    second = site.made()
    shutil.copy(str(first) + ".json", str(second) + ".json")
    assert site.listed() == {first.name: "verified", second.name: "unverified"}
    known = json.loads(pathlib.Path(str(first) + ".json").read_text())
    known["file"] = second.name
    known["stored_bytes"] = second.stat().st_size
    pathlib.Path(str(second) + ".json").write_text(json.dumps(known))
    with site.refused("backup_invalid", 3, "SHA-256") as answer:
        answer(site.restore(second.name, "--force"))


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"schema_version": 99}', b"\xff\xfe", b"[" * 100_000])
def test_damaged_manifest_never_stops_the_listing(site, raw):
    site.make()
    good, bad = site.made(), site.made()
    pathlib.Path(str(bad) + ".json").write_bytes(raw)
    assert site.listed() == {good.name: "verified", bad.name: "unverified"}


# --- symbolic links --------------------------------------------------------------------------------------------------


def test_linked_database_is_resolved_once_and_stays_a_link(site):
    real = site.root / "real"
    real.mkdir()
    site.make(real / "data.db")
    site.database.symlink_to(real / "data.db")
    site.made("--name", "app")
    os.truncate(real / "data.db", 4096 + 7)
    answer = site.restore("--force", "--name", "app")
    assert answer.status == 0, answer
    assert site.database.is_symlink()
    assert not (real / "data.db").is_symlink()
    with contextlib.closing(sqlite3.connect(site.database)) as connection:
        assert connection.execute("SELECT count(*) FROM item").fetchone() == (200,)


def test_linked_backup_directory_is_the_directory(site):
    site.make()
    (site.root / "elsewhere").mkdir()
    site.backups.symlink_to(site.root / "elsewhere")
    assert site.made().parent == site.root / "elsewhere"


def test_link_inside_the_backup_directory_is_not_followed(site):
    site.make()
    backup = site.made()
    outside = site.root / "outside.db"
    shutil.copy(backup, outside)
    trap = site.backups / "app_20200101_000000.db"
    trap.symlink_to(outside)
    assert site.listed()[trap.name] == "invalid"
    with site.refused("backup_invalid", 3, trap, "symbolic link") as answer:
        answer(site.restore(trap.name, "--force"))


# --- two at once, clocks ---------------------------------------------------------------------------------------------

_HOLD = """
import sys
from engine import lock
with lock.held(sys.argv[1], "backup", 5):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_second_run_waits_and_then_says_who_holds_the_lock(site):
    site.make()
    site.made()
    path = site.backups / ".state" / "app.lock"
    with _holding(site, _HOLD, path) as holder:
        named = (f"pid {holder.pid}", "backup")
        with site.refused("busy", 6, *named) as answer:
            answer(site.backup("--busy-timeout", "0.2"))
    assert site.backup().status == 0


def test_many_runs_at_once_all_give_a_backup_of_their_own(site):
    site.make(mode="wal")
    command = site.command("backup", "--database", site.database, "--backup-dir", site.backups)
    runs = [subprocess.Popen(command, env=site.environment, stdout=subprocess.PIPE, text=True) for _number in range(5)]
    files = [json.loads(run.communicate()[0])["backup"]["file"] for run in runs]
    assert [run.returncode for run in runs] == [0] * 5
    assert len(set(files)) == 5
    assert site.listed() == dict.fromkeys(files, "verified")
    assert site.run("audit", "--backup-dir", site.backups, "--name", "app").result["lines"] == 5


def test_clock_set_back_removes_nothing(site):
    site.make()
    for _number in range(3):
        backup = site.made()
    path = pathlib.Path(str(backup) + ".json")
    known = json.loads(path.read_text())
    known["created_at"] = "2095-01-01T00:00:00Z"
    path.write_text(json.dumps(known))
    before = site.listed()
    options = ("--keep-days", "0", "--keep-last", "1", "--max-remove-percent", "100")
    answer = site.run("retention", "--backup-dir", site.backups, *options)
    assert answer.status == 0, answer
    assert "in the future" in answer.result["held"]
    assert answer.result["removed"] == []
    assert site.listed() == before
    health = site.run("health", "--backup-dir", site.backups)
    assert health.status == 1
    assert any("in the future" in check["message"] for check in health.result["checks"])


# --- whose files -----------------------------------------------------------------------------------------------------


def test_bind_mounted_file_is_restored_in_place(site, mounted):
    site.make()
    site.made()
    real = site.root / "real.db"
    shutil.copy(site.database, real)
    mounted("--bind", real, site.database)
    with contextlib.closing(sqlite3.connect(site.database)) as connection:
        connection.execute("DELETE FROM item")
        connection.commit()
    answer = site.restore("--force")
    assert answer.status == 0, answer
    with contextlib.closing(sqlite3.connect(real)) as connection:
        assert connection.execute("SELECT count(*) FROM item").fetchone() == (200,)


def test_bind_mounted_file_that_is_damaged_is_left_alone(site, mounted):
    site.make()
    site.made()
    real = site.root / "real.db"
    real.write_bytes(bytes(8192))
    mounted("--bind", real, site.database)
    with site.refused("read_only", 1, site.database, "mount") as answer:
        answer(site.restore("--force"))


_WRITE = (
    "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('INSERT INTO item (word) VALUES (1)'); c.commit()"
)


def test_owner_can_still_write_after_root_has_backed_up_and_restored(site):
    """The sidecars of a WAL database that root opened belong to its owner, or are gone."""
    site.make(mode="wal")
    site.open_up()
    for path in (site.srv, site.database):
        os.chown(path, NOBODY, NOBODY)

    def write():
        site.as_nobody(_WRITE, site.database)

    assert site.backup().status == 0
    write()
    for strategy in ("in_place", "replace"):
        answer = site.restore("--force", "--strategy", strategy)
        assert answer.status == 0, answer
        facts = site.database.stat()
        assert (facts.st_uid, facts.st_gid) == (NOBODY, NOBODY)
        write()


def test_third_user_may_not_create_sidecars_that_lock_the_owner_out(site):
    """A WAL database of root, readable by all in a directory that all may write: reading it would create sidecars."""
    site.make(mode="wal")
    site.open_up()
    site.srv.chmod(0o777)
    site.backups.mkdir()
    os.chown(site.backups, NOBODY, NOBODY)
    with site.refused("permission_denied", 1, site.database) as answer:
        answer(site.backup(nobody=True))


def test_files_have_their_final_mode_under_any_umask(site):
    site.make()
    assert site.backup(preexec_fn=lambda: os.umask(0)).status == 0
    assert site.backups.stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in site.backups.rglob("*") if path.is_file()}
    assert set(modes.values()) == {0o600}, modes


def test_one_unreadable_backup_does_not_stop_the_validation_of_the_others(site):
    """Nor is it a verdict on that backup: its manifest stays as it was."""
    site.make()
    good, locked = site.made(), site.made()
    site.open_up()
    for path in (site.backups, *site.backups.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    os.chown(locked, 0, 0)
    recorded = pathlib.Path(str(locked) + ".json").read_text()
    answer = site.run("validate", "--backup-dir", site.backups, nobody=True)
    assert (answer.code, answer.status) == ("backup_invalid", 3), answer
    assert {row["file"]: row["status"] for row in answer.result["backups"]} == {good.name: "ok", locked.name: "failed"}
    assert pathlib.Path(str(locked) + ".json").read_text() == recorded


def test_nul_byte_is_a_usage_error(site):
    """It cannot come through a command line; through a module or the API it can."""
    code = "from engine import operations; operations.info(backup_dir='a\\0b')"
    done = subprocess.run(
        [sys.executable, "-c", code], env=site.environment, capture_output=True, text=True, check=False
    )
    assert "UsageError" in done.stderr
