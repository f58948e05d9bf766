# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import os
import select
import signal
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


def test_child_of_our_own_answers_with_plain_data():
    parent = os.getpid()
    assert processes.apart(lambda: {"pid": os.getpid() != parent, "parent": os.getppid() == parent}) == (
        {"pid": True, "parent": True},
        None,
    )


def test_child_of_our_own_that_is_killed_is_told_by_its_signal():
    assert processes.apart(lambda: os.kill(os.getpid(), signal.SIGKILL)) == (None, signal.SIGKILL)


@pytest.mark.parametrize("value", [{1, 2}, b"bytes"])
def test_defect_in_a_child_of_our_own_is_raised_with_its_traceback(value):
    with pytest.raises(RuntimeError, match="ZeroDivisionError") as caught:
        processes.apart(lambda: 1 // 0)
    assert "test_processes.py" in str(caught.value)
    with pytest.raises(RuntimeError, match="not JSON serializable"):
        processes.apart(lambda: value)


def test_child_of_our_own_does_not_outlive_an_interrupt(tmp_path):
    parent = os.getpid()

    def hang():
        (tmp_path / "pid").write_text(str(os.getpid()))
        # Again and again: one that comes before the parent waits would not end its waiting.
        while os.getppid() == parent:
            os.kill(parent, signal.SIGUSR1)
            select.select([], [], [], 0.01)

    def interrupt(*_arguments):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            processes.apart(hang)
    finally:
        signal.signal(signal.SIGUSR1, before)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
