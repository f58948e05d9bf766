# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import os
import subprocess
import sys

import pytest
from engine import processes

HOLD = "import sys; f = open(sys.argv[1]); print('ready', flush=True); sys.stdin.read()"


@pytest.fixture
def path(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    return str(tmp_path / "file")


def test_holders_names_another_process_that_has_the_file_open(path, child):
    process = child(HOLD, path)
    process.stdout.readline()
    found, _unseen = processes.holders([path])
    assert [row["pid"] for row in found] == [process.pid]
    assert found[0]["command"] == processes.command(process.pid) != ""
    assert f"pid {process.pid} (" in processes.describe(found)


def test_holders_sees_through_another_name_of_the_file(path, child):
    os.link(path, path + "2")
    process = child(HOLD, path + "2")
    process.stdout.readline()
    assert [row["pid"] for row in processes.holders([path])[0]] == [process.pid]


def test_holders_leaves_out_this_process_and_files_that_are_not_there(path):
    with open(path, "rb"):
        assert processes.holders([path, path + "-wal"])[0] == []


def test_holders_counts_the_processes_that_it_may_not_look_into(path, as_nobody):
    def look():
        found, unseen = processes.holders([path])
        return [len(found), unseen]

    found, unseen = as_nobody(look)
    assert found == 0 and unseen > 0


def test_command_leaves_arguments_out():
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()", "secret"], stdin=subprocess.PIPE)
    try:
        assert "secret" not in processes.command(process.pid)
    finally:
        process.communicate()
