# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The review of a host: what is found, how bad it is, and that looking changes nothing."""

from __future__ import annotations

import hashlib
import json
import os

import pytest
from engine import clock, errors, operations, settings
from engine.review import access, advice, finding, growth, keeping, log

NOW = clock.parse("2026-11-23T12:00:00Z")


@pytest.fixture
def host(tmp_path, database, backup_dir):
    """A host whose one database is backed up, with settings that nothing is wrong with; host(**changes)."""

    class Host:
        path = database
        place = str(backup_dir)
        configuration = str(tmp_path / "config.json")
        log = str(tmp_path / "audit.jsonl")

        def configure(self, **changes):
            entry = {
                "name": "app",
                "path": database,
                "backup_dir": self.place,
                "schedule": "0 2 * * *",
                "rpo_objective": 100000,
                "rto_objective": 600,
                "assertions": [{"sql": "SELECT 1", "expect": 1}],
                **changes,
            }
            with open(self.configuration, "w", encoding="ascii") as target:
                json.dump({"databases": [entry], "audit_log": self.log}, target)

        def review(self, **options):
            return operations.review(config_path=self.configuration, **options)

        def ids(self, **options):
            (row,) = self.review(**options)["databases"]
            return [each["id"] for each in row["findings"]]

    made = Host()
    made.configure()
    operations.backup(name="app", config_path=made.configuration)
    operations.restore(name="app", config_path=made.configuration, test=True)
    return made


def _tree(*places):
    found = {}
    for place in places:
        for directory, _names, files in os.walk(place):
            for name in files:
                with open(os.path.join(directory, name), "rb") as source:
                    found[os.path.join(directory, name)] = hashlib.sha256(source.read()).hexdigest()
    return found


# --- the host --------------------------------------------------------------------------------------------------------


def test_host_in_order_has_one_finding_and_nothing_is_changed(host):
    before = _tree(host.place, os.path.dirname(host.path))
    result = host.review()
    (row,) = result["databases"]
    # In a test's directory both lie on one disk.
    assert [each["id"] for each in row["findings"]] == ["same_filesystem"]
    assert (result["status"], row["status"], result["findings"]) == ("attention", "attention", [])
    assert result["audit"] == {"path": host.log, "lines": 2, "intact": True, "torn": 0}
    rate = row["log"]["rates"]["backup"]
    assert rate == {"runs": 1, "ok": 1, "percent": 100.0, "runs_before": 0, "ok_before": 0, "percent_before": None}
    assert row["log"]["rates"]["restore_test"]["runs"] == 1
    assert row["disk"]["points"] == 1 and row["disk"]["database_bytes_per_day"] is None
    assert row["retention"]["kept"] == 1 and row["retention"]["would_remove"] == []
    assert sorted(row["performance"]) == ["backup", "restore_test", "verification"]
    assert _tree(host.place, os.path.dirname(host.path)) == before
    with open(host.log, encoding="ascii") as source:
        line = json.loads(source.readlines()[-1])
    assert (line["operation"], line["name"], line["status"]) == ("review", "all", "attention")


def test_check_mode_leaves_no_line_in_the_audit_log(host):
    with open(host.log, "rb") as source:
        before = source.read()
    assert host.review(check=True)["status"] == "attention"
    with open(host.log, "rb") as source:
        assert source.read() == before


def test_only_what_is_asked_for_is_looked_at(host):
    (row,) = host.review(look_at=["retention"])["databases"]
    assert "retention" in row and not {"log", "disk", "performance"} & set(row)
    assert (row["findings"], row["status"]) == ([], "ok")
    with pytest.raises(errors.UsageError, match="no part weather"):
        host.review(look_at=["weather"])
    with pytest.raises(errors.UsageError, match="1 to 3660 days"):
        host.review(since_days=0)


def test_changed_past_is_a_finding_of_the_host(host):
    with open(host.log, "r+b") as file:
        line = file.readline()
        file.seek(0)
        file.write(line.replace(b'"ok"', b'"no"'))
    result = host.review(look_at=["log"])
    assert [row["id"] for row in result["findings"]] == ["audit_broken"]
    assert (result["status"], result["audit"]["intact"]) == ("action", False)
    with pytest.raises(errors.ReviewFailed, match="chain"):
        host.review(look_at=["log"], fail_on="action")


def test_audit_log_that_cannot_be_read_is_a_finding(host):
    os.unlink(host.log)
    os.mkdir(host.log)
    result = host.review(look_at=["log"])
    assert [row["id"] for row in result["findings"]] == ["audit_unreadable"]
    assert any("past is not known" in text for text in result["databases"][0]["warnings"])


