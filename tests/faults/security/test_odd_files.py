# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A FIFO, a device, a directory, a socket, a link that leads nowhere or to itself, 100 MB of zeros, where the engine
expects a file of its own: a clear error or a warning, no hang, little memory, and nothing lost.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys

import grounds
import pytest
from asked import EVERYTHING

PATIENCE = 60
MOST_MEMORY_KB = 128 * 1024


def _fifo(path):
    os.mkfifo(path)


def _device(path):
    os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero, which has no end


def _directory(path):
    path.mkdir()
    (path / "inner").write_text("x")


def _socket(path):
    with socket.socket(socket.AF_UNIX) as made:
        here = os.getcwd()
        os.chdir(path.parent)  # A socket's name has at most 107 bytes.
        try:
            made.bind(path.name)
        finally:
            os.chdir(here)


def _dangling(path):
    path.symlink_to(path.parent / "nowhere" / "at all")


def _loop(path):
    path.symlink_to(path.name)


def _huge(path):
    with open(path, "wb") as made:
        made.truncate(100 * 1024 * 1024)


KINDS = {
    "fifo": _fifo,
    "device": _device,
    "directory": _directory,
    "socket": _socket,
    "dangling": _dangling,
    "loop": _loop,
    "huge": _huge,
}
# Where it is put, below the site: {backup} is the newest backup, .1 the one before stays as it is.
PLACES = {
    "manifest": "app/backups/{newest}.json",
    "backup": "app/backups/{newest}",
    "lock": "app/backups/.state/app.lock",
    "audit": "log/audit.jsonl",
    "config": "config.json",
    "notifications": "notifications.json",
    "state": "app/backups/.state",
    "journal": "app/.app.db.digitalme-restore",
    "staged": "app/.app.db.restore.partial",
    "partial": "app/backups/.app_20261122_020000.db.partial",
    "raw": "app/backups/app_pre_recovery_20261122_031500.damaged.json",
    "sidecar": "app/app.db-wal",
    "metrics": "metrics/digitalme_backup_app.prom",
}
COMMANDS = (
    ("list",),
    ("info", "latest"),
    ("validate",),
    ("test",),
    ("health",),
    ("statistics",),
    ("metrics",),
    ("audit",),
    ("retention", "--max-files", "1", "--max-age", "0", "--max-remove-percent", "100", "--min-keep", "2"),
    ("backup",),
    ("review",),
    ("drill",),
    ("run",),
    ("restore", "--force"),
    ("restore", "--undo", "--force"),
    ("restore", "--resume", "--force"),
)
# A bounded run asks one of these for each kind and place, in turn.
SOME = (("list",), ("backup",), ("run",), ("restore", "--force"))


@pytest.fixture(scope="module")
def prepared():
    """A configured host with two backups, and a copy of it."""
    with grounds.new() as ground:
        _configure(ground)
        yield ground
        shutil.rmtree(str(ground.root) + ".kept")


@pytest.fixture
def site(prepared):
    _again(prepared)
    return prepared


def _configure(ground):
    for place in ("log", "metrics"):
        (ground.root / place).mkdir()
    entry = {"name": "app", "path": str(ground.database), "backup_dir": str(ground.backups), "busy_timeout": 1}
    document = {
        "databases": [entry],
        "defaults": {"disk_limit_percent": 100},
        "audit_log": str(ground.root / "log" / "audit.jsonl"),
        "metrics_dir": str(ground.root / "metrics"),
    }
    (ground.root / "config.json").write_text(json.dumps(document))
    ground.config = {"DIGITALME_BACKUP_CONFIG": str(ground.root / "config.json")}
    for _time in range(2):
        done = ground.command("backup", "--json", environment=ground.config)
        assert done.returncode == 0, done.stdout + done.stderr
    ground.first, ground.newest = sorted(path.name for path in ground.backups.glob("app_*.db"))
    shutil.copytree(ground.root, str(ground.root) + ".kept", symlinks=True)


def _again(site):
    for path in site.root.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    shutil.copytree(str(site.root) + ".kept", site.root, symlinks=True, dirs_exist_ok=True)


def _put(path, kind):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()
    KINDS[kind](path)


# The memory of a process that was waited for, measured by itself.
_MEASURED = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:])
print("PEAK", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
raise SystemExit(done.returncode)
"""


def _run(site, words):
    """(finished process, peak memory in KiB) of a command; more than PATIENCE is a hang."""
    command = [sys.executable, "-c", _MEASURED, sys.executable, "-m", "engine", *words, "--json"]
    try:
        done = subprocess.run(
            command,
            env=site.environment(**site.config),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.fail(f"{words} hangs")
    return done, int(done.stderr.rpartition("PEAK ")[2])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_odd_file_gives_a_clear_answer_and_loses_nothing(site, tally, place, kind):
    where = site.root / PLACES[place].format(newest=site.newest)
    kept = (site.backups / site.first).read_bytes()
    rows = site.rows()
    turn = (list(KINDS).index(kind) + list(PLACES).index(place)) % len(SOME)
    asked = COMMANDS if EVERYTHING else SOME[turn : turn + 1]
    for words in asked:
        if place == "sidecar" and kind == "huge":
            continue  # An empty log of 100 MB is a log: SQLite's own matter.
        _put(where, kind)
        done, peak = _run(site, words)
        said = f"{place} {kind} {words}: {done.returncode} {done.stdout} {done.stderr}"
        assert "Traceback" not in done.stderr, said
        assert peak < MOST_MEMORY_KB, said
        answer = json.loads(done.stdout)
        if answer.get("error_code"):
            assert done.returncode != 0 and answer["msg"].count(". ") >= 1, said
            assert "defect" not in answer["error_code"], said
        if place == "sidecar":
            where.unlink() if not where.is_dir() or where.is_symlink() else shutil.rmtree(where)
        assert site.rows() == rows, said
        assert (site.backups / site.first).read_bytes() == kept, said
        assert (site.backups / f"{site.first}.json").exists(), said
        if place == "partial":
            pass  # It has the name of what is unfinished: removed, or left where it is a directory.
        elif place not in ("lock", "staged", "journal", "metrics", "notifications", "sidecar") and not done.returncode:
            assert os.path.lexists(where), said
        tally(f"{kind} in a file's place")
        _again(site)


def test_configuration_that_is_a_fifo_is_refused_by_name(site):
    """It was waited for without end."""
    _put(site.root / "config.json", "fifo")
    done, _peak = _run(site, ("list",))
    answer = json.loads(done.stdout)
    assert (answer["error_code"], done.returncode) == ("config_invalid", 2)
    assert "config.json" in answer["msg"] and "not a regular file" in answer["msg"]


def test_state_directory_that_is_a_link_is_named_and_not_followed(site, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.rmtree(site.backups / ".state")
    (site.backups / ".state").symlink_to(elsewhere)
    done, _peak = _run(site, ("backup",))
    answer = json.loads(done.stdout)
    assert done.returncode == 1 and ".state" in answer["msg"] and "link" in answer["msg"], answer
    assert list(elsewhere.iterdir()) == []
    assert pathlib.Path(site.backups / ".state").is_symlink()


def test_memory_is_measured(site):
    """The checker itself: what a process takes is seen."""
    command = [sys.executable, "-c", _MEASURED, sys.executable, "-c", "x = b'x' * (200 << 20)"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stderr.rpartition("PEAK ")[2]) > MOST_MEMORY_KB
