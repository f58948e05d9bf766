# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the metrics say of real catalogs and audit records, and the file in which they lie."""

from __future__ import annotations

import math
import os
import re
import stat

import pytest
from engine import audit, catalog, clock, files, health, metrics

NOW = clock.parse("2026-11-22T12:00:00Z")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Exposition:
    """A text as the exporter reads it: ``value(family, **labels)``."""

    def __init__(self, text):
        self.text = text
        self.samples = []
        for line in text.splitlines():
            if not line.startswith("#"):
                found = re.fullmatch(r"digitalme_backup_(\w+)\{(.*)\} (\S+)", line)
                self.samples.append((found[1], dict(LABEL.findall(found[2])), float(found[3])))

    def value(self, family, **labels):
        found = [value for name, has, value in self.samples if name == family and labels.items() <= has.items()]
        assert len(found) == 1, f"{family} {labels}: {found}"
        return found[0]


@pytest.fixture
def expose(make_target, backup_dir):
    """expose(database, name, records, **settings) -> Exposition of what lies in the backup directory."""

    def render(database=None, name="app", records=(), **settings):
        target = make_target(database, name=name, **settings)
        facts = health.Facts(catalog.scan(str(backup_dir), name), target, NOW)
        return Exposition(metrics.text(facts, health.judge(facts), list(records)))

    return render


def _seconds(text):
    return clock.parse(text).timestamp()


# --- before the first backup -----------------------------------------------------------------------------------------


def test_every_series_is_there_before_the_first_backup(expose):
    found = expose()
    assert {name for name, _labels, _value in found.samples} == {name for name, _help in metrics.FAMILIES}
    assert all(labels["database"] == "app" for _name, labels, _value in found.samples)
    for family in ("last_success", "last_verified", "last_restore_test", "oldest", "last_run"):
        assert found.value(f"{family}_timestamp_seconds") == 0
    for family in ("last_duration_seconds", "last_size_bytes", "last_stored_bytes", "rpo_seconds", "rto_seconds"):
        assert math.isnan(found.value(family))
    for family in ("rpo_objective_seconds", "rto_objective_seconds"):
        assert math.isnan(found.value(family))
    assert (found.value("stored_bytes"), found.value("last_run_success"), found.value("retention_hold")) == (0, 0, 0)
    assert found.value("written_timestamp_seconds") == NOW.timestamp()


def test_backup_directory_that_is_missing_is_an_empty_one(expose, backup_dir):
    backup_dir.rmdir()
    found = expose()
    assert found.value("health_status", status="unhealthy") == 1
    assert 0 < found.value("filesystem_used_percent") <= 100


def test_help_and_type_stand_once_before_each_family_and_are_the_same_for_every_name(expose, put_backup):
    put_backup()
    one, other = ([line for line in expose(name=name).text.splitlines() if line[0] == "#"] for name in ("app", "other"))
    assert one == other
    assert len(one) == len(set(one)) == 2 * len(metrics.FAMILIES)


def test_label_is_escaped_and_stays_one_line(expose):
    line = expose(name='a "quoted" {name}').text.splitlines()[2]
    assert '{database="a \\"quoted\\" {name}"} 0' in line
    assert metrics._escape("back\\slash, two\nlines") == "back\\\\slash, two\\nlines"
    assert metrics._escape("\udcff") == "?"


# --- backups ---------------------------------------------------------------------------------------------------------


def test_values_are_those_of_the_newest_backup(expose, put_backup):
    put_backup("20261121_020000", content=b"x" * 30)
    put_backup("20261122_020000", content=b"x" * 50, size_bytes=4096, duration_seconds=1.25)
    found = expose()
    assert found.value("last_success_timestamp_seconds") == _seconds("2026-11-22T02:00:00Z")
    assert found.value("oldest_timestamp_seconds") == _seconds("2026-11-21T02:00:00Z")
    assert (found.value("last_size_bytes"), found.value("last_stored_bytes")) == (4096, 50)
    assert (found.value("last_duration_seconds"), found.value("stored_bytes")) == (1.25, 80)
    assert found.value("rpo_seconds") == 10 * 3600