def test_host_without_databases_is_refused(host):
    with open(host.configuration, "w", encoding="ascii") as target:
        target.write("{}")
    with pytest.raises(errors.ConfigError, match="nothing to review"):
        host.review()


def test_database_that_cannot_be_looked_at_keeps_no_other_from_its_turn(host):
    with open(host.configuration, encoding="ascii") as source:
        document = json.load(source)
    bad = {"name": "bad", "path": "/nowhere/bad.db", "backup_dir": host.place, "schedule": "every day"}
    document["databases"].insert(0, bad)
    with open(host.configuration, "w", encoding="ascii") as target:
        json.dump(document, target)
    result = host.review()
    assert [row["status"] for row in result["databases"]] == ["failed", "attention"]
    assert "cron expression" in result["databases"][0]["cause"] and result["status"] == "failed"


def test_unreadable_manifests_are_told(host):
    for name in os.listdir(host.place):
        if name.endswith(".json"):
            with open(os.path.join(host.place, name), "w", encoding="ascii") as target:
                target.write("{")
    assert "backups_not_verified" in host.ids(look_at=["retention"])


# --- the log ---------------------------------------------------------------------------------------------------------


def _record(days_ago, operation="backup", outcome="ok", seconds=1.0, **more):
    time = clock.iso(clock.after(NOW, -days_ago * 86400))
    return {"time": time, "operation": operation, "outcome": outcome, "seconds": seconds, "name": "app", **more}


def _reviewed(*records, days=7, pause=None):
    return log.reviewed(log.dated(records), NOW, days, pause)


def test_success_rate_is_compared_with_the_time_before():
    good = [_record(day + 0.5) for day in range(14)]
    bad = [_record(0.4, outcome="no_space"), _record(8.4, outcome="no_space"), _record(9.4, outcome="no_space")]
    rate = _reviewed(*good, *bad)["rates"]["backup"]
    assert (rate["runs"], rate["ok"], rate["percent"]) == (8, 7, 87.5)
    assert (rate["runs_before"], rate["ok_before"], rate["percent_before"]) == (9, 7, 77.8)


def test_failures_tell_who_and_why_and_are_capped():
    by = {"via": "api", "subject": "shop\nadmin", "user": "root"}
    review = _reviewed(*[_record(0.1, outcome="no_space", error="x" * 500, by=by)] * 30)
    assert len(review["failures"]) == log.TOLD
    told = review["failures"][0]
    assert (told["who"], told["via"], told["outcome"]) == ("shop\\nadmin", "api", "no_space")
    assert len(told["cause"]) < 200


def test_restores_are_listed_also_those_that_were_refused():
    review = _reviewed(_record(1, "restore"), _record(2, "restore", "not_confirmed"), _record(30, "restore"))
    assert [row["outcome"] for row in review["restores"]] == ["not_confirmed", "ok"]


def test_days_without_a_backup_count_from_the_first_one_on():
    review = _reviewed(_record(5.1), _record(4.1), _record(1.1), _record(2.1, outcome="no_space"))
    assert review["days_without_backup"] == ["2026-11-20", "2026-11-21"]
    assert _reviewed()["days_without_backup"] == []
    assert [row["id"] for row in log.findings_of_log(review)] == ["backups_fail", "days_without_backup"]


@pytest.mark.parametrize(
    ("pause", "ages", "missed"),
    [
        (7 * 86400, (9, 2), 0),  # Sundays: no day between them is missed.
        (7 * 86400, (16, 2), 13),
        (7 * 86400, (8.2,), 7),  # Since a Sunday that was left out.
        (86400, (3.507, 2.493, 1.5, 0.5), 0),  # Once after midnight, because it waited for its turn.
        (None, (3.507, 2.493, 1.5, 0.5), 0),
        (3600, (3.507, 2.493, 1.5, 0.5), 1),  # Of every hour of that day none is there.
        (None, (3.5, 0.5), 2),
    ],
)
def test_pause_that_the_schedule_provides_for_is_no_day_without_a_backup(pause, ages, missed):
    review = _reviewed(*(_record(age) for age in ages), days=30, pause=pause)
    assert len(review["days_without_backup"]) == missed


def test_pause_of_the_schedule_is_that_of_the_configuration(host, monkeypatch):
    later = clock.after(clock.now(), 5 * 86400)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert "days_without_backup" in host.ids(look_at=["log"])
    host.configure(schedule="0 2 * * 0")
    assert "days_without_backup" not in host.ids(look_at=["log"])


