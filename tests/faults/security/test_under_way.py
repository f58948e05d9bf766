# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Permissions are taken away in the middle of an operation: it fails cleanly or ends, the database is the old or the
new, and when all is as before the next run succeeds and tidies up.
"""

from __future__ import annotations

import os

import at_event
import pytest
from asked import EVERYTHING
from engine import operations

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="becomes an ordinary user")

STEP = 1 if EVERYTHING else 12
_MOST = 2000
USER = (at_event.NOBODY, at_event.NOBODY)


def _operations(ground):
    where = {"database": str(ground.database), "backup_dir": str(ground.backups), "name": "app"}
    kept = {"backup_dir": str(ground.backups), "name": "app"}
    return {
        "backup": lambda: operations.backup(**where, disk_limit_percent=100),
        "packed": lambda: operations.backup(**where, disk_limit_percent=100, compression="gzip"),
        "in place": lambda: operations.restore(**where, force=True, strategy="in_place"),
        "replace": lambda: operations.restore(**where, force=True, strategy="replace"),
        "retention": lambda: operations.retention(**kept, max_files=1, max_remove_percent=100, max_age=0),
    }


NAMES = ("backup", "packed", "in place", "replace", "retention")


def _prepare(ground):
    import sqlite3

    made = []
    for _time in range(2):
        at_event.run(_operations(ground)["backup"], ground.app, 0, None, user=USER)
    made = sorted(ground.backups.glob("app_*.db"))
    assert len(made) == 2
    old = ground.rows()
    with sqlite3.connect(ground.database) as connection:
        connection.execute("INSERT INTO t (word) VALUES ('since')")
    connection.close()
    return old, ground.rows()


def _check(ground, name, states, answer, mend, user=USER):
    """The database is whole; once what was taken away is given back, everything goes on."""
    mend()
    assert "Traceback" not in answer["said"]
    again = at_event.run(_operations(ground)["backup"], ground.app, 0, None, user=user)
    assert again["code"] == "ok", (answer, again)
    assert ground.rows() in states, answer
    assert ground.rows() == states[0] or name in ("backup", "packed", "retention") or answer["code"] != "ok"
    left = [path.name for path in (*ground.backups.iterdir(), *ground.app.iterdir()) if ".partial" in path.name]
    assert left == [], answer
    listed = operations.info(backup_dir=str(ground.backups), name="app")["backups"]
    # The manifest is removed last: that one whose backup is gone already is called missing is no lie.
    also = {"missing"} if name == "retention" else set()
    assert {"verified"} <= {row["status"] for row in listed} <= {"verified"} | also, (answer, listed)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", ["backups", "app"])
def test_directory_that_may_no_longer_be_written(ground, tally, name, place):
    states = _prepare(ground)
    ground.keep()
    directory = getattr(ground, place)
    mode = directory.stat().st_mode & 0o777
    for struck, at in enumerate(range(1, _MOST, STEP)):  # noqa: B007
        answer = at_event.run(
            _operations(ground)[name], ground.app, at, lambda _path: os.chmod(directory, 0o500), user=USER
        )
        _check(ground, name, states, answer, lambda: os.chmod(directory, mode))
        ground.again()
        if answer["struck"] is None:
            break
    assert struck > 10 / STEP
    tally(f"permissions that go, {name}", struck)
