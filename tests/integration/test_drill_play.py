# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The drill over a fleet: every host has its turn and its place in the report; the exit status tells the verdict."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess

import jsonschema
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SCHEMA = json.loads((ROOT / "docs" / "drill-report.schema.json").read_text("ascii"))


@pytest.fixture
def drill(fleet, tmp_path):
    """drill(*options) -> (exit status, output, report); None where no report was written, and each has its schema's
    fields.
    """
    reports = tmp_path / "reports"

    def run(*options, playbook="drill.yml", directory=reports):
        before = set(directory.glob("*/drill.json")) if directory.is_dir() else set()
        status, said = fleet.play(playbook, "-e", f"digitalme_backup_drill_dir={directory}", *options)
        new = set(directory.glob("*/drill.json")) - before if directory.is_dir() else set()
        found = [path for path in new if not path.parent.is_symlink()]
        report = json.loads(found[0].read_text()) if found else None
        if report is not None:
            jsonschema.Draft202012Validator(SCHEMA).validate(report)
        return status, said, report

    run.reports = reports
    return run


def _statuses(report):
    return {
        (host["host"], row["name"]): (row["status"], row["error_code"])
        for host in report["hosts"]
        for row in host["databases"]
    }


def _outcomes(report):
    return {host["host"]: (host["outcome"], host["error_code"]) for host in report["hosts"]}


def _failed(said):
    return {line.split()[0] for line in said.splitlines() if " failed=" in line and " failed=0" not in line}


def test_every_host_is_in_the_report_and_those_that_did_not_pass_fail(fleet, drill, tmp_path):
    good = fleet.protect("good", "app", "shop")
    damaged = fleet.protect("damaged", "app")
    fleet.back_up()
    fleet.damage(damaged, "app")
    fleet.make(fleet.add("unbacked", "app"), "app")
    bare = fleet.add("bare")
    fleet.add("away", "app", ansible_connection="ssh", ansible_host="127.0.0.1", ansible_port=1)
    fleet.add("snakeless", "app", ansible_python_interpreter="/nowhere/python3")
    before = (good / "app.db").read_bytes(), sorted(os.listdir(good))
    # One host at a time: a batch that fails must not end the play.
    status, said, report = drill("-e", "digitalme_backup_serial=1", "-e", "ansible_ssh_timeout=2")
    assert status == 2, said
    assert report["verdict"] == "failed"
    assert _statuses(report) == {
        ("good", "app"): ("passed", None),
        ("good", "shop"): ("passed", None),
        ("damaged", "app"): ("failed", "backup_invalid"),
        ("unbacked", "app"): ("no_backup", "backup_not_found"),
    }
    assert _outcomes(report) == {
        "good": ("answered", None),
        "damaged": ("answered", None),
        "unbacked": ("answered", None),
        "bare": ("failed", "config_invalid"),
        "away": ("unreachable", "unreachable"),
        "snakeless": ("failed", "failed"),
    }
    assert all(host["next_step"] for host in report["hosts"] if host["outcome"] != "answered")
    assert (report["counts"]["hosts"], report["counts"]["databases"], report["counts"]["passed"]) == (6, 4, 2)
    assert _failed(said) == {"damaged", "unbacked", "bare", "away", "snakeless"}
    assert (good / "app.db").read_bytes(), sorted(os.listdir(good)) == before
    assert not list(tmp_path.rglob("drill-app")), "a scratch place is left"
    assert not list(drill.reports.glob(".*")), "the hosts' parts are left"
    assert bare.is_dir()

    status, said, report = drill("--limit", "good")
    assert (status, report["verdict"], _failed(said)) == (0, "passed", set())
    assert report["by"]["ansible"] and report["by"]["controller"]
    assert abs(report["hosts"][0]["clock_skew_seconds"]) < 5
    assert os.path.realpath(drill.reports / "latest") == str(drill.reports / report["id"])


def test_selection_is_the_report_s_too(fleet, drill):
    site = fleet.protect("good", "app")
    for _turn in range(2):
        fleet.back_up()
    _status, _said, report = drill("-e", "digitalme_backup_drill_selection=oldest")
    files = sorted(path.name for path in (site / "b" / "app").glob("*.db"))
    (row,) = report["hosts"][0]["databases"]
    assert (report["selection"]["rule"], row["selection"]["rule"]) == ("oldest", "oldest")
    assert (row["backup"]["file"], row["selection"]["candidates"]) == (files[0], 2)
    options = {"digitalme_backup_drill_selection": "random", "digitalme_backup_drill_full_restore": True}
    _status, _said, report = drill("-e", json.dumps(options))
    (row,) = report["hosts"][0]["databases"]
    assert report["selection"]["seed"] == row["selection"]["seed"] == report["id"]
    assert "full_restore" in [phase["name"] for phase in row["phases"]]


