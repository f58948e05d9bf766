# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The way back of a finished restore, and the two ways out of one that was interrupted."""

from __future__ import annotations

import contextlib
import os
import sqlite3

import pytest
from engine import catalog, errors, files, kept_files, operations
from engine.restore import apply, journal, swap


class _Killed(BaseException):
    """Stands for the kill: nothing of ours handles it, so the journal stays as it is."""


@pytest.fixture
def place(tmp_path, database):
    """A database of 200 rows with one backup of them, and 100 rows more since."""
    return Place(str(tmp_path / "backups"), database)


class Place:
    def __init__(self, backups, path):
        self.backups, self.path = backups, path
        self.made = self.call(operations.backup)["backup"]
        self.write("INSERT INTO t (word) SELECT word FROM t LIMIT 100")

    def call(self, operation, **options):
        return operation(database=self.path, backup_dir=self.backups, **options)

    def restore(self, **options):
        return self.call(operations.restore, **{"force": True, **options})

    def write(self, *statements):
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()

    def rows(self):
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            return connection.execute("SELECT count(*) FROM t").fetchone()[0]

    def kill_in(self, monkeypatch, room, function, after=False, **options):
        real = getattr(room, function)

        def killed(*arguments, **rest):
            if after:
                real(*arguments, **rest)
            raise _Killed

        with monkeypatch.context() as patched, pytest.raises(_Killed):
            patched.setattr(room, function, killed)
            self.restore(**options)
        assert journal.pending(self.path) is not None

    def damage_header(self):
        with open(self.path, "r+b") as file:
            file.write(bytes(100))
        return files.sha256(self.path)


# --- undo ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["in_place", "replace"])
def test_undo_brings_back_what_the_last_restore_replaced_and_keeps_what_it_takes_away(place, strategy):
    kept = place.restore(strategy=strategy)["pre_restore_backup"]
    assert place.rows() == 200
    result = place.restore(undo=True, strategy=strategy)
    assert (result["changed"], place.rows(), result["backup"]["path"]) == (True, 300, kept)
    assert place.restore(undo=True, backup=result["pre_restore_backup"])["changed"] and place.rows() == 200


def test_undo_by_a_link_is_of_the_file_behind_it_and_a_link_among_the_backups_is_none(place, tmp_path):
    kept = place.restore()["pre_restore_backup"]
    link = tmp_path / "old.sqlite"
    link.symlink_to(kept)
    assert place.restore(undo=True, backup=str(link))["changed"] and place.rows() == 300
    os.symlink(kept, os.path.join(place.backups, "app.linked.db"))
    with pytest.raises(errors.BackupNotFound, match="symbolic link"):
        place.restore(undo=True, backup="app.linked.db")
    assert place.rows() == 300


@pytest.mark.parametrize("damage", [False, True], ids=["sound", "damaged"])
def test_undo_by_a_path_alone_finds_the_name_and_its_lock(place, damage):
    if damage:
        place.damage_header()
    kept = place.restore()["pre_restore_backup"]
    assert kept.endswith(catalog.RAW) is damage
    result = operations.restore(database=place.path, backup=kept, undo=True, force=True)
    assert result["changed"]
    assert sorted(os.listdir(os.path.join(place.backups, ".state"))) == ["app.lock", "audit.jsonl"]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("app_20261101_000000.db", "app"),
        ("app_20261101_000000_2.db.gz", "app"),
        ("app_pre_recovery_20261101_000000.db", "app"),
        ("app_pre_recovery_20261101_000000.damaged", "app"),
        ("app_pre_recovery_20261101_000000.db.quarantined", "app"),
        ("app_20261101_000000.db.quarantined", "app"),
        ("by hand.sqlite", "by hand"),
    ],
)
def test_name_is_read_from_what_is_kept_aside_as_from_a_backup(file, name):
    assert kept_files.name_of(file) == name


def test_undo_takes_the_newest_of_several_also_within_one_second(place):
    place.restore()
    for _n in range(3):
        place.write("INSERT INTO t (word) VALUES ('x')")
        place.restore()
    place.restore(undo=True)
    assert place.rows() == 201


def test_undo_of_a_finished_restore_must_be_confirmed(place):
    place.restore()
    with pytest.raises(errors.NotConfirmed):
        place.restore(undo=True, force=False)
    assert place.rows() == 200


