# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every check in each of its states, with facts handed in."""

from __future__ import annotations

import datetime
import json
import os

import pytest
from engine import audit, catalog, clock, errors, files, health, lock, operations, space
from engine.restore import journal

NOW = clock.parse("2026-11-22T12:00:00Z")
NAMES = [
    "newest_backup",
    "newest_verified",
    "restore_tested",
    "count",
    "catalog",
    "shrunk",
    "database",
    "disk",
    "schedule",
    "lock",
    "audit",
    "interrupted",
    "quarantine",
]


@pytest.fixture(autouse=True)
def _utc(monkeypatch):
    import time

    monkeypatch.setenv("TZ", "UTC")
    if hasattr(time, "tzset"):  # Windows has one zone for all processes.
        time.tzset()
    yield
    monkeypatch.undo()
    if hasattr(time, "tzset"):  # Windows has one zone for all processes.
        time.tzset()


def _entry(hours=1.0, status="verified", kind="regular", **document):
    when = None if hours is None else NOW - datetime.timedelta(hours=hours)
    file = f"app_{hours}.db"
    known = None if document.pop("foreign", False) else {"source": {}, "size_bytes": 1000, **document}
    problems = () if status == "verified" else (f"it is {status}",)
    return catalog.Entry(file, "/b/" + file, "app", kind, when, status, 100, known, problems)


@pytest.fixture
def judge(make_target):
    """judge(entries, **settings) -> {name of the check: row}."""

    def run(*entries, target=None, findings=None, **settings):
        facts = health.Facts(list(entries), target or make_target(**settings), NOW, findings)
        return {row["name"]: row for row in health.judge(facts)}

    return run


def _healthy(rows):
    return [name for name, row in rows.items() if row["status"] != "ok"]


def test_all_is_well_when_all_is_well(judge, database, make_target):
    rows = judge(_entry(1), _entry(25), target=make_target(database, schedule="0 2 * * *", disk_limit_percent=100))
    assert list(rows) == NAMES
    assert _healthy(rows) == []
    for row in rows.values():
        assert set(row) == {"name", "status", "message", "value", "limit"} and row["message"]
    json.dumps(list(rows.values()))


@pytest.mark.parametrize(
    "statuses, whole",
    [
        (["ok", "ok"], "healthy"),
        (["ok", "degraded"], "degraded"),
        (["unhealthy", "degraded"], "unhealthy"),
    ],
)
def test_whole_is_as_bad_as_its_worst_check(statuses, whole):
    assert health.status_of([{"status": status} for status in statuses]) == whole


# --- ages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hours, status", [(0, "ok"), (26, "ok"), (26.01, "unhealthy"), (-1, "degraded")])
@pytest.mark.parametrize("check, limit", [("newest_backup", "max_age"), ("newest_verified", "max_verified_age")])
def test_age_of_the_newest_against_its_limit(judge, check, limit, hours, status):
    row = judge(_entry(hours), **{f"health__{limit}": 26 * 3600})[check]
    assert (row["status"], row["limit"]) == (status, 26 * 3600)
    assert row["value"] == pytest.approx(hours * 3600)


def test_age_without_a_limit_is_never_late(judge):
    rows = judge(_entry(10_000), health__max_age=0, health__max_verified_age=0, health__max_restore_test_age=0)
    assert [rows[name]["status"] for name in NAMES[:3]] == ["ok", "ok", "ok"]


def test_no_backup_at_all_is_unhealthy(judge):
    rows = judge()
    assert [rows[name]["status"] for name in ("newest_backup", "newest_verified", "count")] == ["unhealthy"] * 3
    assert rows["restore_tested"]["status"] == "ok"


@pytest.mark.parametrize(
    "entry", [_entry(1, kind="pre_restore"), _entry(1, "missing"), _entry(None, "unverified", foreign=True)]
)
def test_what_is_no_regular_dated_backup_is_not_the_newest(judge, entry):
    assert judge(entry)["newest_backup"]["status"] == "unhealthy"
    assert judge(entry, _entry(2))["newest_backup"]["value"] == 7200


def test_newest_backup_may_be_unverified_and_the_newest_verified_is_older(judge):
    rows = judge(_entry(1, "unverified"), _entry(30))
    assert rows["newest_backup"]["status"] == "ok"
    assert (rows["newest_verified"]["status"], rows["newest_verified"]["value"]) == ("unhealthy", 30 * 3600)


