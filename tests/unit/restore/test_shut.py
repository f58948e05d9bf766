# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who uses SQLite is kept out of a file that is shut, and it is seen whether anybody wrote to one."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys

import pytest
from engine import errors
from engine.restore import shut as room
from engine.restore import swap

pytestmark = pytest.mark.skipif(
    not room.CAN_SHUT, reason="locks of open files are Linux's (Python names them since 3.9)"
)
_TRIES = """
import sqlite3, sys
try:
    sqlite3.connect(sys.argv[1], timeout=0).execute("INSERT INTO t VALUES (2)").connection.commit()
except sqlite3.OperationalError as error:
    print(error)
"""
_HOLDS = """
import sys
with open(sys.argv[1], "rb"):
    print("open", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=["wal", "delete"])
def path(request, tmp_path):
    path = str(tmp_path / "app.db")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"PRAGMA journal_mode={request.param}; CREATE TABLE t (a); INSERT INTO t VALUES (1)")
    return path


def _said(path):
    return subprocess.run([sys.executable, "-c", _TRIES, path], capture_output=True, text=True, check=True).stdout


def test_nobody_writes_into_a_file_while_it_is_shut_and_everybody_afterwards(path):
    with room.shut(path):
        assert "locked" in _said(path)
    assert _said(path) == ""


def test_lock_outlives_other_descriptors_of_the_file(path):
    """Those of POSIX would be dropped with any of them."""
    with room.shut(path):
        with open(path, "rb"):
            pass
        assert "locked" in _said(path)


def test_file_in_which_somebody_works_cannot_be_shut(path):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("INSERT INTO t VALUES (3)")
        with pytest.raises(errors.DatabaseBusy), room.shut(path):
            raise AssertionError("it was shut")
        other.execute("COMMIT")


def test_file_that_is_not_there_is_no_obstacle(tmp_path):
    with room.shut(str(tmp_path / "none.db")):
        pass


def test_file_without_a_name_stays_shut_until_its_last_user_has_closed_it(path, monkeypatch):
    user = subprocess.Popen(
        [sys.executable, "-c", _HOLDS, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    waits = []

    def wait(_seconds):
        waits.append(user.poll())
        user.stdin.close()
        user.wait(30)

    monkeypatch.setattr(room.clock, "sleep", wait)
    try:
        assert user.stdout.readline() == "open\n"
        with room.shut(path):
            os.unlink(path)
    finally:
        user.stdin.close()
        user.wait(30)
    assert waits[:1] == [None], "it was opened while it had a user"


def test_file_watch_sees_whether_others_wrote(path):
    watch = swap.FileWatch(path)
    assert not watch.others_wrote()
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("SELECT count(*) FROM t").fetchall()
        assert not watch.others_wrote(), "to read is not to write"
        other.execute("INSERT INTO t VALUES (4)")
        other.commit()
        assert watch.others_wrote()


def test_file_watch_sees_a_file_that_is_gone_or_another(path):
    watch = swap.FileWatch(path)
    os.rename(path, path + ".old")
    assert watch.others_wrote()
    with open(path + ".old", "rb") as source, open(path, "wb") as target:
        target.write(source.read())
    assert watch.others_wrote()
