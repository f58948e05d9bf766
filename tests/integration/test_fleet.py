# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plays over a fleet: one bad host stops nobody, stands in the table, and makes the exit status say so."""

from __future__ import annotations


def _rows(said):
    """{(host, database): state} of the table."""
    lines = [line.strip().strip('",') for line in said.splitlines()]
    start = next(number for number, line in enumerate(lines) if line.split() == ["host", "database", "state", "what"])
    cells = [line.split(None, 3) for line in lines[start + 1 :]]
    table = cells[: next(number for number, row in enumerate(cells) if len(row) < 3)]
    return {(row[0], row[1]): row[2] for row in table}


def _failed(said):
    return {line.split()[0] for line in said.splitlines() if " failed=" in line and " failed=0" not in line}


def test_every_host_is_in_the_table_and_the_unprotected_ones_fail(fleet):
    good = fleet.add("good", "app", "shop")
    for name in ("app", "shop"):
        fleet.make(good, name)
    partly = fleet.add("partly", "app", "gone")
    fleet.make(partly, "app")
    bare = fleet.add("bare")
    (bare / "config.json").unlink()
    fleet.add("away", "app", ansible_connection="ssh", ansible_host="127.0.0.1", ansible_port=1)
    fleet.add("snakeless", "app", ansible_python_interpreter="/nowhere/python3")
    # One host at a time, the bad ones first: a batch that fails must not end the play.
    status, said = fleet.play("backup.yml", "-e", "digitalme_backup_serial=1", "-e", "ansible_ssh_timeout=2")
    assert status == 2, said
    assert _rows(said) == {
        ("good", "app"): "ok",
        ("good", "shop"): "ok",
        ("partly", "app"): "ok",
        ("partly", "gone"): "failed",
        ("bare", "-"): "failed",
        ("away", "-"): "unreachable",
        ("snakeless", "-"): "failed",
    }
    assert _failed(said) == {"partly", "bare", "away", "snakeless"}
    status, said = fleet.play("health.yml", "--limit", "good")
    assert (status, set(_rows(said).values())) == (0, {"ok"})


def test_check_mode_takes_no_backup_and_retention_expires(fleet):
    site = fleet.add("good", "app")
    fleet.make(site, "app")
    status, said = fleet.play("backup.yml", "--check", "--diff")
    assert not (site / "b").exists(), said
    assert status == 2  # There is no backup yet, and check mode makes none.
    assert fleet.play("backup.yml")[0] == 0
    status, said = fleet.play("retention.yml")
    assert status == 0 and "changed=0" in said