@pytest.mark.parametrize(
    "status, expected", [("ok", "ok"), ("corrupt", "unhealthy"), ("unverifiable", "unhealthy"), ("failed", "unhealthy")]
)
def test_verification_made_just_now_counts(judge, status, expected):
    entry = _entry(1)
    findings = {"status": status, "errors": [{"check": "rows", "message": "one is missing"}] if status != "ok" else []}
    row = judge(entry, findings=(entry, findings))["newest_verified"]
    assert row["status"] == expected
    assert status == "ok" or "rows: one is missing" in row["message"]


# --- restore tests ---------------------------------------------------------------------------------------------------


def _tested(days, status="ok"):
    return {"restore_test": {"status": status, "checked_at": clock.iso(NOW - datetime.timedelta(days=days))}}


@pytest.mark.parametrize("days, status", [(1, "ok"), (31, "ok"), (32, "degraded")])
def test_newest_restore_test_against_its_limit(judge, days, status):
    row = judge(_entry(1), _entry(2, **_tested(days)), _entry(3, **_tested(days + 5)))["restore_tested"]
    assert (row["status"], row["value"]) == (status, days * 86400)


def test_restore_test_that_failed_does_not_count(judge):
    row = judge(_entry(1, **_tested(1, "failed")), _entry(2, **_tested(40)))["restore_tested"]
    assert (row["status"], row["value"]) == ("degraded", 40 * 86400)


@pytest.mark.parametrize(
    "test", [5, [], {}, {"status": "ok"}, {"status": "ok", "checked_at": 5}, {"status": "ok", "checked_at": "x"}]
)
def test_restore_test_that_cannot_be_read_does_not_count(judge, test):
    assert judge(_entry(1, restore_test=test))["restore_tested"]["value"] is None


@pytest.mark.parametrize("days, status", [(30, "ok"), (32, "degraded")])
def test_never_tested_is_degraded_once_there_was_time_for_it(judge, days, status):
    assert judge(_entry(1), _entry(days * 24))["restore_tested"]["status"] == status


# --- counts and the catalog ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verified, status", [(0, "unhealthy"), (1, "degraded"), (2, "degraded"), (3, "ok")])
def test_count_is_of_verified_regular_backups(judge, verified, status):
    others = [_entry(9, "unverified"), _entry(8, kind="pre_restore"), _entry(7, "missing")]
    row = judge(*(_entry(number + 1) for number in range(verified)), *others, health__min_backups=3)["count"]
    assert (row["status"], row["value"]) == (status, verified)


@pytest.mark.parametrize("status", ["invalid", "missing"])
def test_bad_backup_is_degraded_and_named(judge, status):
    row = judge(_entry(1), _entry(2, status))["catalog"]
    assert (row["status"], row["value"]) == ("degraded", 1) and "app_2.db" in row["message"]


def test_many_bad_backups_are_counted_and_three_are_named(judge):
    row = judge(_entry(0.5), *(_entry(number, "invalid") for number in range(1, 8)))["catalog"]
    assert (
        row["value"] == 7
        and "4 more" in row["message"]
        and "app_3.db" in row["message"]
        and "app_4.db" not in row["message"]
    )


@pytest.mark.parametrize("status", ["unverified", "unverifiable"])
def test_backup_that_was_not_judged_is_no_problem_of_the_catalog(judge, status):
    assert judge(_entry(1), _entry(2, status))["catalog"]["status"] == "ok"


# --- shrunk or emptied -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "now, before, status", [(1000, 1000, "ok"), (500, 1000, "ok"), (490, 1000, "degraded"), (5000, 1000, "ok")]
)
def test_backup_that_suddenly_shrank(judge, now, before, status):
    assert judge(_entry(1, size_bytes=now), _entry(2, size_bytes=before))["shrunk"]["status"] == status


def test_shrinking_may_be_switched_off(judge):
    entries = _entry(1, size_bytes=1), _entry(2, size_bytes=1000)
    assert judge(*entries, health__max_shrink_percent=0)["shrunk"]["status"] == "ok"