def test_lines_from_the_future_say_that_the_clock_is_wrong():
    review = _reviewed(_record(1), _record(-0.001), _record(-2))
    assert review["future"] == 1
    assert [(row["id"], row["severity"]) for row in log.findings_of_log(review)] == [("clock_wrong", "high")]
    assert log.findings_of_log(_reviewed(_record(1), _record(0))) == []


def test_failed_restore_tests_are_of_high_severity():
    found = log.findings_of_log(
        _reviewed(_record(1), _record(1, "drill", "backup_invalid"), _record(0.5, "restore_test"))
    )
    assert [(row["id"], row["severity"]) for row in found] == [("restore_tests_fail", "high")]


def test_lines_that_make_no_sense_are_left_out():
    rows = log.dated([{"time": None}, {}, {"time": "yesterday"}, _record(1), {"time": 5}])
    assert len(rows) == 1


def test_performance_by_month_and_what_became_slower():
    old = [_record(40 + number, seconds=2.0) for number in range(5)]
    new = [_record(number, seconds=4.5) for number in range(1, 5)]
    months = log.performance(log.dated([*old, *new, _record(1, outcome="no_space", seconds=900.0)]))
    assert [(row["month"], row["runs"], row["median_seconds"]) for row in months["backup"]] == [
        ("2026-10", 5, 2.0),
        ("2026-11", 4, 4.5),
    ]
    assert [row["id"] for row in log.findings_of_performance(months)] == ["backup_slower"]


def test_verifications_are_measured_by_their_manifests(put_backup, scan):
    for day, status, seconds in ((1, "ok", 2.0), (2, "ok", 3.0), (3, "failed", 900.0), (4, "ok", "long")):
        told = {"status": status, "checked_at": f"2026-11-{day:02d}T02:00:00Z", "duration_seconds": seconds}
        put_backup(f"202611{day:02d}_020000", verification=told)
    months = log.performance([], log.verifications(scan().values()))
    assert months == {"verification": [{"month": "2026-11", "runs": 2, "median_seconds": 2.5, "worst_seconds": 3.0}]}


def test_performance_is_of_a_year():
    months = log.performance(log.dated([_record(31 * number) for number in range(20)]))
    assert len(months["backup"]) == 12 and months["backup"][-1]["month"] == "2026-11"


@pytest.mark.parametrize(("before", "now", "runs"), [(2.0, 2.9, 5), (0.1, 0.9, 5), (2.0, 9.0, 2)])
def test_noise_and_few_runs_are_not_slower(before, now, runs):
    records = [_record(40 + n, seconds=before) for n in range(runs)] + [
        _record(n, seconds=now) for n in range(1, runs + 1)
    ]
    assert log.findings_of_performance(log.performance(log.dated(records))) == []


# --- the disk --------------------------------------------------------------------------------------------------------


def _grown(put_backup, scan, sizes):
    for day, size in enumerate(sizes, 1):
        put_backup(f"202611{day:02d}_020000", content=b"x" * size)
    return list(scan().values())


def test_growth_tells_when_the_disk_is_full(put_backup, scan):
    entries = _grown(put_backup, scan, [1000, 1100, 1200, 1300])
    review = growth.reviewed(entries, (50_000, 100_000), 80, 4)
    assert (review["database_bytes_per_day"], review["backups_bytes_per_day"]) == (100, 400)
    assert (review["days_left"], review["used_percent"]) == (75, 50.0)
    assert [(row["id"], row["severity"]) for row in growth.findings(review)] == [("disk_trend", "medium")]
    near = growth.reviewed(entries, (72_000, 100_000), 80, 4)
    assert [(row["id"], row["severity"]) for row in growth.findings(near)] == [("disk_trend", "high")]


@pytest.mark.parametrize("sizes", [[1000, 2000], [1000, 1000, 1000], [3000, 2000, 1000], []])
def test_no_trend_where_too_little_is_known_or_nothing_grows(put_backup, scan, sizes):
    review = growth.reviewed(_grown(put_backup, scan, sizes), (10, 100), 80, 30)
    assert review["days_left"] is None and growth.findings(review) == []


def test_full_disk_is_told_as_that(put_backup, scan):
    review = growth.reviewed(_grown(put_backup, scan, [10]), (81, 100), 80, 30)
    assert [row["id"] for row in growth.findings(review)] == ["disk_full"]


def test_points_within_two_days_make_no_trend():
    points = [(clock.after(NOW, hour * 3600), hour * 100) for hour in range(40)]
    assert growth.slope(points) is None
    assert growth.slope([(clock.after(NOW, day * 86400), day * 50) for day in range(4)]) == pytest.approx(50)


