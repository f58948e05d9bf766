# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The power goes at any moment, on a disk that keeps only what was synced and mixes up all the rest (`disk`).

An operation is done once, and every system call that changes a file is written down. Each moment leaves many possible
disks; on each of them nothing is lost or mixed, what the operation had said is so, and the next run goes on from there.
Only the moments just before something is synced are tried, and the last: what could get lost before is among what can
get lost then. ``FAULTS=all`` tries many disks for each, otherwise a few; ``FAULTS_SEED`` chooses others.
"""

from __future__ import annotations

import os
import random
import shutil
import traceback

import disk
import outages
import pytest
import recording
from asked import EVERYTHING, SEED

# Disks that are chosen at random for each moment, beside the plain ones; in all of one scene.
AT_RANDOM, OF_SCENE = (20, None) if EVERYTHING else (4, 55)

WHY_NOT = recording.obstacle()
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))


def recorded(scene):
    """(the disk before, the events, the view before and after) of the scene's operation."""
    scene.put_up()
    before = outages.view(scene)
    words, options = outages.command(scene)
    done, first, events = recording.record(words, scene.place, os.path.join(scene.base, "calls"), **options)
    assert done.returncode == 0 and ("told",) in events, (done.stdout, done.stderr)
    return first, events, before, outages.view(scene)


def moments(first, events):
    """The disk before each event by which less can get lost, and at the end."""
    now = first.copy()
    for event in events:
        if now.loses(event):
            yield now
        now.apply(event)
    yield now


def disks(now, chosen):
    """States that the disk may be in after the power went: the plain ones, each name alone, and some at random."""
    names = now.names_pending()
    for some in (names, ()):
        for data in (disk.everything, disk.nothing, disk.size_only):
            yield now.left(set(some), data)
    for name in names:
        for some in ({name}, set(names) - {name}):
            yield now.left(some, disk.everything)
            yield now.left(some, disk.nothing)
    for _nth in range(AT_RANDOM):
        likely = chosen.choice((0.2, 0.5, 0.8))
        some = {name for name in names if chosen.random() < likely}
        yield now.left(some, disk.some(chosen))


def different(first, events, chosen):
    """[(number of the moment, whether it was told, state)], each state once for told and not told."""
    found, seen = [], set()
    for nth, now in enumerate(moments(first, events)):
        for state in disks(now, chosen):
            key = (now.told, disk.digest(state))
            if key not in seen:
                seen.add(key)
                found.append((nth, now.told, state))
    return found


@pytest.mark.parametrize("kind", outages.ALL, ids=lambda kind: kind.__name__)
def test_what_is_written_down_is_all_that_was_done(kind, quick_place):
    """All calls done again give, byte for byte, the disk that is there."""
    scene = kind(quick_place)
    first, events, _before, _after = recorded(scene)
    for event in events:
        first.apply(event)
    again = first.left(set(first.names_pending()), disk.everything)
    there = disk.there(scene.place)
    assert set(again) == set(there)
    for name, (mode, content) in there.items():
        expected = again[name][:2]
        if name.endswith(b"-shm"):
            continue
        assert expected[1] == content, name
        assert first.nodes[again[name][2]].mode == mode, name


@pytest.mark.parametrize("kind", outages.ALL, ids=lambda kind: kind.__name__)
def test_power_loss_leaves_old_or_new_and_what_was_said(kind, quick_place, tally):
    scene = kind(quick_place)
    chosen = random.Random(f"{kind.__name__} {SEED}")
    first, events, before, after = recorded(scene)
    states = different(first, events, chosen)
    count = states[-1][0] + 1
    assert states[-1][1], "the end was not reached"
    if OF_SCENE and len(states) > OF_SCENE:
        states = chosen.sample(states, OF_SCENE)
    failures = []
    for nth, told, state in states:
        try:
            lose_power(scene, state)
            outages.check(scene, told, before, after)
            outages.go_on(scene)
        except Exception:
            failures.append(f"at moment {nth} of {count}, told: {told}\n{shown(state)}\n{traceback.format_exc()}")
    assert not failures, f"{len(failures)} of {len(states)} disks were not survived; the first:\n{failures[0]}"
    tally(kind.__name__, count, len(states))


def lose_power(scene, state):
    scene.put_up()
    shutil.rmtree(scene.place)
    disk.write(state, scene.place)


def shown(state):
    files = ((name, content) for name, (_mode, content, _number) in sorted(state.items()) if content is not None)
    return "\n".join(f"  {os.fsdecode(name)}: {len(content)} bytes" for name, content in files)


def test_disk_loses_what_was_not_synced(tmp_path):
    """The model itself: a file's bytes and its name are lost each by itself, and kept after their own sync."""
    now = disk.Disk.read(str(tmp_path))
    for event in (("new", 1, 0o600), ("bind", disk.ROOT, b"a", 1), ("write", 1, 0, b"x" * 1500)):
        now.apply(event)
    name = set(now.names_pending())
    assert b"a" not in now.left((), disk.everything)
    assert now.left(name, disk.nothing)[b"a"][1] == b""
    assert now.left(name, disk.size_only)[b"a"][1] == bytes(1500)
    torn = {now.left(name, disk.some(random.Random(seed)))[b"a"][1] for seed in range(200)}
    assert b"x" * 512 + bytes(512) + b"x" * 476 in torn
    now.apply(("sync", 1))
    assert b"a" not in now.left((), disk.nothing)
    assert now.left(name, disk.nothing)[b"a"][1] == b"x" * 1500
    now.apply(("sync", disk.ROOT))
    now.apply(("move", disk.ROOT, b"a", b"b", 1))
    assert set(now.left((), disk.nothing)) == {b"", b"a"}
    assert set(now.left(set(now.names_pending()), disk.nothing)) == {b"", b"b"}