@pytest.mark.parametrize(
    "now, status", [({"a": 5, "b": 1}, "ok"), ({"a": 0, "b": 1}, "degraded"), ({"b": 1}, "degraded"), (None, "ok")]
)
def test_table_that_was_emptied(judge, now, status):
    row = judge(_entry(1, source={"tables": now}), _entry(2, source={"tables": {"a": 5, "b": 1, "c": 0}}))["shrunk"]
    assert row["status"] == status
    assert status == "ok" or "a" in row["message"].split(": ")[1]


def test_two_backups_are_needed_to_tell(judge):
    assert judge(_entry(1, size_bytes=1))["shrunk"]["status"] == "ok"
    assert (
        judge(_entry(1, size_bytes=1), _entry(2, kind="pre_restore"), _entry(3, "unverified", foreign=True))["shrunk"][
            "status"
        ]
        == "ok"
    )


# --- the live database -----------------------------------------------------------------------------------------------


def test_sound_database_is_ok(judge, make_target, database):
    row = judge(_entry(1), target=make_target(database))["database"]
    assert row["status"] == "ok" and str(os.path.getsize(database)) in row["message"]


def test_name_without_a_database_is_ok(judge):
    assert judge(_entry(1))["database"]["status"] == "ok"


@pytest.mark.parametrize(
    "content", [None, b"", b"garbage" * 1000, os.urandom(8192)], ids=["missing", "empty", "garbage", "random"]
)
def test_database_that_is_none_is_unhealthy_and_nothing_is_created(judge, make_target, database, content):
    os.unlink(database)
    if content is not None:
        with open(database, "wb") as file:
            file.write(content)
    row = judge(_entry(1), target=make_target(database))["database"]
    assert row["status"] == "unhealthy" and database in row["message"]
    assert os.path.exists(database) == (content is not None)


@pytest.mark.parametrize("factor, status", [(1, "ok"), (1.9, "ok"), (2.5, "degraded")])
def test_database_much_smaller_than_its_newest_backup_is_degraded(judge, make_target, database, factor, status):
    entry = _entry(1, size_bytes=int(os.path.getsize(database) * factor))
    assert judge(entry, target=make_target(database))["database"]["status"] == status


def test_database_whose_content_is_in_the_log_is_not_called_shrunk(judge, make_target, tmp_path, make_db, holding):
    path = make_db(tmp_path / "app.db", "wal", rows=1)
    many = "INSERT INTO t (word) SELECT hex(randomblob(2000)) FROM (VALUES (1), (2), (3), (4), (5), (6), (7), (8))"
    with holding(path, "PRAGMA wal_autocheckpoint=0", many):
        entry = _entry(1, size_bytes=os.path.getsize(path) + 32_000)
        assert judge(entry, target=make_target(path))["database"]["status"] == "ok"


# --- the disk --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("used, status", [(79, "ok"), (80, "ok"), (81, "degraded")])
def test_disk_use_against_its_limit(judge, monkeypatch, used, status):
    monkeypatch.setattr(space, "disk_use", lambda _path: (used, 100))
    row = judge(_entry(1))["disk"]
    assert (row["status"], row["value"], row["limit"]) == (status, used, 80)


def test_missing_backup_directory_is_unhealthy(judge, make_target, backup_dir):
    os.rmdir(backup_dir)
    assert judge(target=make_target())["disk"]["status"] == "unhealthy"
    assert not backup_dir.exists()


# --- the schedule ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "schedule, hours, status",
    [
        (None, 1000, "ok"),
        ("0 2 * * *", 9, "ok"),
        ("0 2 * * *", 11, "degraded"),
        ("30 11 * * *", 20, "ok"),  # due half an hour ago: it may still run
        ("0 0 30 2 *", 1, "degraded"),
        ("every night", 1, "degraded"),
    ],
)
def test_schedule_wants_a_backup_since_it_was_last_due(judge, schedule, hours, status):
    assert judge(_entry(hours), schedule=schedule)["schedule"]["status"] == status


@pytest.mark.parametrize("entry", [None, _entry(1, kind="pre_restore"), _entry(1, "missing")])
def test_schedule_is_not_met_by_anything_else(judge, entry):
    assert judge(*([entry] if entry else []), schedule="0 2 * * *")["schedule"]["status"] == "degraded"


# --- lock, audit log, what was interrupted ---------------------------------------------------------------------------


