# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An operation that is stopped in the worst place, as by SIGSTOP or a machine that was suspended.

It stands before each of its calls that change the disk while another run of the name, a person who lists the backups
and an application come. The others wait and are told who holds the lock; the application either waits or commits; and
when the stopped one goes on, or is killed as it stands, the content is the old or the new, whole, with each transaction
of the application in it that had to survive.
"""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys

import killing
import pytest
import scenes
import stopping
from engine import catalog, errors, operations, processes

KINDS = (
    scenes.InPlace,
    scenes.InPlaceRollbackMode,
    scenes.Replace,
    scenes.ReplaceDamaged,
    scenes.RolledBackInPlace,
    scenes.RolledBackReplace,
    scenes.UndoReplace,
    scenes.Backup,
    scenes.BackupCompressed,
    scenes.Retention,
)
# What is rolled back takes with it what was committed on the content that did not pass.
ROLLED_BACK = (scenes.RolledBackInPlace, scenes.RolledBackReplace)
CI_POINTS = 8

# Commits two rows in one transaction and says whether it could; then closes, dies as it is, or stays and does it again
# when it is told.
APPLICATION = """
import os, signal, sqlite3, sys
path, how = sys.argv[1:]
def commit(word):
    try:
        c.execute("BEGIN IMMEDIATE")
        c.executemany("INSERT INTO t (word) VALUES (?)", [(f"later {word} {n}",) for n in range(2)])
        c.execute("COMMIT")
    except sqlite3.DatabaseError:
        if c.in_transaction:
            c.execute("ROLLBACK")
        return "refused"
    return "committed"
try:
    c = sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=0.05, isolation_level=None)
    said = commit("first")
except sqlite3.DatabaseError:
    said = "refused"
print(said, flush=True)
if how == "dies":
    os.kill(os.getpid(), signal.SIGKILL)
if how == "stays":
    sys.stdin.readline()
    print(commit("second"), flush=True)
"""


class Application:
    """``how``: it ``closes`` its connection, ``dies`` with it open, or ``stays`` and commits once more at the end."""

    def __init__(self, path, how):
        command = [sys.executable, "-c", APPLICATION, path, how]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.committed = {"first": self._heard()}
        if how != "stays":
            self.process.wait()

    def _heard(self):
        return self.process.stdout.readline() == b"committed\n"

    def end(self):
        """{transaction: whether it is committed, for all that the application knows}."""
        if self.process.poll() is None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.write(b"\n")
                self.process.stdin.flush()
            self.committed["second"] = self._heard()
        self.process.kill()
        self.process.communicate()
        return self.committed


class Visitors:
    """Those who come while the operation stands still."""

    def __init__(self, scene, how):
        self.scene, self.how = scene, how
        self.application: Application = None

    def __call__(self, pid):
        scene = self.scene
        said = processes.apart(lambda: _try_backup(scene))[0]
        allowed = (None, "busy", "database_busy", *(("not_a_database", "database_corrupt") if scene.damaged else ()))
        assert said["error_code"] in allowed, said
        if said.get("holder"):
            assert said["holder"]["pid"] == pid, "somebody else is said to hold the lock"
        statuses = {entry.status for entry in catalog.scan(scene.backups, "app")}
        assert statuses <= {"verified", "missing"}, "what is not finished is listed"
        self.application = Application(scene.path, self.how)


def _try_backup(scene):
    try:
        operations.backup(database=scene.path, backup_dir=scene.backups, busy_timeout=0.05, disk_limit_percent=100)
    except errors.BackupError as error:
        return {"error_code": error.error_code, "holder": error.details.get("holder"), "message": error.message}
    return {"error_code": None}


def judge(scene, committed):
    """``old`` or ``new``, after it was seen that every transaction is there whole or not at all, and none is lost."""
    try:
        found = scenes.rows(scene.path)["t"]
    except (sqlite3.DatabaseError, KeyError):
        return scene.content()  # A damaged one, of which the application could change nothing.
    later = {which: sum(row[1].startswith(f"later {which}") for row in found) for which in ("first", "second")}
    assert set(later.values()) <= {0, 2}, f"a part of a transaction: {later}"
    rest = [row for row in found if not row[1].startswith("later ")]
    (base, *_same) = [
        name
        for name, content in (("old", scene.old), ("new", getattr(scene, "new", None)))
        if isinstance(content, dict) and content.get("t") == rest
    ] or [None]
    assert base, f"neither the old content nor the new, but {len(rest)} rows from {rest[:1]} to {rest[-1:]}"
    if base == "old" and not isinstance(scene, ROLLED_BACK):
        assert later["first"] or not committed["first"], "the old content is there, and a transaction of it is not"
    assert later["second"] or not committed.get("second"), "a transaction from after the end is lost"
    return base


def visit(scene, point, how, then_kill):
    """One point: the operation is stopped there and visited, goes on or dies, and the next run settles it."""
    scene.put_up()
    visitors = Visitors(scene, how)
    with contextlib.suppress(killing.Killed):
        stopping.run(scene.act, scene.place, point, visitors, then_kill=then_kill, counts=counts)
    committed = visitors.application.end()
    before = judge(scene, committed)
    scenes.an_hour_later()
    try:
        operations.backup(database=scene.path, backup_dir=scene.backups, disk_limit_percent=100)
    except errors.BackupError:
        assert scene.damaged and before == "old"
        operations.restore(database=scene.path, backup_dir=scene.backups, force=True)
        before = "new"
    after = judge(scene, committed)
    assert after == before or isinstance(scene, ROLLED_BACK), "the next run has changed the content"
    assert not catalog.leftovers(scene.backups, "app") and scene.pending() is None
    scene.check_audit()


def counts(call):
    """What only makes durable is no place of its own."""
    return not call.startswith(("fsync", "fdatasync")) and not call.endswith("-shm")


def calls_of(scene):
    calls: list = []
    scene.put_up()
    killing.run(scene.act, scene.place, calls=calls, counts=counts)
    return calls


WAYS = [(how, then_kill) for how in ("closes", "dies", "stays") for then_kill in (False, True)]


def visit_all(scene, chosen):
    for point, (how, then_kill) in chosen:
        try:
            visit(scene, point, how, then_kill)
        except BaseException as error:
            raise AssertionError(f"stopped at point {point}, the application {how}, kill: {then_kill}") from error


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_operation_that_is_stopped_keeps_every_promise_when_it_goes_on_or_dies(kind, quick_place, everything):
    scene = kind(quick_place / "scene")
    total = len(calls_of(scene))
    if everything:
        chosen = [(point, way) for point in range(1, total + 1) for way in WAYS]
    else:
        # Spread over the whole operation, each way at other points.
        chosen = [(1 + i * total // CI_POINTS, WAYS[i % len(WAYS)]) for i in range(CI_POINTS)]
    visit_all(scene, chosen)


@pytest.mark.parametrize("way", WAYS[::2], ids=lambda way: way[0])
def test_whoever_comes_while_a_file_is_renamed_over_begins_with_neither(way, quick_place):
    """At every point of the swap: the log of an application that died would be replayed over the new content, and one
    that stays would write into a file that has no name any more.
    """
    scene = scenes.Replace(quick_place / "scene")
    swap = [
        point
        for point, call in enumerate(calls_of(scene), 1)
        if "/live/" in call and (call.startswith(("rename", "link")) or call.endswith("-restore"))
    ]
    assert len(swap) > 4
    visit_all(scene, [(point, way) for point in swap])