def test_newest_backup_that_is_not_verified_is_told_from_the_newest_verified(expose, put_backup):
    put_backup("20261121_020000")
    put_backup("20261122_020000", verification={"level": "none", "status": "none"})
    found = expose()
    assert found.value("last_success_timestamp_seconds") == _seconds("2026-11-22T02:00:00Z")
    assert found.value("last_verified_timestamp_seconds") == _seconds("2026-11-21T02:00:00Z")
    assert found.value("retention_hold") == 1


def test_what_only_looks_like_a_backup_is_no_success(expose, put_backup, backup_dir):
    put_backup("20261120_020000", content=b"x" * 50)
    put_backup("20261121_020000", verification={"level": "full", "status": "corrupt"})
    put_backup("20261121_030000", kind="_pre_recovery", trigger="pre_restore")
    (backup_dir / "app_20991231_000000.db").write_bytes(b"by hand")
    found = expose()
    assert found.value("last_success_timestamp_seconds") == _seconds("2026-11-20T02:00:00Z")
    assert found.value("last_stored_bytes") == 50


def test_backups_are_counted_by_state(expose, put_backup, backup_dir):
    put_backup("20261120_020000")
    put_backup("20261120_030000")
    put_backup("20261120_040000", verification={"level": "none", "status": "none"})
    put_backup("20261120_050000", verification={"level": "full", "status": "unverifiable"})
    put_backup("20261120_060000", verification={"level": "full", "status": "corrupt"})
    os.unlink(put_backup("20261120_070000"))
    put_backup("20261120_080000", kind="_pre_recovery", trigger="pre_restore")
    (backup_dir / f"app_20261120_090000.db{files.QUARANTINED}").write_bytes(b"")
    found = expose()
    counts = {labels["state"]: value for name, labels, value in found.samples if name == "backups"}
    expected = {"verified": 2, "unverified": 1, "unverifiable": 1, "invalid": 1, "missing": 1, "quarantined": 1}
    assert counts == expected
    assert found.value("pre_restore_backups") == 1


def test_restore_test_gives_its_time_and_the_recovery_time(expose, put_backup):
    tested = {"status": "ok", "checked_at": "2026-11-22T03:00:00Z", "seconds": 4.5}
    put_backup("20261121_020000", restore_test=tested)
    put_backup("20261122_020000", restore_test={**tested, "status": "failed", "seconds": 9})
    found = expose(rto_objective=600, rpo_objective=86400)
    assert found.value("last_restore_test_timestamp_seconds") == _seconds("2026-11-22T03:00:00Z")
    assert (found.value("rto_seconds"), found.value("rto_objective_seconds")) == (4.5, 600)
    assert found.value("rpo_objective_seconds") == 86400


@pytest.mark.parametrize(
    "value", [None, "long", True, -1, pytest.param(10**400, id="large"), float("inf"), float("nan")]
)
def test_manifest_with_an_impossible_number_hides_no_other_series(expose, put_backup, value):
    put_backup(duration_seconds=value)
    found = expose()
    assert math.isnan(found.value("last_duration_seconds"))
    assert found.value("last_stored_bytes") == 7


# --- runs ------------------------------------------------------------------------------------------------------------


def _row(operation, time="2026-11-22T02:00:05Z", outcome="ok", **more):
    return {"operation": operation, "time": time, "outcome": outcome, "name": "app", **more}


@pytest.mark.parametrize(
    "records, success",
    [
        ([_row("backup")], 1),
        ([_row("backup", outcome="no_space")], 0),
        ([_row("backup", outcome="no_space"), _row("backup")], 1),
        ([_row("backup"), _row("run", status="ok", parts={"backup": "ok"})], 1),
        ([_row("backup"), _row("run", status="degraded", parts={"backup": "ok"})], 1),
        ([_row("backup"), _row("run", status="failed", parts={"backup": "ok", "health": "failed"})], 0),
        ([_row("backup"), _row("run", outcome="config_invalid")], 0),
        ([_row("backup", outcome="no_space"), _row("run", status="ok", parts={"metrics": "ok"})], 0),
    ],
)
def test_newest_run_that_tried_a_backup_tells_the_outcome(expose, records, success):
    found = expose(records=records)
    assert found.value("last_run_success") == success
    assert found.value("last_run_timestamp_seconds") == _seconds("2026-11-22T02:00:05Z")


@pytest.mark.parametrize("time", ["yesterday", None, 7])
def test_record_without_a_time_is_one_of_an_unknown_time(expose, time):
    found = expose(records=[_row("backup", time=time)])
    assert (found.value("last_run_timestamp_seconds"), found.value("last_run_success")) == (0, 1)


