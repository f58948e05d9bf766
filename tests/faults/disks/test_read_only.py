# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filesystem becomes read-only (ext4 does so when it finds an error in itself) or goes down (ext4, xfs) just after
any call; it is mounted again, and all is old or new, and the next ordinary run succeeds.

``FAULTS=all`` tries every call of every stage, otherwise a sample: ``FAULTS_SEED`` chooses another.
"""

from __future__ import annotations

import os
import random

import disk_stage
import pytest
import tracing
import volumes
from asked import EVERYTHING, SEED

SAMPLED = 2
GONE = ("read_only", "io_error", "rolled_back", "permission_denied", "restore_failed")
PLACES = (
    ("ext4", "BackupWalClone", disk_stage.BACKUPS, "read-only"),
    ("ext4", "Retention", disk_stage.BACKUPS, "read-only"),
    ("ext4", "RestoreRollbackInPlace", disk_stage.LIVE, "read-only"),
    ("ext4", "RestoreWalReplace", disk_stage.LIVE, "read-only"),
    ("xfs", "BackupRollbackClone", disk_stage.BACKUPS, "down"),
    ("ext4", "RestoreRollbackReplace", disk_stage.LIVE, "down"),
)
if EVERYTHING:
    PLACES = tuple(
        (kind, name, part, way)
        for kind, way in (("ext4", "read-only"), ("ext4", "down"), ("xfs", "down"))
        for name in disk_stage.STAGES
        if name != "BackupFirst"  # It has no directory yet that could lie on another disk.
        for part in ((disk_stage.BACKUPS, disk_stage.LIVE) if name.startswith("Restore") else (disk_stage.BACKUPS,))
    )
pytestmark = pytest.mark.skipif(tracing.obstacle() is not None, reason=str(tracing.obstacle()))


def _answer_of(stage, done):
    """What is wrong with how it failed, or None."""
    return disk_stage.wrong_error(stage, done, GONE)


@pytest.mark.parametrize("kind, name, part, way", PLACES, ids=lambda value: value)
def test_filesystem_that_goes_meanwhile(kind, name, part, way, quick_place, tally):
    why = volumes.why_not(kind)
    if why:
        pytest.skip(why)
    with volumes.volume(kind, quick_place) as volume:
        stage = disk_stage.stage_on(volume, name, part, quick_place / "base")
        chooser = random.Random(f"{SEED} {name} {kind} {way}")
        chosen = disk_stage.aims(stage, stage.watched, chooser, SAMPLED)
        failures = []
        for aim in chosen:
            wrong = struck(stage, aim, volume.break_read_only if way == "read-only" else volume.shut_down)
            tally(f"{kind}, {way} meanwhile", wrong is None)
            if wrong:
                failures.append(f"after {aim}:\n{wrong}")
        disk_stage.report(failures, len(chosen))


def struck(stage, aim, strike):
    stage.put_up()
    os.sync()  # What is there before is on the disk, as it would be after some seconds.
    lines = stage.audit_lines()
    done, stopped = tracing.halt(stage.command(), stage.log, aim, strike, **stage.surroundings)
    again = stage.call()
    stage.volume.mount_again()
    wrong = _answer_of(stage, done) or _answer_of(stage, again) or disk_stage.settled(stage, done, lines)
    return wrong or (None if stopped else "the call was not made again")
