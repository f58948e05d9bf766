# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The power goes on real filesystems: the command is killed before a call, and its filesystem goes down at once.

What the model of `disk` allows is worse than what ext4 and xfs do; here it is seen that they do nothing else.
``FAULTS=all`` tries many calls of each stage on each filesystem, otherwise one, and the end; ``FAULTS_SEED`` chooses.
"""

from __future__ import annotations

import pathlib
import random
import subprocess
import tempfile
import traceback

import pytest
import stages
import surroundings
import tracing
import volumes
from asked import EVERYTHING, SEED

# Calls of each stage.
TRIED = 20 if EVERYTHING else 1


@pytest.fixture(scope="module", params=["ext4", "xfs"])
def device(request):
    why_not = volumes.why_not(request.param) or tracing.obstacle()
    if why_not:
        pytest.skip(why_not)
    with (
        tempfile.TemporaryDirectory(prefix="digitalme-test-", dir=surroundings.MEMORY) as directory,
        volumes.volume(request.param, pathlib.Path(directory), size=320 * volumes.MIB) as made,
    ):
        yield request.param, made


def lost_after(stage, device, aim, outside):
    """The result of the command, killed before what ``aim`` says or left alone, after which the power went."""
    stage.put_up()
    lines = stage.audit_lines()
    device.settle()
    if aim is None:
        options = {"capture_output": True, "text": True, "check": False, "stdin": subprocess.DEVNULL}
        done = subprocess.run(stage.command(), **options, **stage.surroundings)
        assert done.returncode == 0, (done.stdout, done.stderr)
    else:
        done, struck = tracing.strike(stage.command(), str(outside / "calls"), aim, "KILL", **stage.surroundings)
        assert struck, "the call was not made again"
    device.lose_power()
    return done, lines


@pytest.mark.parametrize("kind", stages.ALL, ids=lambda kind: kind.__name__)
def test_power_loss_on_a_real_filesystem(kind, device, tmp_path, cuts):
    filesystem, place = device
    stage = kind(place.files / kind.__name__)
    stage.log = str(tmp_path / "calls")
    points = [aim for aim, fault in tracing.points(stage.recorded(), stage.place, stage.only) if fault == "KILL"]
    chooser = random.Random(f"{SEED} {filesystem} {kind.__name__}")
    chosen = [*chooser.sample(points, min(TRIED, len(points))), None]
    failures = []
    for aim in chosen:
        done, lines = lost_after(stage, place, aim, tmp_path)
        try:
            stage.settled(done, lines)
        except BaseException:
            failures.append(f"at {aim or 'the end'}:\n{traceback.format_exc()}\n{done.returncode} {done.stdout}")
    assert not failures, f"{len(failures)} of {len(chosen)} cuts; the first:\n{failures[0]}"
    cuts(filesystem, len(chosen))
