# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""On filesystems that can share blocks, snapshots, staged copies and pre-restore backups share them."""

from __future__ import annotations

import contextlib
import os
import pathlib
import sqlite3
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.append(str(ROOT / "bench"))

import places  # noqa: E402
from engine import operations, snapshot  # noqa: E402

ROWS = 3000


@pytest.fixture(params=["xfs", "btrfs"])
def folder(request, tmp_path):
    """A folder on a new filesystem of that kind."""
    assert places.why_not(request.param) is None
    with places.filesystem(request.param, tmp_path, 400 * 2**20) as point:
        yield str(point)


pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a loop device needs root")


def _make(path):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB)")
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            "INSERT INTO t SELECT i, randomblob(3000) FROM n",
            (ROWS,),
        )


def _shared(path):
    """How many extents of a file the filesystem says are shared."""
    os.sync()
    said = subprocess.run(["filefrag", "-v", path], capture_output=True, text=True, check=True).stdout
    return said.count("shared")


def test_backup_test_and_restore_share_blocks(folder, tmp_path):
    live, backups = os.path.join(folder, "app.db"), os.path.join(folder, "backups")
    _make(live)
    where = {"backup_dir": backups, "name": "app"}
    application = sqlite3.connect(live, isolation_level=None)
    application.execute("UPDATE t SET body = 'in the log' WHERE id = 7")
    made = operations.backup(database=live, disk_limit_percent=100, **where)["backup"]
    assert made["method"] == "clone" and made["method_reason"].endswith("by reflink")
    assert made["verification"]["status"] == "ok" and _shared(made["path"]) > 0
    assert operations.restore(test=True, **where)["recoverable"]
    application.execute("DELETE FROM t WHERE id > 10")
    application.close()
    done = operations.restore(database=live, force=True, strategy="replace", **where)
    assert done["changed"] and done["pre_restore_backup"]
    with contextlib.closing(sqlite3.connect(live)) as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (ROWS,)
        assert connection.execute("SELECT body FROM t WHERE id = 7").fetchone() == ("in the log",)
    assert _shared(live) > 0, "the restored file shares its blocks with the backup"


def test_backup_to_another_filesystem_is_copied(folder, tmp_path):
    live = os.path.join(folder, "app.db")
    _make(live)
    target = tmp_path / "copy.db"
    target.touch()
    taken = snapshot.take(live, str(target), "clone")
    assert taken.method == "clone" and not taken.reason.endswith("reflink")
    with contextlib.closing(sqlite3.connect(target)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (ROWS,)
