# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Full disks: real ones, with so much left, or filled by another program just after any call; no names left; a quota
(btrfs: EDQUOT); a limit on the size of files (EFBIG).

``FAULTS=all`` tries every call of every stage, otherwise a sample: ``FAULTS_SEED`` chooses another.
"""

from __future__ import annotations

import random
import resource

import disk_stage
import pytest
import tracing
import volumes
from asked import EVERYTHING, SEED

# Calls of each stage after which another program fills the disk, in the sample.
SAMPLED = 2
# Bytes that are left: nothing, a few blocks, less than the database, about as much, a little more, and so on.
LEVELS = (0, 4096, 16384, 32768, 65536, 98304, 131072, 196608, 262144, 524288, 1 << 20, 4 << 20)
LIMITS = (4096, 8192, 16384, 24576, 32768, 49152, 65536, 98304, 131072, 1 << 20)
if not EVERYTHING:
    LEVELS, LIMITS = (0, 98304, 4 << 20), (4096, 24576, 1 << 20)
NO_ROOM = disk_stage.NO_ROOM

PLACES = (
    *(
        ("ext4", name, disk_stage.BACKUPS)
        for name in ("BackupWalClone", "BackupZstd", "Retention", "RestoreWalReplace")
    ),
    *(("ext4", name, disk_stage.LIVE) for name in ("RestoreWalInPlace", "RestoreRollbackReplace")),
    ("xfs", "RestoreRollbackInPlace", disk_stage.LIVE),
    ("btrfs", "BackupWalOnlineGzip", disk_stage.BACKUPS),
    ("tmpfs", "BackupRollbackOnline", disk_stage.BACKUPS),
)
if EVERYTHING:
    PLACES = tuple(
        (kind, name, part)
        for kind in ("ext4", "xfs", "btrfs", "tmpfs")
        for name in disk_stage.STAGES
        # It has no directory yet that could lie on another disk; the large one is for a call that takes no room.
        if name not in ("BackupFirst", "BackupLarge")
        for part in ((disk_stage.BACKUPS, disk_stage.LIVE) if name.startswith("Restore") else (disk_stage.BACKUPS,))
    )


@pytest.fixture
def stage(request, quick_place):
    """The stage of the parameters (kind of filesystem, name of the stage, part that lies on it, more)."""
    kind, name, part, *more = request.param
    why = volumes.why_not(kind)
    if why:
        pytest.skip(why)
    with volumes.volume(kind, quick_place, *more) as volume:
        yield disk_stage.stage_on(volume, name, part, quick_place / "base")


def _ids(row):
    return "-".join(map(str, row))


def _judged(stage, done, lines, codes):
    return disk_stage.wrong_error(stage, done, codes) or disk_stage.settled(stage, done, lines)


@pytest.mark.parametrize("stage", PLACES, ids=_ids, indirect=True)
def test_disk_with_so_much_left(stage, tally):
    """From nothing on, until it succeeds; and twice: what failed for want of room has taken none."""
    failures, tried, done = [], 0, None
    for left in LEVELS:
        stage.put_up()
        lines = stage.audit_lines()
        stage.volume.fill(left)
        done = stage.call()
        again = stage.call() if done.returncode > 0 else done  # One that the kernel has ended is settled below.
        stage.volume.relieve()
        wrong = disk_stage.wrong_error(stage, again, NO_ROOM) or _judged(stage, done, lines, NO_ROOM)
        tally(f"{stage.volume.kind}, so much left", wrong is None)
        tried += 1
        if wrong:
            failures.append(f"{left} bytes left:\n{wrong}")
        if done.returncode == 0:
            break
    assert done.returncode == 0, "there was never enough room"
    disk_stage.report(failures, tried)


@pytest.mark.skipif(tracing.obstacle() is not None, reason=str(tracing.obstacle()))
@pytest.mark.parametrize("stage", PLACES, ids=_ids, indirect=True)
def test_disk_that_is_filled_meanwhile(stage, tally):
    """It stands still just after the call, all room is taken, and it goes on."""
    chooser = random.Random(f"{SEED} {type(stage).__name__} {stage.volume.kind}")
    chosen = disk_stage.aims(stage, stage.watched, chooser, SAMPLED)
    failures = []
    for aim in chosen:
        left = chooser.choice((0, 0, 4096))
        stage.put_up()
        lines = stage.audit_lines()
        done, stopped = tracing.halt(
            stage.command(), stage.log, aim, lambda left=left: stage.volume.fill(left), **stage.surroundings
        )
        stage.volume.relieve()
        wrong = _judged(stage, done, lines, NO_ROOM) or (None if stopped else "the call was not made again")
        tally(f"{stage.volume.kind}, filled meanwhile", wrong is None)
        if wrong:
            failures.append(f"after {aim}, {left} bytes left:\n{wrong}")
    disk_stage.report(failures, len(chosen))


NAMES_TAKEN = (
    *(("ext4", name, disk_stage.BACKUPS, 64) for name in ("BackupRollbackOnlineGzip", "Retention")),
    *(("ext4", name, disk_stage.LIVE, 64) for name in ("RestoreRollbackInPlace", "RestoreWalReplace")),
)


@pytest.mark.parametrize("stage", NAMES_TAKEN, ids=_ids, indirect=True)
def test_disk_without_room_for_names(stage, tally):
    """There are bytes, and so many inodes."""
    failures, left, done = [], 0, None
    while done is None or done.returncode:
        stage.put_up()
        lines = stage.audit_lines()
        stage.volume.fill_inodes(left)
        done = stage.call()
        stage.volume.relieve()
        wrong = _judged(stage, done, lines, NO_ROOM)
        tally("ext4, so many inodes left", wrong is None)
        if wrong:
            failures.append(f"{left} inodes left:\n{wrong}")
        left += 1
        assert left < 20, "there was never enough"
    disk_stage.report(failures, left)


LIMITED = [
    ("tmpfs", name, disk_stage.BACKUPS)
    for name in ("BackupWalClone", "BackupRollbackOnline", "BackupZstd", "RestoreRollbackInPlace")
]


@pytest.mark.parametrize("stage", LIMITED, ids=_ids, indirect=True)
def test_limit_on_the_size_of_files(stage, tally):
    """RLIMIT_FSIZE: a write beyond it is EFBIG for Python, and SIGXFSZ for a program that it calls."""
    failures, tried, done = [], 0, None
    for limit in LIMITS:
        stage.put_up()
        lines = stage.audit_lines()
        done = stage.call(
            preexec_fn=lambda limit=limit: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)), umask=-1
        )
        wrong = _judged(stage, done, lines, NO_ROOM)
        tally("files limited in size", wrong is None)
        tried += 1
        if wrong:
            failures.append(f"at most {limit} bytes:\n{wrong}")
    assert done.returncode == 0, done
    disk_stage.report(failures, tried)
