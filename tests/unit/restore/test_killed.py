# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Killed before each call that changes the disk: the old content or the new, whole, and the next run tidies up."""

from __future__ import annotations

import contextlib
import itertools

import killing
import pytest
import scenes
from engine import errors

# Every call of every scene, each in processes of its own: on the oldest and the newest Python (tools/unit.sh).
pytestmark = pytest.mark.sweep

IDS = [kind.__name__ for kind in scenes.ALL]


def lasts(call):
    """A kill loses nothing that was written, so what only makes it durable is no point of its own."""
    return not call.startswith(("fsync", "fdatasync")) and not call.endswith("-shm")


def points(scene, counts=lasts):
    """How many calls change the disk when nobody kills."""
    calls: list = []
    scene.put_up()
    result = killing.run(scene.act, scene.place, calls=calls, counts=counts)
    assert result.get("error_code") == scene.fails, result
    scene.content()
    scene.check_tidy()
    return len(calls)


def kill(scene, n, counts=lasts):
    """Run the scene's operation, killed at point n; what is left is whole."""
    with contextlib.suppress(killing.Killed):
        killing.run(scene.act, scene.place, kill_at=n, counts=counts)
    scene.check_catalog()
    return scene.content()


@pytest.mark.parametrize("kind", scenes.ALL, ids=IDS)
def test_kill_leaves_one_whole_content_and_the_next_run_settles_it(kind, at_every_point):
    def visit(scene, n):
        kill(scene, n)
        scene.next_run()
        scene.check_audit()
        scene.check_tidy()

    at_every_point(kind, points, visit)


def swaps(call):
    """The calls by which a swap goes on: names that change beside the database, and what the journal says."""
    verb, path = call.split(" ", 1)
    if "/live/" not in path or path.endswith("-shm"):
        return False
    return verb in ("rename", "linkat", "unlink") or (verb in ("write", "ftruncate") and path.endswith("-restore"))


@pytest.mark.parametrize(
    "kind", (scenes.ReplaceDamaged, scenes.RolledBackDamaged, scenes.RolledBackInPlace), ids=lambda kind: kind.__name__
)
def test_kill_of_the_run_that_settles_leaves_one_whole_content(kind, at_every_point):
    """Killed while it swaps, and the run that settles that is killed at each of its own points, too."""

    def settle(scene):
        with contextlib.suppress(errors.BackupError):
            scene.back_up()

    def visit(scene, n):
        for second in itertools.count(1):
            scene.put_up()
            kill(scene, n, swaps)
            if scene.pending() is None:
                return second
            try:
                killing.run(lambda: settle(scene), scene.place, kill_at=second, counts=swaps)
            except killing.Killed:
                scene.next_run()
                scene.check_tidy()
            else:
                return second
        return None

    at_every_point(kind, lambda scene: points(scene, swaps), visit)
