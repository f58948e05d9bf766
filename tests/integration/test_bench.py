# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The benchmark of drills measures what it says that it does. The figures are the machine's: nobody asserts them."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.append(str(ROOT / "bench"))

import controller as measuring  # noqa: E402
import drills  # noqa: E402

MIB = 2**20
# It has touched so much memory, and its fork has the same pages.
TWO_WITH_80_MIB = """
import os, sys
block = bytearray(80 * 2**20)
child = os.fork()
if not child:
    print("ready", flush=True)
    sys.stdin.read()
    os._exit(0)
os.waitpid(child, 0)
"""
BUSY_FOR_A_SECOND = "import time\nwhile time.process_time() < 1: pass"


def test_watch_counts_what_forks_have_in_common_once():
    watch = measuring.Watch()
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", TWO_WITH_80_MIB], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        watch.look(process.pid)
        process.stdin.close()
    assert watch.play > 80 * MIB and watch.fork > 80 * MIB
    assert 80 * MIB < watch.together < 120 * MIB
    seen = (watch.play, watch.fork, watch.together)
    watch.look(process.pid)
    assert (watch.play, watch.fork, watch.together) == seen


def test_what_a_host_computes_is_not_the_controllers(tmp_path):
    common = {"ansible_connection": "local", "ansible_python_interpreter": str(measuring.python(tmp_path))}
    inventory, playbook = tmp_path / "inventory.json", tmp_path / "play.yml"
    inventory.write_text(json.dumps({"all": {"hosts": {"one": {}, "two": {}}, "vars": common}}))
    work = {"ansible.builtin.command": {"argv": [sys.executable, "-c", BUSY_FOR_A_SECOND]}}
    playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [work]}]))
    cost = measuring.run(inventory, playbook, 2)
    assert cost.processor - cost.controller > 1.99
    assert 0 < cost.controller < cost.processor


def test_a_run_that_fails_is_no_figure(tmp_path):
    measuring.python(tmp_path)
    inventory, playbook = tmp_path / "inventory.json", tmp_path / "play.yml"
    inventory.write_text("{}")
    playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [{"fail": {}}]}]))
    with pytest.raises(SystemExit, match="play.yml failed"):
        measuring.run(inventory, playbook, 1)


def test_every_database_of_every_host_is_drilled(tmp_path):
    inventory = drills.build(tmp_path, 2, 3)
    watch = measuring.Watch()
    measuring.run(inventory, ROOT / "playbooks" / "drill.yml", 2, watch)
    report = json.loads((tmp_path / "reports" / "latest" / "drill.json").read_text())
    rows = [row for host in report["hosts"] for row in host["databases"]]
    assert (len(report["hosts"]), len(rows), report["counts"]["passed"]) == (2, 6, 6)
    assert len({row["backup_dir"] for row in rows}) == 6
    assert all(row["backup"]["size_bytes"] > 10 * 10**6 for row in rows)
    assert watch.together >= max(watch.play, watch.fork) > 0


def test_each_limit_is_measured_by_size(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WORK", str(tmp_path))
    monkeypatch.setattr(drills, "LIMITS", {**drills.LIMITS, "memory": 10**6})
    drills.by_size([MIB])
    names, _line, limits, row, ends = capsys.readouterr().out.strip().splitlines()
    assert names == "| size | restore_test | full_restore | validation | memory |"
    assert limits == "| limit | 15.00 s | 60.00 s | 10.00 s | 1 MB |"
    assert row.startswith("| 1 MiB |") and row.endswith("(over) |")
    assert ends.startswith("| reached at |")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ([(MIB, 11.0), (2 * MIB, 20.0)], "less than 1 MiB"),
        ([(100 * MIB, 5.0), (200 * MIB, 15.0), (300 * MIB, 90.0)], "about 150 MiB"),
        ([(100 * MIB, 1.0), (200 * MIB, 2.0)], "1000 MiB, calculated"),
        ([(100 * MIB, 1.0), (1024 * MIB, 1.0)], "not by 20.0 GiB, as it grows"),
        ([(100 * MIB, 1.0), (200 * MIB, 1.1)], "not by 3.9 GiB, as it grows"),
    ],
)
def test_the_size_at_which_a_limit_is_reached(points, said):
    assert drills.reached(points, 10) == said