# --- what is kept ----------------------------------------------------------------------------------------------------


def test_what_lies_aside_and_what_would_go_are_told(host, make_target):
    for stem in ("20260101_020000", "20260102_020000"):
        with open(os.path.join(host.place, f"app_{stem}.db.quarantined"), "wb") as target:
            target.write(b"12345")
    (row,) = host.review(look_at=["retention"])["databases"]
    assert (len(row["retention"]["aside"]), row["retention"]["aside_bytes"]) == (2, 10)
    assert [each["id"] for each in row["findings"]] == ["copies_aside"]
    assert keeping.findings({**row["retention"], "held": "the newest backup is too old", "aside": []})[0]["id"] == (
        "retention_held"
    )


# --- rights ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o666])
def test_backup_that_others_can_reach_is_found(host, mode):
    (file,) = [name for name in os.listdir(host.place) if name.endswith(".db")]
    os.chmod(os.path.join(host.place, file), mode)
    found = host.review(look_at=["access"])["databases"][0]["findings"]
    (row,) = [row for row in found if row["id"] == "backups_open"]
    assert file in row["finding"] and row["severity"] == "high"


def test_link_among_the_backups_is_found(host):
    os.symlink("/etc/passwd", os.path.join(host.place, "app_20200101_020000.db"))
    assert "backups_open" in host.ids(look_at=["access"])


def test_directory_configuration_and_secrets_that_are_open_are_found(host):
    os.chmod(host.place, 0o755)
    os.chmod(host.configuration, 0o666)
    os.chmod(host.log, 0o644)
    secrets = os.path.join(os.path.dirname(host.configuration), "notifications.json")
    with open(secrets, "w", encoding="ascii") as target:
        target.write("[]")
    os.chmod(secrets, 0o644)
    result = host.review(look_at=["access"])
    assert {row["id"] for row in result["findings"]} == {"config_writable", "secrets_open", "audit_log_open"}
    assert "backup_dir_open" in {row["id"] for row in result["databases"][0]["findings"]}
    assert all(row["severity"] == "high" for row in result["findings"])


def test_engine_that_everybody_can_write_is_found(host, tmp_path, monkeypatch):
    home = tmp_path / "engine" / "release"
    home.mkdir(parents=True)
    (home / "engine.py").write_text("")
    (home / "engine.py").chmod(0o666)
    monkeypatch.setattr(access, "_USUAL", (str(tmp_path / "engine"), "/nowhere"))
    (row,) = host.review(look_at=["access"])["findings"]
    assert (row["id"], row["severity"]) == ("engine_writable", "high") and "engine.py" in row["finding"]
    (home / "engine.py").chmod(0o644)
    assert host.review(look_at=["access"])["findings"] == []
    os.chown(home, 4711, -1)
    (row,) = host.review(look_at=["access"])["findings"]
    assert str(home) in row["finding"] and "1 files" in row["finding"]


def test_directory_above_the_backups_that_is_open_is_found(host):
    above = os.path.dirname(host.place)
    os.chmod(above, 0o777)
    (row,) = [row for row in host.review(look_at=["access"])["databases"][0]["findings"] if "place" in row["why"]]
    assert (row["id"], row["severity"]) == ("backup_dir_open", "high") and above in row["finding"]
    os.chmod(above, 0o1777)
    assert "backup_dir_open" not in host.ids(look_at=["access"])


def test_state_that_others_can_reach_is_found(make_target, database):
    target = make_target(database)
    os.mkdir(target.state_dir, 0o700)
    assert "state_dir_open" not in {row["id"] for row in access.of_name(target)}
    os.chmod(target.state_dir, 0o777)
    assert "state_dir_open" in {row["id"] for row in access.of_name(target)}


def test_files_of_strangers_are_found(host):
    file = next(name for name in os.listdir(host.place) if name.endswith(".db"))
    os.chown(os.path.join(host.place, file), 4711, -1)
    (row,) = [
        row for row in host.review(look_at=["access"])["databases"][0]["findings"] if row["id"] == "foreign_owner"
    ]
    assert f"{file} (uid 4711)" in row["finding"] and row["finding"].startswith("1 files")
    os.chown(host.path, 4711, -1)
    assert "foreign_owner" not in host.ids(look_at=["access"])
    os.chown(host.configuration, 4711, -1)
    (row,) = host.review(look_at=["access"])["findings"]
    assert row["id"] == "config_writable" and "the user 4711" in row["finding"]