def test_undo_of_nothing_says_so(place):
    with pytest.raises(errors.BackupNotFound, match="no restore has kept"):
        place.restore(undo=True)
    with pytest.raises(errors.BackupNotFound, match="is not there"):
        place.restore(undo=True, backup="app_pre_recovery_20200101_000000.db")
    assert place.rows() == 300


def test_undo_brings_a_database_back_that_sqlite_could_not_read_byte_for_byte(place):
    damaged = place.damage_header()
    kept = place.restore()["pre_restore_backup"]
    assert kept.endswith(catalog.RAW) and place.rows() == 200
    os.chmod(place.path, 0o640)
    result = place.restore(undo=True)
    assert files.sha256(place.path) == damaged
    assert os.name == "nt" or os.stat(place.path).st_mode & 0o777 == 0o640
    assert place.restore(undo=True, backup=result["pre_restore_backup"])["changed"] and place.rows() == 200


@pytest.mark.parametrize("noted", ["fifo", "list", "nonsense", "nested"])
def test_undo_of_a_raw_copy_whose_note_is_none_ends_and_changes_nothing(place, noted):
    place.damage_header()
    kept = os.path.join(place.backups, place.restore()["pre_restore_backup"])
    os.unlink(kept + ".json")
    if noted == "fifo":
        os.mkfifo(kept + ".json")
    else:
        files.write_new(kept + ".json", {"list": b"[1]", "nonsense": b"{", "nested": b"[" * 100_000}[noted])
    with pytest.raises(errors.BackupError) as refused:
        place.restore(undo=True, backup=os.path.basename(kept))
    assert refused.value.error_code == "backup_invalid" and place.rows() == 200


def test_undo_of_a_raw_copy_must_be_confirmed_and_refuses_changed_bytes_and_a_held_file(place, holding):
    place.damage_header()
    kept = place.restore()["pre_restore_backup"]
    with pytest.raises(errors.NotConfirmed):
        place.restore(undo=True, force=False)
    with holding(place.path, "SELECT count(*) FROM t"), pytest.raises(errors.InUse):
        place.restore(undo=True)
    with open(kept, "r+b") as file:
        file.seek(5000)
        file.write(b"x")
    with pytest.raises(errors.BackupInvalid, match="not those that were kept"):
        place.restore(undo=True)
    assert place.rows() == 200 and journal.pending(place.path) is None
    assert sorted(os.listdir(os.path.dirname(place.path))) == ["app.db"]


def test_undo_of_a_raw_copy_whose_log_is_gone_is_refused(place):
    place.damage_header()
    with open(place.path + "-wal", "wb") as log:
        log.write(b"what was committed last")
    kept = place.restore()["pre_restore_backup"]
    assert files.size(kept + "-wal")
    os.unlink(kept + "-wal")
    with pytest.raises(errors.BackupInvalid, match="a part of what was kept is gone"):
        place.restore(undo=True)
    assert place.rows() == 200 and journal.pending(place.path) is None


def test_undo_brings_back_a_copy_that_did_not_pass_its_verification(place):
    with open(place.path, "r+b") as file:
        file.seek(4096 * 2 + 8)
        file.write(b"\xff" * 64)
    assert _is_damaged(place.path)
    kept = place.restore()["pre_restore_backup"]
    assert kept.endswith(files.QUARANTINED) and place.rows() == 200
    place.restore(undo=True)
    assert _is_damaged(place.path)


