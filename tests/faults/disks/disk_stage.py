# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The stages of the system calls' tests, with the directory of the backups or of the database on a `volumes.Volume`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import traceback

import stages
import tracing
from asked import EVERYTHING

BACKUPS, LIVE = "backups", "live"
NO_ROOM = ("no_space", "rolled_back")
SHOWN = 3
_LONGEST = 120


class BackupZstd(stages.Backup):
    mode = "wal"
    words = (
        *("backup", "--database", "{database}", "--backup-dir", "{backups}"),
        *("--method", "clone", "--compression", "zstd", "--disk-limit-percent", "100"),
    )

    def brought(self, path):
        if not path.endswith(".zst"):
            return super().brought(path)
        with tempfile.TemporaryDirectory(dir=self.base) as directory:
            plain = os.path.join(directory, "plain.db")
            subprocess.run(["zstd", "-q", "-d", path, "-o", plain], check=True)
            return super().brought(plain)


def _unlimited(kind):
    """A full disk is to be met while it is written, not foreseen by the limit."""
    if kind.words[0] != "backup" or "--disk-limit-percent" in kind.words:
        return kind
    return type(kind.__name__, (kind,), {"words": (*kind.words, "--disk-limit-percent", "100")})


STAGES = {kind.__name__: _unlimited(kind) for kind in (*stages.ALL, BackupZstd)}


def stage_on(volume, name, part, base):
    """A stage of that name whose ``part`` lies on the volume."""

    class Stage(STAGES[name]):
        def put_up(self):
            volume.clear()
            super().put_up()
            source, target = os.path.join(self.place, part), os.path.join(volume.files, part)
            shutil.move(source, target)
            os.symlink(target, source)
            self._owned()

        def call(self, **options):
            return subprocess.run(
                self.command(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=_LONGEST,
                **{**self.surroundings, **options},
            )

    Stage.__name__ = name
    stage = Stage(base)
    stage.volume, stage.watched = volume, str(volume.files)
    return stage


def aims(stage, below, chooser, most):
    """The calls of the stage's command that change something below a directory: all, or ``most`` of them by chance."""
    found = list(dict.fromkeys(aim for aim, _fault in tracing.points(stage.recorded(), below)))
    return found if EVERYTHING else chooser.sample(found, min(most, len(found)))


def settled(stage, done, lines):
    """What was not as it must be after the command, or None; then the next ordinary run succeeds and is tidy."""
    try:
        stage.settled(done, lines)
    except BaseException:
        return f"{traceback.format_exc()}\n{done.returncode} {done.stdout} {done.stderr}"
    return None


def wrong_error(stage, done, codes):
    """What is wrong with how a command failed: it says one of these codes, and names the file that has no room."""
    if done.returncode == 0:
        return None
    if stage.command()[3] == "retention" and stage.volume.kind != "btrfs" and codes == NO_ROOM:
        return f"retention frees room, and a full disk has stopped it: {done}"
    if done.returncode == -signal.SIGBUS:
        return None  # SQLite maps the -shm; where its page gets no room in that moment, the kernel ends the program.
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        return f"no answer: {done}"
    code, told = answer["error_code"], answer["msg"]
    # SQLite says "disk I/O error" where a quota or a limit is reached, and where the -shm finds no room.
    by_sqlite = code == "io_error" and ("quotas" in told or "inodes" in told)
    by_sqlite = by_sqlite or (code == "usage" and "disk I/O error" in told)
    if code not in codes and not by_sqlite:
        return f"{code} is none of {codes}: {told}"
    named = str(stage.volume.point) in told or "File too large" in told
    return None if named or by_sqlite else f"the file that has no room is not named: {told}"


def report(failures, tried):
    """Fail with the first of what went wrong, each said as a text."""
    assert tried
    assert not failures, f"{len(failures)} of {tried}; the first:\n" + "\n\n".join(failures[:SHOWN])