def test_host_that_hangs_is_given_up_and_the_others_go_on(fleet, drill, tmp_path):
    fleet.protect("good", "app")
    fleet.back_up()
    stopped = tmp_path / "python-that-hangs"
    stopped.write_text(f'#!/bin/sh\necho $$ > {tmp_path}/pid\nkill -STOP $$\nexec /usr/bin/python3 "$@"\n')
    stopped.chmod(0o755)
    fleet.add("hangs", "app", ansible_python_interpreter=str(stopped))
    # The limit of the task is a minute more than the host's own.
    status, said, report = drill("-e", "digitalme_backup_drill_time_limit=-58")
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert status == 2
    assert _outcomes(report)["hangs"] == ("timed_out", "time_limit"), said
    assert _failed(said) >= {"hangs"}
    assert len(report["hosts"]) == 2


def test_application_s_check_that_hangs_ends_with_the_host_s_own_limit(fleet, drill):
    site = fleet.protect("good", "app")
    fleet.back_up()
    document = json.loads((site / "config.json").read_text())
    document["databases"][0]["drill_check"] = ["sleep", "600"]
    (site / "config.json").write_text(json.dumps(document))
    _status, _said, report = drill("-e", "digitalme_backup_drill_time_limit=2")
    assert _outcomes(report) == {"good": ("answered", None)}
    assert _statuses(report) == {("good", "app"): ("not_run", "time_limit")}


def test_no_host_reachable_is_a_failure_with_a_report(fleet, drill):
    for name in ("one", "two"):
        fleet.add(name, "app", ansible_connection="ssh", ansible_host="127.0.0.1", ansible_port=1)
    status, said, report = drill("-e", "ansible_ssh_timeout=2")
    assert status == 2, said
    assert set(_outcomes(report).values()) == {("unreachable", "unreachable")}
    assert (report["verdict"], report["counts"]["hosts_without_answer"]) == ("failed", 2)


def test_report_that_cannot_be_written_is_told_before_any_host_is_asked(fleet, drill, tmp_path):
    fleet.protect("good", "app")
    fleet.back_up()
    (tmp_path / "file").write_text("")
    status, said, _report = drill(directory=tmp_path / "file" / "reports")
    assert status == 2
    assert "no host has been asked" in said and "Restore a backup of every database" not in said


def test_databases_of_a_host_without_configuration(fleet, drill):
    site = fleet.protect("good", "app")
    fleet.back_up()
    (site / "config.json").unlink()
    given = [{"name": "app", "backup_dir": str(site / "b" / "app"), "rto_objective": 60, "rpo_objective": 86400}]
    status, said, report = drill("-e", json.dumps({"digitalme_backup_drill_databases": given}))
    assert status == 0, said
    (row,) = report["hosts"][0]["databases"]
    assert (row["rto"]["met"], row["rpo"]["met"], row["warnings"]) == (True, True, [])


def test_slices_of_a_fleet_become_one_report(fleet, drill, tmp_path):
    for name in ("one", "two", "three"):
        fleet.protect(name, "app")
    fleet.back_up()
    fleet.damage(tmp_path / "three", "app")
    assert drill("--limit", "one,two", directory=tmp_path / "slice-1")[0] == 0
    assert drill("--limit", "three", directory=tmp_path / "slice-2")[0] == 2
    slices = [str(tmp_path / f"slice-{number}" / "latest") for number in (1, 2)]
    status, said, report = drill("-e", json.dumps({"digitalme_backup_drill_merge": slices}), playbook="drill_merge.yml")
    assert status == 2 and "three/app" in said
    assert {host for host, _row in _statuses(report)} == {"one", "two", "three"}
    assert (report["verdict"], report["counts"]["hosts"], report["counts"]["passed"]) == ("failed", 3, 2)
    only = json.dumps({"digitalme_backup_drill_merge": slices[:1]})
    assert drill("-e", only, playbook="drill_merge.yml")[0] == 0


