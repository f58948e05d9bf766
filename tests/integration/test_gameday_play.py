# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The game day over a fleet: every host has its turn and its place in the report, which tells of each fault."""

from __future__ import annotations

import hashlib
import json
import os

import pytest

FAULTS = {
    "flipped_byte": "noticed",
    "foreign_manifest": "noticed",
    "missing_backup": "noticed",
    "full_disk": "noticed",
    "wrong_owner": "survived",
    "missing_key": "noticed",
    "interrupted_restore": "survived",
}


@pytest.fixture
def gameday(fleet, tmp_path):
    """gameday(*options) -> (exit status, output, report)."""
    reports = tmp_path / "reports"

    def run(*options, playbook="gameday.yml"):
        before = set(reports.glob("*/drill.json"))
        status, said = fleet.play(playbook, "-e", f"digitalme_backup_drill_dir={reports}", *options)
        (path,) = [path for path in set(reports.glob("*/drill.json")) - before if not path.parent.is_symlink()]
        return status, said, json.loads(path.read_text())

    run.reports = reports
    return run


def _protect(fleet, name, *databases, **variables):
    site = fleet.add(name, *databases, **variables)
    for one in databases:
        fleet.make(site, one)
    return site


def _rows(report):
    return {(host["host"], row["name"]): row for host in report["hosts"] for row in host["databases"]}


def _outcomes(row):
    return {fault["name"]: fault["outcome"] for fault in row["faults"]}


def _failed(said):
    return {line.split()[0] for line in said.splitlines() if " failed=" in line and " failed=0" not in line}


def _tree(place):
    found = {}
    for directory, _directories, names in os.walk(place):
        for name in names:
            path = os.path.join(directory, name)
            if not name.endswith(".lock") and name != "audit.jsonl":
                with open(path, "rb") as source:
                    found[path] = (hashlib.sha256(source.read()).hexdigest(), os.stat(path).st_mtime_ns)
    return found


def test_every_host_is_in_the_report_with_every_fault(fleet, gameday):
    good = _protect(fleet, "good", "app", "shop")
    damaged = _protect(fleet, "damaged", "app")
    assert fleet.play("backup.yml")[0] == 0
    (backup,) = (damaged / "b" / "app").glob("*.db")
    data = bytearray(backup.read_bytes())
    data[len(data) // 2] ^= 1
    backup.write_bytes(bytes(data))
    fleet.make(fleet.add("unbacked", "app"), "app")
    fleet.add("away", "app", ansible_connection="ssh", ansible_host="127.0.0.1", ansible_port=1)
    before = _tree(good), _tree(damaged)
    status, said, report = gameday("-e", "digitalme_backup_serial=1", "-e", "ansible_ssh_timeout=2")
    assert status == 2, said
    assert (report["kind"], report["verdict"]) == ("gameday", "failed")
    assert report["id"].startswith("gameday-")
    rows = _rows(report)
    assert {key: (row["status"], row["error_code"]) for key, row in rows.items()} == {
        ("good", "app"): ("passed", None),
        ("good", "shop"): ("passed", None),
        ("damaged", "app"): ("failed", "backup_invalid"),
        ("unbacked", "app"): ("no_backup", "backup_not_found"),
    }
    assert _outcomes(rows["good", "app"]) == _outcomes(rows["good", "shop"]) == FAULTS
    assert set(_outcomes(rows["damaged", "app"]).values()) == {"not_run"}
    assert {host["host"]: host["outcome"] for host in report["hosts"]}["away"] == "unreachable"
    assert _failed(said) == {"damaged", "unbacked", "away"}
    assert (_tree(good), _tree(damaged)) == before
    assert not list(gameday.reports.glob(".*")), "the hosts' parts are left"

    status, said, report = gameday("--limit", "good")
    assert (status, report["verdict"], _failed(said)) == (0, "passed", set()), said
    assert "every fault was noticed or survived" in said
    place = gameday.reports / report["id"]
    page = (place / "report.html").read_text(encoding="utf-8")
    assert all(name.replace("_", " ") in page for name in FAULTS)
    assert [(known["kind"], known["verdict"]) for known in report["history"]] == [("gameday", "failed")]


def test_fault_that_is_missed_fails_the_host_and_stands_in_every_form_of_the_report(fleet, gameday, tmp_path):
    """The engine on the host is a broken one: it finds every byte as good as any other."""
    site = _protect(fleet, "broken", "app")
    assert fleet.play("backup.yml")[0] == 0
    broken = tmp_path / "python-that-believes-everything"
    broken.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path}/patch exec /usr/bin/python3 "$@"\n')
    broken.chmod(0o755)
    (tmp_path / "patch").mkdir()
    # Whatever is hashed has the hash that it has: nothing is ever another file than it was.
    (tmp_path / "patch" / "sitecustomize.py").write_text(
        "import hashlib\n"
        "real = hashlib.sha256\n"
        "class Same:\n"
        "    def __init__(self, data=b''): pass\n"
        "    def update(self, data): pass\n"
        "    def copy(self): return self\n"
        "    def digest(self): return b'0' * 32\n"
        "    def hexdigest(self): return '0' * 64\n"
        "hashlib.sha256 = Same\n"
    )
    for path in (site / "b" / "app").glob("*.json"):
        document = json.loads(path.read_text())
        known = {**document, "sha256": "0" * 64, "content_sha256": "0" * 64}
        known["source"]["schema_sha256"] = "0" * 64
        path.write_text(json.dumps(known))
    fleet.hosts["broken"]["ansible_python_interpreter"] = str(broken)
    status, said, report = gameday()
    assert status == 2, said
    (row,) = _rows(report).values()
    assert (row["status"], row["error_code"]) == ("failed", "fault_missed"), row["cause"]
    assert _outcomes(row)["foreign_manifest"] == "missed"
    assert _outcomes(row)["full_disk"] == "noticed"
    place = gameday.reports / report["id"]
    for name in ("junit.xml", "report.md"):
        text = (place / name).read_text(encoding="utf-8")
        assert "missed" in text and "foreign_manifest" in text.replace("\\", ""), name


def test_faults_that_are_left_out_fail_nobody(fleet, gameday, tmp_path):
    _protect(fleet, "good", "app")
    assert fleet.play("backup.yml")[0] == 0
    left_out = ["interrupted_restore", "full_disk"]
    status, said, report = gameday("-e", json.dumps({"digitalme_backup_gameday_skip": left_out}))
    assert status == 0, said
    (row,) = _rows(report).values()
    assert _outcomes(row) == {**FAULTS, **dict.fromkeys(left_out, "not_run")}
    # What is no fault is refused before anything is begun.
    options = json.dumps(
        {"digitalme_backup_gameday_skip": ["rain"], "digitalme_backup_drill_dir": str(tmp_path / "no")}
    )
    status, said = fleet.play("gameday.yml", "-e", options)
    assert status == 2 and "rain" in said and not (tmp_path / "no").exists()
    status, said, report = gameday("--check")
    assert status == 2
    assert {row["cause"] for row in _rows(report).values()} == {"check mode: only chosen"}
