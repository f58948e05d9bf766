# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Each call that changes the disk fails once: a clear error or a whole success, and one whole content either way."""

from __future__ import annotations

import errno

import killing
import pytest
import scenes

# Every call of every scene, each in processes of its own: on the oldest and the newest Python (tools/unit.sh).
pytestmark = pytest.mark.sweep

# What an error of the disk may be called.
CODES = ("no_space", "io_error", "restore_failed", "rolled_back")


def points(scene):
    calls: list = []
    scene.put_up()
    result = killing.run(scene.act, scene.place, calls=calls)
    assert result.get("error_code") == scene.fails, result
    return len(calls)


@pytest.mark.parametrize("kind", scenes.ALL, ids=lambda kind: kind.__name__)
def test_disk_error_leaves_one_whole_content_and_says_what_failed(kind, at_every_point):
    def visit(scene, n):
        calls: list = []
        error = errno.ENOSPC if n % 2 else errno.EIO
        result = killing.run(scene.act, scene.place, fail_at=n, error=error, calls=calls)
        failed = calls[n - 1] if len(calls) >= n else "nothing"
        content = scene.content()
        if "error_code" in result:
            ended = kind is scenes.BackupOfDamaged and result["error_code"] == "verification_failed"
            assert ended or result["error_code"] in CODES, (failed, errno.errorcode[error], result)
            assert result["msg"].count(". ") >= 1
            told_old = result.get("rolled_back") or "everything is as it was" in result["msg"]
            assert not told_old or content == "old" or scene.old == scene.new, (failed, result)
        elif not kind.__name__.startswith(("Backup", "Retention")) and result["changed"]:
            assert content == "new", failed
        scene.check_catalog()
        scene.next_run()
        scene.check_tidy()
        scene.check_audit()

    at_every_point(kind, points, visit)