def test_lock_that_nobody_holds_is_ok(judge, make_target):
    target = make_target()
    with lock.held(target.lock_path, "backup", 0):
        pass
    assert judge(target=target)["lock"]["message"] == "no operation is running"


@pytest.mark.parametrize("hours, status", [(1, "ok"), (7, "degraded")])
def test_lock_that_is_held_for_long_is_degraded_and_its_holder_named(judge, make_target, set_clock, hours, status):
    target = make_target()
    set_clock(clock.iso(NOW - datetime.timedelta(hours=hours)))
    with lock.held(target.lock_path, "restore", 0):
        row = judge(target=target)["lock"]
    assert (row["status"], row["value"]) == (status, hours * 3600)
    assert f"restore by pid {os.getpid()}" in row["message"]


def test_note_of_a_killed_holder_is_no_lock(judge, make_target):
    target = make_target()
    files.make_directory(target.state_dir)
    with open(target.lock_path, "w", encoding="ascii") as file:
        json.dump({"pid": 1, "operation": "backup", "since": "2020-01-01T00:00:00Z"}, file)
    assert judge(target=target)["lock"]["status"] == "ok"


def test_audit_chain_is_followed(judge, make_target):
    target = make_target()
    assert judge(target=target)["audit"]["status"] == "ok"
    for number in range(3):
        audit.append(target.audit_log, {"number": number})
    assert (judge(target=target)["audit"]["status"], judge(target=target)["audit"]["value"]) == ("ok", 3)
    with open(target.audit_log, "r+b") as file:
        content = file.read().replace(b'"number": 1', b'"number": 7')
        file.seek(0)
        file.write(content)
    row = judge(target=target)["audit"]
    assert (row["status"], row["value"]) == ("degraded", 3) and "line 3" in row["message"]


def test_audit_log_that_cannot_be_read_is_degraded(judge, make_target):
    target = make_target()
    os.makedirs(target.audit_log)
    row = judge(target=target)["audit"]
    assert row["status"] == "degraded" and "cannot be read" in row["message"]
    whole = operations.health(backup_dir=target.backup_dir, name="app")
    assert whole["statistics"]["runs"] == 0 and any("audit log" in text for text in whole["warnings"])


def test_interrupted_restore_is_unhealthy(judge, make_target, database):
    target = make_target(database)
    assert judge(_entry(1), target=target)["interrupted"]["status"] == "ok"
    with open(journal.path_for(database), "w", encoding="ascii") as file:
        json.dump(
            {
                "phase": journal.BEGUN,
                "strategy": "in_place",
                "backup": "app_20261122_020000.db",
                "started_at": "2026-11-22T03:00:00Z",
            },
            file,
        )
        file.write("\n")
    row = judge(_entry(1), target=target)["interrupted"]
    assert row["status"] == "unhealthy" and "app_20261122_020000.db" in row["message"]


def test_leftover_of_a_killed_run_is_degraded_unless_it_runs(judge, make_target, backup_dir):
    (backup_dir / ".app_20261122_020000.db.partial").write_bytes(b"")
    target = make_target()
    row = judge(target=target)["interrupted"]
    assert (row["status"], row["value"]) == ("degraded", 1)
    with lock.held(target.lock_path, "backup", 0):
        assert judge(target=target)["interrupted"]["status"] == "ok"


def test_backup_that_is_finished_while_it_is_looked_for_is_no_leftover(judge, make_target, backup_dir, monkeypatch):
    """Its manifest comes first: it is seen beside the partial file, and then the lock is free."""
    partial = backup_dir / ".app_20261122_020000.db.partial"
    partial.write_bytes(b"")
    (backup_dir / "app_20261122_020000.db.json").write_bytes(b"{}")

    def finished(_path):
        partial.rename(backup_dir / "app_20261122_020000.db")
        return False

    monkeypatch.setattr(health.lock, "is_held", finished)
    row = judge(target=make_target())["interrupted"]
    assert row["status"] == "ok", row


def test_failed_copies_are_degraded_until_somebody_looked_at_them(judge, backup_dir):
    for stamp in ("20261121_020000", "20261122_020000"):
        (backup_dir / f"app_{stamp}.db.quarantined").write_bytes(b"")
    row = judge()["quarantine"]
    assert (row["status"], row["value"]) == ("degraded", 2) and "app_20261122_020000.db.quarantined" in row["message"]


