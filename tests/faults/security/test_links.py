# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Root runs the engine in directories of an application that puts symbolic links there between two looks: whatever such
a link leads to stays as it is.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys

import at_event
import pytest
from asked import EVERYTHING
from engine import operations

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be led to what is not the application's")

STEP = 1 if EVERYTHING else 12
_MOST = 2000


def _operations(ground):
    """{name: what root does}; each has a backup made before."""
    where = {"backup_dir": str(ground.backups), "name": "app"}
    database = {"database": str(ground.database), **where}
    return {
        "backup online": lambda: operations.backup(**database, method="online"),
        "backup clone": lambda: operations.backup(**database, method="clone"),
        "backup vacuum": lambda: operations.backup(**database, method="vacuum", compression="gzip"),
        "restore in place": lambda: operations.restore(**database, force=True, strategy="in_place"),
        "restore by replacement": lambda: operations.restore(**database, force=True, strategy="replace"),
        "test": lambda: operations.restore(**database, test=True),
        "validate": lambda: operations.validate(**where),
        "drill": lambda: operations.drill(
            databases=[{"name": "app", "path": str(ground.database), "backup_dir": str(ground.backups)}],
            full_restore=True,
        ),
        "retention": lambda: operations.retention(**where, max_files=1, max_remove_percent=100, max_age=0),
    }


NAMES = (
    "backup online",
    "backup clone",
    "backup vacuum",
    "restore in place",
    "restore by replacement",
    "test",
    "validate",
    "drill",
    "retention",
)


def _prepare(ground):
    about = {"database": str(ground.database), "backup_dir": str(ground.backups), "name": "app"}
    for compression in ("none", "gzip"):  # What is packed is looked at in the scratch place.
        operations.backup(compression=compression, **about)
    with contextlib.closing(sqlite3.connect(ground.database)) as connection, connection:
        connection.execute("INSERT INTO t (word) VALUES ('since')")
    ground.keep()


def _swap(victim):
    """A strike: what the engine is about to use becomes a link to the victim's file."""

    def strike(path):
        if os.path.isdir(path) and not os.path.islink(path):
            return
        if os.path.lexists(path):
            os.rename(path, path + ".aside")
        os.symlink(victim, path)

    return strike


def _swap_state(ground):
    """A strike: the state directory becomes a link to the victim's directory."""

    def strike(_path):
        state = ground.backups / ".state"
        if state.is_dir() and not state.is_symlink():
            os.rename(state, ground.backups / ".aside")
        elif state.is_symlink():
            return
        os.symlink(ground.victim, state)

    return strike


def _swap_directory(ground):
    """A strike: the directory below the state directory that the engine is about to use becomes such a link."""
    state = str(ground.backups / ".state") + os.sep

    def strike(path):
        inner = state + path[len(state) :].split(os.sep)[0]
        if not path.startswith(state) or not (os.path.isdir(inner) or "scratch" in inner or "drill" in inner):
            return
        if os.path.lexists(inner):
            os.rename(inner, str(ground.backups / ".aside"))
        os.symlink(ground.victim, inner)

    return strike


def _sweep(ground, action, strike):
    """How many events were struck; the victim's directory is the same after each."""
    before = ground.victims()
    for struck, at in enumerate(range(1, _MOST, STEP)):
        answer = at_event.run(action, ground.app, at, strike)
        assert ground.victims() == before, f"event {at}: {answer}"
        ground.again()
        if answer["struck"] is None:
            assert answer["code"] == "ok", answer
            return struck
    raise AssertionError("the operation has no end")


_DIRECTORIES = {"state": _swap_state, "below state": _swap_directory}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("victim", ["victim.db", "victim.txt", *_DIRECTORIES])
def test_link_in_place_of_a_file_leads_root_nowhere(ground, tally, name, victim):
    _prepare(ground)
    swap_directory = _DIRECTORIES.get(victim)
    strike = swap_directory(ground) if swap_directory else _swap(str(ground.victim / victim))
    struck = _sweep(ground, _operations(ground)[name], strike)
    assert struck > 12 / STEP
    tally(f"links in place of a file, {name}", struck)


SWAPPER = """
import os, sys
directory, victim = sys.argv[1:]
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
print("ready", flush=True)
count = 0
while True:
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        try:
            if name.endswith(".aside") or os.path.islink(path) or os.path.isdir(path) or ".partial" not in name:
                continue
            os.rename(path, path + ".aside")
            os.symlink(victim, path)
            os.unlink(path)
            os.rename(path + ".aside", path)
        except OSError:
            pass
"""


@pytest.mark.parametrize("method", ["online", "clone"])
def test_process_that_swaps_as_fast_as_it_can_leads_root_nowhere(ground, tally, method):
    before, codes = ground.victims(), {}
    options = {"database": str(ground.database), "backup_dir": str(ground.backups), "name": "app"}
    words = [sys.executable, "-c", SWAPPER, str(ground.backups), str(ground.victim / "victim.db")]
    swapper = subprocess.Popen(words, stdout=subprocess.PIPE)
    try:
        assert swapper.stdout.readline() == b"ready\n"
        for _time in range(400 if EVERYTHING else 15):
            answer = at_event.run(lambda: operations.backup(method=method, **options), ground.app, 0, None)
            codes[answer["code"]] = codes.get(answer["code"], 0) + 1
            assert ground.victims() == before, answer
    finally:
        swapper.kill()
        swapper.communicate()
    tally(f"backups against a process that swaps, {method}", sum(codes.values()))
    # What is his he may destroy; the next backup is made as ever.
    last = operations.backup(method=method, **options)["backup"]["file"]
    operations.validate(backup_dir=str(ground.backups), name="app", backups=[last])


def test_sweep_sees_a_root_that_is_led_elsewhere(ground):
    """The checker itself: an engine that follows links is found out."""

    def follows():
        with open(ground.database, "r+b") as target:
            target.write(b"x")

    _prepare(ground)
    before = ground.victims()
    answer = at_event.run(follows, ground.app, 1, _swap(str(ground.victim / "victim.txt")))
    assert answer["struck"] and ground.victims() != before
