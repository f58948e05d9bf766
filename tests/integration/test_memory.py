# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an operation needs of memory does not grow with the database: 64 MiB for the command line, 100 for a module."""

from __future__ import annotations

import json
import os
import pathlib
import shlex
import subprocess
import sys

import pytest
import sample_app

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MEASURE = [sys.executable, "-I", "-S", str(ROOT / "tools" / "measure.py")]
MIB = 1024 * 1024
DATABASE_MIB = 200


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """A database that is larger than any limit here, and a place for its backups."""
    top = tmp_path_factory.mktemp("big")
    database = top / "shop.db"
    sample_app.create(str(database), mib=DATABASE_MIB)
    assert database.stat().st_size > 150 * MIB
    return str(database), str(top / "backups")


def damage_slightly(database):
    connection = sample_app.connect(database)
    connection.execute("UPDATE accounts SET note = 'changed since the backup' WHERE id = 1")
    connection.close()


def peaks(report):
    return [json.loads(line)["peak_bytes"] / MIB for line in report.read_text(encoding="ascii").splitlines()]


def test_measure_sees_the_memory_of_the_child_alone(tmp_path):
    report = tmp_path / "report"
    for size in (0, 80):
        subprocess.run([*MEASURE, report, sys.executable, "-c", f"b = bytearray({size} * 2**20)"], check=True)
    small, large = peaks(report)
    assert small < 40
    assert 75 < large - small < 85


def test_modules_stay_below_100_mib(controller, big, tmp_path):
    database, backup_dir = big
    report = tmp_path / "report"
    python = tmp_path / "python"
    measured = shlex.join([*map(str, MEASURE), str(report), sys.executable])
    python.write_text(f'#!/bin/sh\nexec {measured} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    tasks = [
        {"sqlite_backup": {"database": database}},
        {"sqlite_restore": {"test": True}},
        {"backup_validate": {}},
        {"sqlite_restore": {"database": database, "force": True}},
        {"backup_health": {"verify": "full"}},
    ]
    defaults = {"backup_dir": backup_dir, "name": "shop"}
    played = controller.play(tasks, defaults=defaults, interpreter=python)
    assert played.status == 0, played.output
    measured = peaks(report)
    assert len(measured) == len(tasks)
    assert max(measured) < 100, measured


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_command_line_stays_below_64_mib(big, tmp_path, compression):
    database, _backup_dir = big
    backup_dir = str(tmp_path / "backups")
    report = tmp_path / "report"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "plugins" / "module_utils"), "HOME": str(tmp_path)}

    def run(*arguments):
        command = [*MEASURE, report, sys.executable, "-m", "engine", *arguments, "--backup-dir", backup_dir, "--json"]
        subprocess.run(command, env=environment, check=True, capture_output=True)

    run("backup", "--database", database, "--compression", compression, "--disk-limit-percent", "100")
    damage_slightly(database)
    run("validate")
    run("test")
    run("restore", "--database", database, "--force")
    measured = peaks(report)
    assert len(measured) == 4
    assert max(measured) < 64, measured