def test_looking_changes_nothing(judge, make_target, database, backup_dir):
    before = os.listdir(os.path.dirname(database))
    judge(_entry(1), target=make_target(database, schedule="0 2 * * *"))
    assert os.listdir(os.path.dirname(database)) == before and os.listdir(backup_dir) == []


# --- statistics ------------------------------------------------------------------------------------------------------


def test_statistics_of_nothing():
    found = health.statistics([], [], "app")
    assert (found["total_backups"], found["success_percent"], found["newest"], found["by_day"]) == (0, None, None, [])
    assert found["duration_seconds"] == {"min": None, "median": None, "max": None}


def test_statistics_count_by_status_and_day():
    entries = [
        _entry(1),
        _entry(2, "invalid"),
        _entry(13, **_tested(3)),
        _entry(14, kind="pre_restore"),
        _entry(15, "missing"),
        _entry(None, "unverified", foreign=True),
    ]
    found = health.statistics(entries, [], "app")
    assert found["by_status"] == {"verified": 3, "invalid": 1, "missing": 1, "unverified": 1}
    assert (found["total_backups"], found["verified_backups"], found["pre_restore_backups"]) == (4, 2, 1)
    assert found["stored_bytes"] == 600
    assert (found["newest"], found["oldest"]) == ("2026-11-22T11:00:00.000Z", "2026-11-21T23:00:00.000Z")
    assert found["newest_verified"] == "2026-11-22T11:00:00.000Z"
    assert found["newest_restore_test"] == "2026-11-19T12:00:00.000Z"
    assert found["by_day"] == [
        {"date": "2026-11-22", "count": 2, "stored_bytes": 200},
        {"date": "2026-11-21", "count": 1, "stored_bytes": 100},
    ]


def test_statistics_of_runs_are_those_of_the_name_and_the_operation():
    def run(outcome, seconds, name="app", operation="backup"):
        return {"operation": operation, "name": name, "outcome": outcome, "seconds": seconds}

    records = [
        run("ok", 3.0),
        run("ok", 1.0),
        run("ok", 2.0),
        run("no_space", 50.0),
        run("ok", 99.0, name="other"),
        run("ok", 99.0, operation="restore"),
        {"operation": "backup", "name": "app", "outcome": "ok", "seconds": "odd"},
        {},
    ]
    found = health.statistics([], records, "app")
    assert (found["runs"], found["success_percent"]) == (5, 80.0)
    assert found["duration_seconds"] == {"min": 1.0, "median": 2.0, "max": 3.0}


def test_checks_read_only_errors_of_the_engine(judge, make_target, tmp_path):
    """A database path that cannot even be looked at is a finding, not a failure of the check."""
    (tmp_path / "file").write_bytes(b"x")
    row = judge(_entry(1), target=make_target(str(tmp_path / "file" / "app.db")))["database"]
    assert row["status"] == "unhealthy"
    assert errors.DatabaseNotFound.hint in row["message"]


def test_restore_test_whose_backup_has_expired_still_counts(judge, tmp_path):
    """Its manifest is gone with the backup; the audit log has kept it."""
    hours = 3600
    records = [
        {"operation": "backup", "outcome": "ok", "time": clock.iso(clock.after(NOW, -60 * 24 * hours))},
        {
            "operation": "restore_test",
            "outcome": "ok",
            "time": clock.iso(clock.after(NOW, -20 * 24 * hours)),
            "file": "a",
        },
        {
            "operation": "restore_test",
            "outcome": "failed",
            "time": clock.iso(clock.after(NOW, -1 * hours)),
            "file": "b",
        },
    ]
    entries = [_entry(1)]
    tested = health.restore_tested(entries, health.history(records))
    assert (tested.file, clock.seconds_between(tested.at, NOW)) == ("a", 20 * 24 * hours)
    assert health.restore_tested([_entry(1, **_tested(1))], health.history(records)).file != "a"


def test_name_that_was_backed_up_for_long_and_never_tested_degrades_though_its_backups_expire(make_target):
    records = [{"operation": "backup", "outcome": "ok", "time": clock.iso(clock.after(NOW, -40 * 86400))}]
    facts = health.Facts([_entry(1)], make_target(), NOW, None, health.history(records))
    row = next(check for check in health.judge(facts) if check["name"] == "restore_tested")
    assert row["status"] == "degraded"