def test_backups_are_drilled_on_a_drill_host_and_removed_there(fleet, drill, tmp_path):
    good = fleet.protect("good", "app", "shop")
    damaged = fleet.protect("damaged", "app")
    fleet.back_up()
    backup = fleet.damage(damaged, "app")
    fleet.make(fleet.add("unbacked", "app"), "app")
    fleet.add("away", "app", ansible_connection="ssh", ansible_host="127.0.0.1", ansible_port=1)
    fleet.add("drillbox")
    place = tmp_path / "drilled here"
    (place / "good" / "left").mkdir(parents=True)
    document = json.loads((good / "config.json").read_text())
    seen = {"rto_objective": 60, "rpo_objective": 86400, "drill_check": ["sh", "-c", "echo $0", "{database}"]}
    document["databases"][0].update(seen)
    document["databases"][1]["rpo_objective"] = 0.001
    (good / "config.json").write_text(json.dumps(document))
    told = {"digitalme_backup_drill_target": "drillbox", "digitalme_backup_drill_target_dir": str(place)}
    status, said, report = drill("-e", json.dumps(told), "-e", "ansible_ssh_timeout=2", "--limit", "all:!drillbox")
    assert status == 2, said
    assert report["selection"]["target"] == "drillbox"
    assert _statuses(report) == {
        ("good", "app"): ("passed", None),
        ("good", "shop"): ("objective_missed", "objective_missed"),
        # Damaged bytes do not travel: the transfer itself proves them.
        ("damaged", "app"): ("failed", "backup_invalid"),
        ("unbacked", "app"): ("no_backup", "backup_not_found"),
    }, said
    hosts = {host["host"]: host for host in report["hosts"]}
    assert hosts["away"]["outcome"] == "failed" and "port 1" in hosts["away"]["cause"]
    assert backup.name in hosts["damaged"]["databases"][0]["cause"]
    app = hosts["good"]["databases"][0]
    assert (app["backup_dir"], app["rpo"]["met"], app["rto"]["met"]) == (str(good / "b" / "app"), True, True)
    assert [p["detail"] for p in app["phases"] if p["name"] == "check"][0].startswith(f"status 0: {place}/good/app/")
    assert list(place.iterdir()) == [], "backups are left on the drill host"
    assert not list(drill.reports.glob(".*"))
    assert _failed(said) == {"good", "damaged", "unbacked", "away"}


def test_host_drills_itself_by_ansible_pull(fleet, drill, tmp_path):
    """What a host has pulled is a playbook that imports ours; its report is merged with the others' afterwards."""
    site = fleet.protect("good", "app")
    fleet.back_up()
    source = tmp_path / "pulled"
    source.mkdir()
    (source / "drill.yml").write_text("- ansible.builtin.import_playbook: digitalme.backup.drill\n")
    (source / "inventory").write_text("good ansible_connection=local ansible_python_interpreter=/usr/bin/python3\n")
    git = [
        "git",
        "-C",
        str(source),
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@example.org",
        "-c",
        "init.defaultBranch=main",
    ]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "drill"]):
        subprocess.run([*git, *words], check=True)
    reports = tmp_path / "slices" / "good"
    told = {"digitalme_backup_drill_dir": str(reports), "digitalme_backup_config_dir": str(site)}
    command = ["ansible-pull", "--url", str(source), "--directory", str(tmp_path / "there"), "--only-if-changed"]
    command += ["--inventory", "inventory", "--limit", "good", "--tags", "drill", "-e", json.dumps(told), "drill.yml"]
    done = subprocess.run(
        command,
        env={**os.environ, "ANSIBLE_HOME": str(tmp_path / "ansible"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    merged = json.dumps({"digitalme_backup_drill_merge": [str(reports / "latest")]})
    status, said, report = drill("-e", merged, playbook="drill_merge.yml")
    assert (status, _statuses(report)) == (0, {("good", "app"): ("passed", None)}), said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read as a report"),
        ("{", "cannot be read as a report"),
        ("[]", "no report of a drill"),
        ('{"kind": "drill", "hosts": [], "schema_version": 99}', "unknown schema_version 99"),
    ],
    ids=["missing", "torn", "foreign", "newer"],
)
def test_what_is_no_report_of_this_version_is_not_merged(fleet, drill, tmp_path, content, message):
    path = tmp_path / "drill.json"
    if content is not None:
        path.write_text(content)
    told = json.dumps({"digitalme_backup_drill_merge": [str(path)]})
    status, said, report = drill("-e", told, playbook="drill_merge.yml")
    assert status == 2 and report is None
    assert message in said and str(path) in said


def test_check_mode_chooses_and_says_that_nothing_was_drilled(fleet, drill):
    fleet.protect("good", "app")
    fleet.back_up()
    status, _said, report = drill("--check")
    assert status == 2
    assert _statuses(report) == {("good", "app"): ("not_run", None)}
    assert report["hosts"][0]["databases"][0]["backup"]["file"].startswith("app_")
