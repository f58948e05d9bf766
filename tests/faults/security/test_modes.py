# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files have their final mode from the start, under any umask: seen from outside, by strace."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

import at_event
import pytest
from asked import EVERYTHING

UMASKS = (0o000, 0o022, 0o077, 0o777) if EVERYTHING else (0o000, 0o777)
_MADE = re.compile(r'open(?:at)?\((?:[^,"]*, )?"((?:[^"\\]|\\.)*)", [A-Z_|]*O_CREAT[A-Z_|]*, (0\d*)')
_DIRECTORY = re.compile(r'mkdir(?:at)?\((?:[^,"]*, )?"((?:[^"\\]|\\.)*)", (0\d*)')
_CHANGED = re.compile(r'(?:chmod|fchmodat)\((?:AT_FDCWD, )?"((?:[^"\\]|\\.)*)", (0\d+)')
_CHANGED_OPEN = re.compile(r"fchmod\(\d+<((?:[^>\\]|\\.)*)>, (0\d+)")
_CALLS = "trace=open,openat,creat,mkdir,mkdirat,chmod,fchmod,fchmodat,mknod,mknodat"


@pytest.fixture
def traced(ground):
    """traced(umask, words) -> [(path, mode, whether it is a directory, call)] of all below the ground that was made or
    changed.
    """
    strace = shutil.which("strace")
    assert strace, "strace is needed (Debian's package strace)"

    def run(umask, *words):
        log = ground.root / "trace"
        command = [strace, "-f", "-qq", "-y", "-s", "4096", "-e", _CALLS, "-o", str(log)]
        command += [sys.executable, "-m", "engine", *map(str, words)]
        done = subprocess.run(
            command,
            env=ground.environment(DIGITALME_BACKUP_CONFIG=str(ground.root / "config.json")),
            preexec_fn=lambda: os.umask(umask),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return _found(log.read_text(errors="replace"), ground.root)

    return run


def _found(trace, below):
    found, directories = [], set()
    for line in trace.splitlines():
        for pattern in (_MADE, _DIRECTORY, _CHANGED, _CHANGED_OPEN):
            match = pattern.search(line)
            # Relative names are those of a directory descriptor, whose path -y shows.
            if match and (match.group(1).startswith(str(below)) or not match.group(1).startswith("/")):
                base = os.path.basename(match.group(1))
                directories |= {base} if pattern is _DIRECTORY else set()
                found.append((match.group(1), int(match.group(2), 8), base in directories, line))
    return found


def _allowed(path, ground, directory):
    """The widest mode that a path may have for a moment."""
    base = os.path.basename(path)
    if base.endswith((".prom", ".prom.partial")) or ".prom." in base:
        return 0o644  # The exporter is another user.
    if path == str(ground.root / "new"):
        return 0o755  # Above the backup directory, where it was missing.
    return 0o700 if directory else 0o600


@pytest.mark.parametrize("umask", UMASKS, ids=lambda umask: f"{umask:03o}")
@pytest.mark.parametrize("mode", ["wal", "delete"] if EVERYTHING else ["wal"])
def test_nothing_of_ours_can_be_read_by_others_for_a_moment(ground, traced, tally, umask, mode):
    import sqlite3

    connection = sqlite3.connect(ground.database)
    connection.execute(f"PRAGMA journal_mode={mode}")
    connection.execute("INSERT INTO t (word) VALUES ('kept open, so that there is a log')")
    connection.commit()
    ground.database.chmod(0o600)
    metrics = ground.root / "metrics"
    metrics.mkdir()
    backups = ground.root / "new" / "inner"
    entry = {"name": "app", "path": str(ground.database), "backup_dir": str(backups)}
    settings = {"disk_limit_percent": 100, "retention": {"max_files": 2, "max_remove_percent": 100}}
    document = {"databases": [entry], "metrics_dir": str(metrics), "defaults": settings}
    (ground.root / "config.json").write_text(json.dumps(document))
    seen = []
    seen += traced(umask, "backup", "--method", "online")
    seen += traced(umask, "backup", "--method", "clone", "--compression", "gzip")
    seen += traced(umask, "run", "--fail-on", "never")
    seen += traced(umask, "validate")
    seen += traced(umask, "test")
    seen += traced(umask, "drill", "--full-restore", "--fail-on", "never")
    seen += traced(umask, "restore", "--force", "--strategy", "in_place")
    connection.close()
    seen += traced(umask, "restore", "--force", "--strategy", "replace")
    seen += traced(umask, "retention", "--max-files", "1", "--max-age", "0")
    assert len(seen) > 40
    for path, given, directory, line in seen:
        assert given & ~_allowed(path, ground, directory) == 0, line
    for path in (backups, *backups.rglob("*")):
        wanted = 0o700 if path.is_dir() else 0o600
        assert path.stat().st_mode & 0o777 == wanted, path
    assert ground.database.stat().st_mode & 0o777 == 0o600
    assert {path.stat().st_mode & 0o777 for path in metrics.iterdir()} == {0o644}
    tally(f"calls that make a file or change its mode, umask {umask:03o}", len(seen))


def test_trace_that_shows_a_file_for_all_to_read_is_noticed(ground):
    """The checker itself."""
    line = f'1 openat(AT_FDCWD</x>, "{ground.backups}/app_20261122_020000.db", O_RDWR|O_CREAT|O_EXCL, 0644) = 5</x>'
    ((path, given, directory, _line),) = _found(line, ground.root)
    assert given & ~_allowed(path, ground, directory)
    line = f"1 fchmod(5<{ground.backups}/.app_20261122_020000.db.partial>, 0640) = 0"
    ((path, given, directory, _line),) = _found(line, ground.root)
    assert given & ~_allowed(path, ground, directory)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes an ordinary user")
@pytest.mark.parametrize("umask", UMASKS, ids=lambda umask: f"{umask:03o}")
def test_ordinary_user_works_under_any_umask(ground, umask):
    """Root may open what has no rights; an ordinary user could not open again what his umask has shut."""
    from engine import operations

    def work():
        os.umask(umask)
        where = {"database": str(ground.database), "backup_dir": str(ground.backups), "name": "app"}
        for method in ("online", "clone"):
            operations.backup(method=method, **where)
        operations.backup(compression="gzip", **where)
        operations.restore(test=True, **where)
        operations.validate(backup_dir=str(ground.backups), name="app")
        operations.restore(force=True, **where)
        operations.retention(backup_dir=str(ground.backups), name="app", max_files=1, max_remove_percent=100)

    answer = at_event.run(work, ground.app, 0, None, user=(at_event.NOBODY, at_event.NOBODY))
    assert answer["code"] == "ok", answer
    for path in (ground.backups, *ground.backups.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
