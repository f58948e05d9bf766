# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is asked before a restore: which backup, whose, what it would change, and whether that was confirmed."""

from __future__ import annotations

import contextlib
import os
import sqlite3

import pytest
from engine import clock, errors, files, operations, restoring, space
from engine.restore import apply, preview


@pytest.fixture
def call(tmp_path, database):
    """call(operation, **options) on a database of 200 rows with one backup of them."""

    def run(operation, **options):
        return operation(**{"database": database, "backup_dir": str(tmp_path / "backups"), **options})

    run.path = database
    run(operations.backup)
    return run


def _write(path, *statements):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def _count(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT count(*) FROM t").fetchone()[0]


def _plan(call, **options):
    return call(operations.restore, check=True, force=True, **options)["plan"]


# --- the plan --------------------------------------------------------------------------------------------------------


def test_plan_tells_the_rows_of_every_table_now_and_then(call):
    _write(call.path, "DELETE FROM t WHERE id <= 50", "CREATE TABLE later (x)", "INSERT INTO later VALUES (1)")
    assert _plan(call)["rows"] == [
        {"table": "later", "now": 1, "then": None},
        {"table": "t", "now": 150, "then": 200},
    ]


def test_plan_of_a_damaged_database_tells_what_can_still_be_read(call):
    _write(call.path, "CREATE TABLE other AS SELECT * FROM t")
    with open(call.path, "r+b") as file:
        file.truncate(files.size(call.path) - 4096)
    rows = {row["table"]: (row["now"], row["then"]) for row in _plan(call)["rows"]}
    assert rows == {"t": (200, 200), "other": (None, None)}


@pytest.mark.parametrize("damage", [b"", bytes(100)], ids=["gone", "header"])
def test_plan_of_a_database_that_is_gone_or_unreadable_still_tells_what_comes_back(call, damage):
    os.unlink(call.path)
    if damage:
        with open(call.path, "wb") as file:
            file.write(damage)
    assert _plan(call)["rows"] == [{"table": "t", "now": None, "then": 200}]


def test_plan_is_made_without_room_for_a_copy_of_the_live_database(call, monkeypatch):
    real = space.require_space

    def no_room(directory, needed, what):
        if "comparison" in what:
            raise errors.NoSpace("full", path=directory)
        return real(directory, needed, what)

    monkeypatch.setattr(space, "require_space", no_room)
    _write(call.path, "DELETE FROM t WHERE id <= 50")
    assert _plan(call)["rows"] == [{"table": "t", "now": 150, "then": 200}]


def test_plan_names_who_uses_the_database_and_warns_where_they_must_be_stopped(call, holding):
    with holding(call.path, "SELECT count(*) FROM t") as process:
        result = call(operations.restore, check=True, force=True)
        assert [row["pid"] for row in result["plan"]["in_use_by"]] == [process.pid]
        assert not any("must be stopped" in text for text in result["warnings"])
        result = call(operations.restore, check=True, force=True, strategy="replace")
        assert any(f"pid {process.pid}" in text and "must be stopped" in text for text in result["warnings"])
        with pytest.raises(errors.InUse):
            call(operations.restore, force=True, strategy="replace")


@pytest.mark.parametrize(("held", "linked"), [(False, False), (True, False), (False, True)])
def test_file_is_replaced_if_it_is_free(call, holding, tmp_path, held, linked):
    _write(call.path, "DELETE FROM t")
    if linked:
        os.link(call.path, tmp_path / "second name")
    with holding(call.path, "SELECT count(*) FROM t") if held else contextlib.nullcontext():
        plan = call(operations.restore, force=True, strategy="replace_if_free")["plan"]
    assert plan["strategy"] == ("in_place" if held or linked else "replace") and _count(call.path) == 200


def test_seconds_expected_are_those_of_the_copies_and_checks_that_a_restore_makes():
    took = {"stage": 1.0, "verify": 2.0, "compare_live": 0.5, "compare": 0.25, "other": 100.0}
    rows = [{"name": name, "status": "ok", "seconds": seconds} for name, seconds in took.items()]
    assert preview.seconds_expected(rows) == 6.8
    assert preview.seconds_expected([{**row, "status": "failed"} for row in rows]) == 0.0


# --- its confirmation ------------------------------------------------------------------------------------------------


def test_confirmed_plan_is_carried_out_once(call):
    _write(call.path, "DELETE FROM t")
    plan = _plan(call)
    _write(call.path, "INSERT INTO t (word) VALUES ('written since')")
    assert call(operations.restore, confirm=plan["id"])["plan"]["id"] == plan["id"]
    assert _count(call.path) == 200
    _write(call.path, "DELETE FROM t")
    with pytest.raises(errors.NotConfirmed, match="another plan"):
        call(operations.restore, confirm=plan["id"])
    assert _count(call.path) == 0


@pytest.mark.parametrize(
    "change", ["newer backup", "other backup", "database gone", "gone and nothing kept", "no pre-backup", "made up"]
)
def test_confirmation_of_another_plan_is_refused_and_shows_the_plan_of_now(call, change):
    options = {"pre_backup": False} if change == "gone and nothing kept" else {}
    plan = _plan(call, **options)
    if change in ("newer backup", "other backup"):
        made = call(operations.backup)["backup"]
        options = {"backup": made["path"]} if change == "other backup" else {}
    elif "gone" in change:
        os.unlink(call.path)
    elif change == "no pre-backup":
        options = {"pre_backup": False}
    given = "0123456789abcdef" if change == "made up" else plan["id"]
    with pytest.raises(errors.NotConfirmed, match="another plan") as caught:
        call(operations.restore, confirm=given, force=True, **options)
    assert caught.value.details["plan"]["id"] not in (given, None)
    assert os.path.exists(call.path) == ("gone" not in change)


# --- which backup, and whose -----------------------------------------------------------------------------------------


def _damage(path):
    with open(path, "r+b") as file:
        file.seek(files.size(path) // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))


@pytest.mark.parametrize("how", ["restore", "check", "test"])
def test_damaged_backup_falls_back_to_the_one_before_only_when_asked(call, how):
    good = operations.info(backup_dir=os.path.dirname(_plan(call)["backup"]), name="app")["backups"][0]["file"]
    _write(call.path, "DELETE FROM t WHERE id <= 50")
    for _n in range(2):
        _damage(call(operations.backup)["backup"]["path"])
    options = {"force": how != "test", **({how: True} if how != "restore" else {})}
    with pytest.raises(errors.BackupInvalid):
        call(operations.restore, **options)
    assert _count(call.path) == 150
    result = call(operations.restore, fall_back=True, **options)
    assert result["backup"]["file"] == good
    assert sum("is damaged" in text for text in result["warnings"]) == 2
    assert _count(call.path) == (200 if how == "restore" else 150)


def test_fall_back_never_goes_to_a_newer_backup_and_ends(call):
    old = operations.info(backup_dir=os.path.dirname(_plan(call)["backup"]), name="app")["backups"][0]["path"]
    call(operations.backup)
    _damage(old)
    with pytest.raises(errors.BackupInvalid) as caught:
        call(operations.restore, backup=old, fall_back=True, force=True)
    assert caught.value.path == old


@pytest.mark.parametrize("reference", ["latest", "2100-01-01"])
def test_newer_backup_that_is_passed_over_is_told(call, monkeypatch, reference):
    """Its manifest cannot be read at this moment: to go back to the one before must not look like the newest."""
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: clock.after(now, 3600))
    newer = call(operations.backup)["backup"]["path"]
    real = files.open_regular

    def failing(path, follow=False):
        if path == newer + ".json":
            raise OSError(5, "Input/output error", path)
        return real(path, follow)

    assert not any("passed over" in text for text in call(operations.restore, test=True)["warnings"])
    monkeypatch.setattr(files, "open_regular", failing)
    told = [text for text in call(operations.restore, test=True, backup=reference)["warnings"] if "passed over" in text]
    assert len(told) == 1 and os.path.basename(newer) in told[0] and "Input/output error" in told[0]
    older = min(name for name in os.listdir(os.path.dirname(newer)) if name.endswith(".db"))
    assert not any("passed over" in x for x in call(operations.restore, test=True, backup=older)["warnings"])


@pytest.mark.parametrize(
    ("sql", "cause"), [("CREATE TABLE theirs (x)", "schema"), ("PRAGMA application_id=7", "application_id is 7")]
)
def test_backup_of_another_database_is_refused_unless_it_is_meant(call, tmp_path, make_db, sql, cause):
    theirs = make_db(tmp_path / "theirs.db", sql=sql)
    made = operations.backup(database=theirs, backup_dir=str(tmp_path / "their backups"))["backup"]
    with pytest.raises(errors.OtherDatabase, match=cause) as caught:
        call(operations.restore, backup=made["path"], force=True)
    assert theirs in caught.value.cause
    with pytest.raises(errors.OtherDatabase):
        call(operations.restore, backup=made["path"], force=True, check=True)
    assert call(operations.restore, backup=made["path"], force=True, other_database=True)["changed"]


def test_backup_of_a_twin_and_one_of_this_path_before_a_migration_are_accepted(call, tmp_path, make_db):
    twin = make_db(tmp_path / "twin.db", rows=7)
    made = operations.backup(database=twin, backup_dir=str(tmp_path / "twins"))["backup"]
    assert call(operations.restore, backup=made["path"], force=True)["changed"] and _count(call.path) == 7
    _write(call.path, "ALTER TABLE t ADD COLUMN colour TEXT")
    assert call(operations.restore, force=True)["changed"] and _count(call.path) == 200


def test_backup_of_another_host_is_not_taken_for_one_of_this_database(call, monkeypatch):
    monkeypatch.setattr("engine.manifest.host", lambda: "shop-16")
    _write(call.path, "ALTER TABLE t ADD COLUMN colour TEXT")
    with pytest.raises(errors.OtherDatabase, match="schema"):
        call(operations.restore, force=True)


def test_numbers_of_users_are_taken_from_a_backup_of_this_host_only(call, monkeypatch):
    given = []
    real = apply.swap.dress
    monkeypatch.setattr(
        apply.swap, "dress", lambda staged, path, source: (given.append(source), real(staged, path, source))
    )
    for host, known in ((None, True), ("shop-16", False)):
        os.unlink(call.path)
        if host:
            monkeypatch.setattr("engine.manifest.host", lambda: "shop-16")
        call(operations.restore)
        assert ("uid" in given[-1], "gid" in given[-1], "mode" in given[-1]) == (known, known, True)


def test_wrong_clock_is_told(call, monkeypatch):
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: clock.after(real(), -86400))
    result = call(operations.restore, test=True)
    assert any("clocks is wrong" in text for text in result["warnings"]) and result["rpo_seconds"] < 0


def test_wish_asks_for_nothing_dangerous_by_itself():
    wish = restoring.Wish("latest")
    assert (wish.force, wish.pre_backup, wish.rollback, wish.other_database, wish.fall_back) == (
        False,
        True,
        True,
        False,
        False,
    )
