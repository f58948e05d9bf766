# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The scheduler: when what is due, with a clock that is set; and as a real process that is sent real signals."""

from __future__ import annotations

import datetime
import json
import os
import re
import signal
import subprocess
import sys

import pytest
from engine import clock, config, errors, scheduler

NOW = datetime.datetime(2026, 11, 22, 12, 0, tzinfo=datetime.timezone.utc)


@pytest.fixture
def load(tmp_path):
    def put(*databases, **more):
        path = tmp_path / "config.json"
        path.write_text(json.dumps({"databases": list(databases), **more}))
        return config.load(str(path), {})

    return put


def _entry(tmp_path, name, schedule, **more):
    row = {"name": name, "path": str(tmp_path / f"{name}.db"), "backup_dir": str(tmp_path / name), "timezone": "UTC"}
    return {**row, "schedule": schedule, **more}


def test_plan_has_the_first_firing_after_each_names_last_run_soonest_first(load, tmp_path):
    loaded = load(_entry(tmp_path, "a", "0 2 * * *"), _entry(tmp_path, "b", "30 12 * * *"), _entry(tmp_path, "c", None))
    rows = scheduler.plan(loaded, dict.fromkeys("abc", NOW))
    assert [(row.name, clock.iso(row.at)) for row in rows] == [
        ("b", "2026-11-22T12:30:00.000Z"),
        ("a", "2026-11-23T02:00:00.000Z"),
        ("c", "2026-11-23T02:00:00.000Z"),
    ]
    assert rows[2].expression == scheduler.DEFAULT_SCHEDULE


def test_firing_that_passed_without_a_backup_is_made_up_for(load, tmp_path, put_backup, backup_dir):
    loaded = load(
        _entry(tmp_path, "app", "0 2 * * *", backup_dir=str(backup_dir)), _entry(tmp_path, "new", "0 2 * * *")
    )
    put_backup("20261121_020000")
    found = scheduler.missed(loaded, NOW)
    assert {name: clock.iso(at) for name, at in found.items()} == {"app": "2026-11-21T02:00:00.000Z"}
    put_backup("20261122_020003")
    assert scheduler.missed(loaded, NOW) == {}


def test_clock_that_was_set_back_does_not_put_the_next_run_off(load, tmp_path, monkeypatch):
    this = scheduler.Scheduler(None, ["true"], lambda _text: None)
    this.configuration = load(_entry(tmp_path, "app", "0 2 * * *"))
    this.since = {"app": NOW + datetime.timedelta(days=365)}
    monkeypatch.setattr(clock, "now", lambda: NOW)
    this._anchor()
    assert scheduler.plan(this.configuration, this.since)[0].at == datetime.datetime(
        2026, 11, 23, 2, 0, tzinfo=datetime.timezone.utc
    )


class Service:
    """``digitalme-backup scheduler`` as a process; its lines are read as they come."""

    def __init__(self, root, environment):
        package = os.path.dirname(os.path.dirname(os.path.abspath(scheduler.__file__)))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "engine", "scheduler"],
            env={**os.environ, "PYTHONPATH": package, "HOME": str(root), **environment},
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def until(self, text):
        for line in self.process.stderr:
            if text in line:
                return line
        raise AssertionError(f"it ended without saying '{text}'")

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out + err


@pytest.fixture
def service(tmp_path):
    started = []

    def start(**environment):
        started.append(Service(tmp_path, environment))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate(timeout=60)


def test_container_without_a_configuration_file_is_configured_by_its_environment(
    service, database, tmp_path, put_backup
):
    """The missed firing of yesterday is made up for, in a run of its own; then SIGTERM ends the wait."""
    put_backup("20200101_020000")
    running = service(
        BACKUP_DATABASE=database, BACKUP_DIRECTORY=str(tmp_path / "backups"), BACKUP_SCHEDULE="0 2 * * *", TZ="UTC"
    )
    running.until("app: run begins")
    assert "status 0" in running.until("app: run ended")
    assert "next run" in running.until("app: next run")
    status, said = running.end()
    assert (status, "ended; 0 runs failed" in said) == (0, True)
    backups = [name for name in os.listdir(tmp_path / "backups") if name.endswith(".json") and "_20200101_" not in name]
    assert len(backups) == 1
    manifest = json.loads((tmp_path / "backups" / backups[0]).read_text())
    assert manifest["trigger"] == "scheduled"


def test_signal_ends_a_run_that_goes_on_after_it_has_cleaned_up(service, database, tmp_path, put_backup, holding):
    put_backup("20200101_020000")
    with holding(database, "BEGIN EXCLUSIVE"):
        running = service(BACKUP_DATABASE=database, BACKUP_DIRECTORY=str(tmp_path / "backups"), TZ="UTC")
        running.until("app: run begins")
        status, said = running.end()
    # 143 is what a run says of itself; -15 is one that had not come so far yet.
    assert status == 0 and re.search(r"app: run ended with status (143|-15)\n", said)
    assert [name for name in os.listdir(tmp_path / "backups") if "partial" in name] == []


def test_configuration_broken_by_hand_is_told_and_the_last_good_one_goes_on(service, database, tmp_path):
    path = tmp_path / "config.json"
    good = json.dumps({"databases": [{"path": database, "backup_dir": str(tmp_path / "backups")}]})
    path.write_text(good)
    running = service(DIGITALME_BACKUP_CONFIG=str(path))
    running.until("app: next run")
    path.write_text("{")
    running.process.send_signal(signal.SIGHUP)
    assert "not valid JSON" in running.until("the last good configuration goes on")
    path.write_text(good.replace('"backup_dir"', '"schedule": "often", "backup_dir"'))
    running.process.send_signal(signal.SIGHUP)
    assert "is not a cron expression" in running.until("the last good configuration goes on")
    path.write_text(good.replace('"backup_dir"', '"schedule": "5 5 * * *", "backup_dir"'))
    running.process.send_signal(signal.SIGHUP)
    assert "5 5 * * *" in running.until("app: next run")
    assert running.end()[0] == 0


def test_nothing_to_begin_with_is_refused(service):
    running = service()
    _out, err = running.process.communicate(timeout=60)
    assert running.process.returncode == 2 and "configured: none" in err


def test_run_is_started_with_the_same_configuration():
    words = scheduler.command("/etc/some.json")
    assert words[-2:] == ["--config", "/etc/some.json"] and "--config" not in scheduler.command(None)
    done = subprocess.run([*words[:-2], "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "--name" in done.stdout


def test_invalid_schedule_is_refused_at_the_start(load, tmp_path):
    with pytest.raises(errors.ConfigError, match="not a cron expression"):
        scheduler.plan(load(_entry(tmp_path, "app", "often")), {"app": NOW})