def test_link_to_the_configuration_is_judged_by_what_it_leads_to(host, tmp_path):
    place = tmp_path / "versioned"
    place.mkdir()
    os.replace(host.configuration, place / "config.json")
    os.symlink(place / "config.json", host.configuration)
    secrets = os.path.join(os.path.dirname(host.configuration), "notifications.json")
    (place / "notifications.json").write_text("[]")
    (place / "notifications.json").chmod(0o600)
    os.symlink(place / "notifications.json", secrets)
    assert host.review(look_at=["access"])["findings"] == []
    place.chmod(0o777)
    (row,) = host.review(look_at=["access"])["findings"]
    assert (row["id"], str(place) in row["finding"]) == ("config_writable", True)


def test_rights_as_the_roles_set_them_are_no_finding(host):
    os.chmod(host.place, 0o700)
    os.chmod(host.configuration, 0o640)
    os.chmod(host.log, 0o660)
    result = host.review(look_at=["access"])
    assert result["findings"] == []
    assert [row["id"] for row in result["databases"][0]["findings"]] == ["same_filesystem"]


def test_another_disk_is_no_finding(make_target, database, monkeypatch):
    target = make_target(database)
    real = os.stat
    other = os.stat_result((0o40700, 1, 99999, 1, 0, 0, 0, 0, 0, 0))
    monkeypatch.setattr(
        access.os, "stat", lambda path, **more: other if path == target.backup_dir else real(path, **more)
    )
    assert access.of_name(target) == []


# --- the strategy ----------------------------------------------------------------------------------------------------


def _advice(pause=86400.0, **changes):
    known = {**settings.DEFAULTS, "rpo_objective": 100000, "rto_objective": 600, "assertions": [{"sql": "SELECT 1"}]}
    for key, value in changes.items():
        group, _dot, inner = key.partition("__")
        known[group] = {**known[group], inner: value} if inner else value
    return [row["id"] for row in advice.of_settings(known, pause)]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({"pause": None}, ["no_schedule"]),
        ({"rpo_objective": None}, ["rpo_objective_missing"]),
        ({"rto_objective": None}, ["rto_objective_missing"]),
        ({"rto_objective": -1}, ["objective_absurd"]),
        ({"rpo_objective": 3600}, ["schedule_too_coarse"]),
        ({"verify": "none"}, ["not_verified"]),
        ({"assertions": []}, ["no_assertions"]),
        ({"health__max_age": 3600}, ["health_limit_too_short"]),
        ({"retention__keep_days": 2}, ["kept_too_short"]),
        ({"retention__keep_days": 2, "retention__keep_weekly": 4}, []),
        ({"retention__keep_days": 2, "retention__keep_weekly": -1}, []),
        ({"retention__keep_days": 2, "retention__keep_last": 8}, []),
        ({"retention__keep_days": 2, "retention__keep_last": 4}, ["kept_too_short"]),
        # Thirty files, one each hour: a day and a quarter.
        ({"pause": 3600.0}, ["kept_too_short"]),
        ({"pause": 3600.0, "retention__max_files": 0}, []),
        ({"pause": 3600.0, "retention__keep_daily": 14}, []),
        ({"pause": 3600.0, "retention__keep_hourly": 100}, ["kept_too_short"]),
        ({"health__max_verified_age": 3600}, ["health_limit_too_short"]),
        ({"health__min_backups": 31}, ["health_limit_too_high"]),
        ({"health__min_backups": 31, "retention__keep_monthly": 1}, []),
        ({"health__min_backups": 31, "retention__max_files": 0}, []),
        ({"health__min_backups": 9, "retention__keep_days": 0, "retention__keep_last": 8}, ["health_limit_too_high"]),
    ],
)
def test_settings_that_promise_too_little(changes, found):
    assert _advice(**changes) == found


def test_history_that_promises_too_little():
    def ids(tested_days, size=10**6, rto=600, seconds=1.0):
        at = None if tested_days is None else clock.after(NOW, -tested_days * 86400)
        return [row["id"] for row in advice.of_history(at, NOW, size, rto, seconds)]

    assert ids(10) == []
    assert ids(None) == ids(100) == ["not_drilled"]
    assert ids(10, seconds=500) == ["rto_near"]
    assert ids(10, rto=None, seconds=500) == []
    assert ids(10, size=20 * 10**9) == ["large_database"]


def test_findings_are_the_worst_first():
    rows = [finding.finding(word, word, "", "", "") for word in ("low", "high", "medium")]
    assert [row["id"] for row in finding.by_severity(rows)] == ["high", "medium", "low"]
    assert [finding.status(rows[:n]) for n in range(3)] == ["ok", "attention", "action"]
