# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The maintenance calendar through its playbooks: each run leaves one entry, and what is amiss is in it."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess

import jinja2
import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
ROLE = ROOT / "roles" / "maintenance"


@pytest.fixture
def calendar(fleet, tmp_path):
    """calendar(kind, *options) -> (exit status, output, entry); the entry is None where none was written."""
    place = tmp_path / "maintenance"

    def run(kind, *options, directory=place):
        log = directory / "maintenance.jsonl"
        before = log.read_text().splitlines() if log.is_file() else []
        told = {
            "digitalme_backup_maintenance_dir": str(directory),
            "digitalme_backup_drill_dir": str(directory / "reports"),
        }
        status, said = fleet.play(f"maintenance_{kind}.yml", "-e", json.dumps(told), *options)
        lines = log.read_text().splitlines() if log.is_file() else []
        entry = json.loads(lines[-1]) if len(lines) > len(before) else None
        assert not list(directory.glob(".*.parts")) if directory.is_dir() else True, "the hosts' parts are left"
        return status, said, entry

    run.place = place
    return run


def _settle(site, **settings):
    """Give the databases of a host settings that no review finds fault with."""
    path = site / "config.json"
    document = json.loads(path.read_text())
    whole = {
        "schedule": "0 2 * * *",
        "rpo_objective": 100000,
        "rto_objective": 600,
        "assertions": [{"sql": "SELECT count(*) FROM t", "expect": 0}],
    }
    document["defaults"].update({**whole, **settings})
    path.write_text(json.dumps(document))


def _ids(entry):
    return {(row["host"], row["id"]) for row in entry["findings"]}


def test_daily_weekly_and_monthly_leave_an_entry_each(fleet, calendar):
    _settle(fleet.protect("good", "app"))
    fleet.back_up()
    status, said, entry = calendar("daily")
    assert status == 0, said
    assert (entry["kind"], entry["verdict"], [part["part"] for part in entry["parts"]]) == ("daily", "ok", ["health"])
    status, said, entry = calendar("weekly")
    assert status == 0, said
    assert [(part["part"], part["status"]) for part in entry["parts"]] == [("drill", "ok")]
    assert os.path.isfile(entry["parts"][0]["report"])
    status, said, entry = calendar("monthly")
    assert status == 0, said
    # Both on one disk, in a test's directory: that is found, and is no reason to fail.
    assert _ids(entry) == {("good", "same_filesystem")} and entry["verdict"] == "attention"
    report = json.loads((calendar.place / "reports" / "latest" / "drill.json").read_text())
    (row,) = report["hosts"][0]["databases"]
    assert "full_restore" in [phase["name"] for phase in row["phases"]]
    assert any("7d old yet" in text for text in row["warnings"])
    text = (calendar.place / "MAINTENANCE_LOG.md").read_text()
    assert [line.split()[2].rstrip(":") for line in text.splitlines() if line.startswith("## ")] == [
        "daily",
        "weekly",
        "monthly",
    ]
    assert "One broken disk takes both" not in text and "vault" in text


def test_quarterly_has_drill_game_day_strategy_and_what_people_sign(fleet, calendar):
    _settle(fleet.protect("good", "app"))
    fleet.back_up()
    status, said, entry = calendar("quarterly")
    assert status == 0, said
    assert [(part["part"], part["status"]) for part in entry["parts"]] == [("drill", "ok"), ("gameday", "ok")]
    assert len(entry["checklist"]) >= 5
    text = (calendar.place / "MAINTENANCE_LOG.md").read_text()
    assert text.count("| | | |") == len(entry["checklist"]) and "done by" in text
    assert {json.loads(path.read_text())["kind"] for path in (calendar.place / "reports").glob("[dg]*/drill.json")} == {
        "drill",
        "gameday",
    }


def test_part_that_fails_keeps_none_from_running_and_fails_the_play(fleet, calendar):
    damaged = fleet.protect("damaged", "app")
    _settle(damaged)
    _settle(fleet.protect("good", "app"))
    fleet.back_up()
    fleet.damage(damaged, "app")
    fleet.add("away", "app", ansible_connection="ssh", ansible_host="127.0.0.1", ansible_port=1)
    status, said, entry = calendar("weekly", "-e", "ansible_ssh_timeout=2")
    assert status == 2 and "SHA-256" in said
    assert entry["verdict"] == "action"
    assert {host["host"]: host["status"] for host in entry["hosts"]} == {
        "good": "ok",
        "damaged": "action",
        "away": "unreachable",
    }
    assert ("away", "not_reviewed") in _ids(entry) and ("damaged", "restore_tests_fail") in _ids(entry)
    (part,) = entry["parts"]
    assert part["status"] == "action" and "damaged/app" in part["summary"]