# --- database, schedule, health --------------------------------------------------------------------------------------


def test_live_database_is_present_with_its_log(expose, database):
    with open(database + "-wal", "wb") as log:
        log.write(b"x" * 100)
    found = expose(database)
    assert found.value("database_present") == 1
    assert found.value("database_size_bytes") == os.path.getsize(database) + 100


def test_live_database_that_is_missing_or_damaged_is_not_present(expose, tmp_path):
    empty = tmp_path / "empty.db"
    empty.write_bytes(b"")
    for path in (tmp_path / "gone.db", empty):
        found = expose(str(path))
        assert (found.value("database_present"), found.value("database_size_bytes")) == (0, 0)


def test_database_that_cannot_be_looked_at_hides_no_other_series(expose, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    found = expose(str(tmp_path / "file" / "app.db"))
    assert found.value("database_present") == 0
    assert math.isnan(found.value("database_size_bytes"))


@pytest.mark.parametrize(
    "schedule, seconds", [("0 2 * * *", 86400), ("0 2 * * 0", 604800), (None, 0), ("61 * * * *", 0)]
)
def test_expected_interval_is_that_of_the_schedule(expose, schedule, seconds):
    assert expose(schedule=schedule, timezone="").value("expected_interval_seconds") == seconds


def test_health_is_one_of_three_and_each_check_has_its_degree(expose, put_backup):
    put_backup()
    found = expose(disk_limit_percent=0)
    held = {labels["status"]: value for name, labels, value in found.samples if name == "health_status"}
    assert held == {"healthy": 0, "degraded": 1, "unhealthy": 0}
    assert found.value("health_check", check="disk") == 1
    assert found.value("health_check", check="newest_backup") == 0
    assert found.value("filesystem_limit_percent") == 0
    assert expose(name="other").value("health_check", check="newest_backup") == 2


def test_policy_that_cannot_be_meant_holds_and_hides_no_other_series(expose, put_backup):
    put_backup()
    found = expose(retention__keep_days=0)
    assert found.value("retention_hold") == 1
    assert found.value("last_success_timestamp_seconds") > 0


def test_audit_log_that_was_changed_is_not_intact(expose, make_target):
    log = make_target().audit_log
    for number in range(3):
        audit.append(log, {"operation": "backup", "number": number})
    assert expose().value("audit_chain_intact") == 1
    with open(log, encoding="ascii") as stream:
        text = stream.read()
    with open(log, "w", encoding="ascii") as stream:
        stream.write(text.replace('"number": 1', '"number": 7'))
    assert expose().value("audit_chain_intact") == 0


# --- the file --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, file",
    [
        ("app", "digitalme_backup_app.prom"),
        ("a b/c%", "digitalme_backup_a%20b%2Fc%25.prom"),
        ("\u00e9", "digitalme_backup_%C3%A9.prom"),
    ],
)
def test_file_is_named_after_the_name(name, file):
    assert metrics.path_for("/textfile", name) == "/textfile/" + file


def test_longest_names_have_files_of_their_own(tmp_path):
    paths = {metrics.write(str(tmp_path), "\u00e9" * 49 + last, "x 1\n") for last in ("a", "b")}
    assert len(paths) == 2 == len(os.listdir(tmp_path))


def test_file_is_readable_by_the_exporter_whatever_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        path = metrics.write(str(tmp_path), "app", "x 1\n")
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o644
    assert os.listdir(tmp_path) == ["digitalme_backup_app.prom"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_failure_while_writing_leaves_the_old_content(tmp_path, monkeypatch, step):
    path = metrics.write(str(tmp_path), "app", "old 1\n")

    def fail(*_arguments, **_where):
        raise OSError(5, "input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, step, fail)
        with pytest.raises(OSError):
            metrics.write(str(tmp_path), "app", "new 1\n")
    with open(path, encoding="ascii") as stream:
        assert stream.read() == "old 1\n"
    assert [name for name in os.listdir(tmp_path) if name.endswith(".prom")] == ["digitalme_backup_app.prom"]
    metrics.write(str(tmp_path), "app", "new 1\n")
    assert os.listdir(tmp_path) == ["digitalme_backup_app.prom"]