def _is_damaged(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        try:
            return connection.execute("PRAGMA integrity_check").fetchone() != ("ok",)
        except sqlite3.DatabaseError:
            return True


def test_check_mode_of_undo_names_what_would_come_back_and_changes_nothing(place):
    kept = place.restore()["pre_restore_backup"]
    result = place.restore(undo=True, check=True)
    assert result["changed"] and result["steps"][-1]["detail"] == os.path.basename(kept)
    assert place.rows() == 200


# --- interrupted -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["in_place", "replace"])
@pytest.mark.parametrize(("room", "function"), [(apply, "_swap"), (apply, "_compare")])
def test_interrupted_restore_can_be_resumed_or_undone_wherever_it_was(place, monkeypatch, strategy, room, function):
    for way, rows in (("resume", 200), ("undo", 300)):
        place.kill_in(monkeypatch, room, function, strategy=strategy)
        result = place.restore(**{way: True}, force=False)
        assert (result["changed"], place.rows(), journal.pending(place.path)) == (True, rows, None)
        place.restore(backup=place.made["path"])
        place.write("INSERT INTO t (word) SELECT word FROM t LIMIT 100")


def test_interrupted_undo_of_a_raw_copy_can_be_resumed(place, monkeypatch):
    damaged = place.damage_header()
    kept = place.restore()["pre_restore_backup"]
    place.kill_in(monkeypatch, swap, "replace", undo=True, backup=kept)
    assert place.restore(resume=True, force=False)["changed"] and files.sha256(place.path) == damaged


def test_undo_of_an_interrupted_replace_without_pre_backup_brings_the_old_file_back(place, monkeypatch):
    inode = os.stat(place.path).st_ino
    place.kill_in(monkeypatch, swap, "replace", after=True, strategy="replace", pre_backup=False)
    assert place.rows() == 200
    place.restore(undo=True, force=False)
    assert (place.rows(), os.stat(place.path).st_ino) == (300, inode)


def test_undo_of_an_interrupted_restore_in_place_without_pre_backup_says_that_nothing_was_kept(place, monkeypatch):
    place.restore()  # Keeps 300 rows, which are not those that the next one replaces.
    place.write("DELETE FROM t WHERE id > 10")
    place.kill_in(monkeypatch, apply, "_compare", strategy="in_place", pre_backup=False)
    with pytest.raises(errors.BackupNotFound, match="no restore has kept"):
        place.restore(undo=True, force=False)
    assert place.rows() == 200


def test_restore_of_a_backup_that_is_not_there_still_settles_what_was_interrupted(place, monkeypatch):
    place.kill_in(monkeypatch, apply, "_swap")
    with pytest.raises(errors.BackupNotFound):
        place.restore(backup="app_20200101_000000.db")
    assert journal.pending(place.path) is None and place.rows() == 300


@pytest.mark.parametrize("way", ["resume", "undo"])
def test_restore_that_was_rolling_back_goes_on_rolling_back(place, monkeypatch, way):
    real = journal.Journal.note

    def note(self, phase, **facts):
        real(self, phase, **facts)
        if phase == journal.ROLLING_BACK:
            raise _Killed

    sql = f"SELECT count(*) FROM pragma_database_list WHERE file LIKE '%{os.sep}app.db'"
    only_elsewhere = [{"sql": sql, "expect": "0"}]
    with monkeypatch.context() as patched, pytest.raises(_Killed):
        patched.setattr(journal.Journal, "note", note)
        place.restore(assertions=only_elsewhere)
    result = place.restore(**{way: True}, force=False)
    assert result["recovered"]["outcome"] == "undone" and place.rows() == 300


def test_resume_where_nothing_was_interrupted_does_nothing(place):
    result = place.restore(resume=True)
    assert (result["changed"], result["recovered"], result["backup"], place.rows()) == (False, None, None, 300)


def test_check_mode_of_resume_tells_what_is_pending_and_leaves_it(place, monkeypatch):
    place.kill_in(monkeypatch, apply, "_swap")
    result = place.restore(resume=True, check=True)
    assert result["changed"] and "was interrupted" in result["steps"][0]["detail"]
    assert journal.pending(place.path) is not None and place.rows() == 300


@pytest.mark.parametrize("ways", [("resume", "undo"), ("resume", "test"), ("undo", "test")])
def test_only_one_way_can_be_asked_for(place, ways):
    with pytest.raises(errors.UsageError):
        place.restore(**dict.fromkeys(ways, True))


def test_whoever_looks_is_told_of_an_interrupted_restore(place, monkeypatch):
    place.kill_in(monkeypatch, apply, "_swap")
    looks = {
        "info": lambda: operations.info(backup_dir=place.backups, name="app"),
        "validate": lambda: place.call(_without_database(operations.validate)),
        "retention": lambda: place.call(_without_database(operations.retention)),
        "test": lambda: place.restore(test=True),
        "check": lambda: place.restore(check=True),
        "backup": lambda: place.call(operations.backup, check=True),
        "health": lambda: place.call(operations.health),
    }
    for name, look in looks.items():
        told = " ".join(look()["warnings"])
        assert "restore --resume or restore --undo" in told, name
        assert "restore --resume or restore --undo" not in told.replace("restore --resume or restore --undo", "", 1)
    assert journal.pending(place.path) is not None


def _without_database(operation):
    def call(database, backup_dir):
        return operation(backup_dir=backup_dir, name="app", config_path=None)

    return call