def test_health_that_is_bad_is_in_the_daily_entry(fleet, calendar):
    fleet.protect("unbacked", "app")
    status, _said, entry = calendar("daily")
    assert status == 2
    assert (entry["verdict"], entry["parts"][0]["status"]) == ("action", "action")
    assert "unbacked/app" in entry["parts"][0]["summary"]


def test_host_without_configuration_is_in_the_entry(fleet, calendar):
    site = fleet.add("bare")
    (site / "config.json").unlink()
    status, _said, entry = calendar("weekly")
    assert status == 2
    assert ("bare", "not_reviewed") in _ids(entry)


def test_log_that_cannot_be_written_is_told_before_any_host_is_asked(fleet, calendar, tmp_path):
    fleet.protect("good", "app")
    (tmp_path / "file").write_text("")
    status, said, entry = calendar("weekly", directory=tmp_path / "file" / "maintenance")
    assert (status, entry) == (2, None)
    assert "no host has been asked" in said and "Review what the backups" not in said


def test_log_with_a_damaged_line_goes_on(fleet, calendar):
    _settle(fleet.protect("good", "app"))
    fleet.back_up()
    calendar.place.mkdir()
    (calendar.place / "maintenance.jsonl").write_text('{"kind": "torn')
    status, _said, entry = calendar("daily")
    assert (status, entry["kind"]) == (0, "daily")
    assert (calendar.place / "maintenance.jsonl").read_text().startswith('{"kind": "torn\n{')


# --- the timers ------------------------------------------------------------------------------------------------------


def _next(expression, after):
    done = subprocess.run(
        ["systemd-analyze", "calendar", f"--base-time={after} UTC", "--iterations=1", expression],
        env={**os.environ, "TZ": "UTC", "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=True,
    )
    line = next(line for line in done.stdout.splitlines() if "Next elapse" in line or "(in UTC)" in line)
    return " ".join(line.split()[-3:-1])


@pytest.mark.parametrize(
    ("kind", "after", "expected"),
    [
        ("daily", "2026-11-23 12:00:00", ["2026-11-24 08:00:00"]),
        ("weekly", "2026-11-23 12:00:00", ["2026-11-29 10:00:00"]),
        ("weekly", "2026-11-29 09:59:00", ["2026-11-29 10:00:00"]),
        ("monthly", "2026-11-23 12:00:00", ["2026-12-05 14:00:00"]),
        ("monthly", "2027-05-01 13:00:00", ["2027-05-01 14:00:00"]),
        ("monthly", "2027-05-01 15:00:00", ["2027-06-05 14:00:00"]),
        ("quarterly", "2026-11-23 12:00:00", ["2026-12-31 09:00:00", "2027-06-30 09:00:00"]),
        ("quarterly", "2027-01-01 00:00:00", ["2027-03-31 09:00:00", "2027-06-30 09:00:00"]),
    ],
)
def test_calendar_is_that_of_the_manual(kind, after, expected):
    defaults = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
    expressions = defaults["digitalme_backup_maintenance_calendar"][kind]
    assert sorted(_next(expression, after) for expression in expressions) == expected


def test_units_are_what_systemd_accepts_and_hold_no_secret(tmp_path):
    from ansible_collections.digitalme.backup.plugins.filter.databases import unit_word

    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    environment.filters.update({"digitalme.backup.unit_word": unit_word, "to_json": json.dumps})
    environment.filters["regex_replace"] = lambda text, _pattern, _new: text.strip('"')
    environment.filters["flatten"] = lambda rows: [
        each for row in rows for each in (row if isinstance(row, list) else [row])
    ]
    known = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
    known.update(
        ansible_managed="x",
        digitalme_backup_maintenance_dir="/srv/my log",
        digitalme_backup_maintenance_inventory="/srv/in ventory.yml",
        digitalme_backup_maintenance_program="/usr/bin/env",
        digitalme_backup_maintenance_arguments=["--limit", "shops:!shop-3", "100%"],
        digitalme_backup_maintenance_environment_file="/etc/maintenance.env",
    )
    environment.filters["to_json"] = lambda value, sort_keys=False: json.dumps(value, sort_keys=sort_keys)
    for item in known["digitalme_backup_maintenance_calendar"]:
        for kind in ("service", "timer"):
            text = environment.from_string((ROLE / "templates" / f"maintenance.{kind}.j2").read_text()).render(
                **known, item=item
            )
            (tmp_path / f"digitalme-maintenance-{item}.{kind}").write_text(text + "\n")
    units = sorted(str(path) for path in tmp_path.iterdir())
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if str(tmp_path) in line or "maintenance" in line] == []
    text = (tmp_path / "digitalme-maintenance-weekly.service").read_text()
    assert '"digitalme.backup.maintenance_weekly"' in text and '"100%%"' in text
    assert "EnvironmentFile=/etc/maintenance.env" in text
