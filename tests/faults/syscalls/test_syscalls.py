# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every file-changing system call of backup, retention and restore fails once, or is the one before which it is killed.

The in-process sweeps of the restore's tests do so through a tracer of their own; here the command line runs as it is,
with all its threads, under strace. ``FAULTS=all`` tries every point, otherwise a sample of each scene and fault:
``FAULTS_SEED`` chooses another.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import random
import traceback

import pytest
import stages
import tracing
from asked import EVERYTHING, SEED

# Points of each scene and fault in the sample.
SAMPLED = 3
SHOWN = 3

WHY_NOT = tracing.obstacle()
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))


def chosen_points(stage, calls):
    """All points, or a few of each fault: another few in each scene."""
    points = tracing.points(calls, stage.place, stage.only)
    # Each process has a directory of its own.
    points = [(aim._replace(path=aim.path and os.path.relpath(aim.path, stage.place)), fault) for aim, fault in points]
    if EVERYTHING:
        return points
    chooser = random.Random(f"{SEED} {type(stage).__name__}")
    chosen = []
    for fault in tracing.FAULTS:
        of_it = [point for point in points if point[1] == fault]
        chosen += chooser.sample(of_it, min(SAMPLED, len(of_it)))
    return chosen


_stage = None


def _begin(kind, base):
    global _stage  # Each process has a stage of its own.
    _stage = kind(base / str(os.getpid()))


def _visit(point):
    """(the calls that were struck, what was not as it must be or None)."""
    aim, fault = point
    _stage.put_up()
    lines = _stage.audit_lines()
    here = aim._replace(path=aim.path and os.path.join(_stage.place, aim.path))
    done, struck = tracing.strike(_stage.command(), _stage.log, here, fault, **_stage.surroundings)
    struck = [call for call in struck if call.changes(_stage.place)]
    shown = [f"{call.name}({call.shown}" for call in struck]
    lost = [path for call in struck if call.is_lost(fault) for path in call.paths(_stage.place)]
    try:
        _stage.settled(done, lines)
        assert done.returncode or not any(map(_stage.must_be_durable, lost)), f"done, but {lost} is not on the disk"
    except BaseException:
        return shown, f"{traceback.format_exc()}\n{done.returncode} {done.stdout} {done.stderr}"
    return shown, None


@pytest.mark.parametrize("kind", stages.ALL, ids=lambda kind: kind.__name__)
def test_each_call_fails_once(kind, quick_place, tally):
    stage = kind(quick_place / "recorded")
    calls = stage.recorded()
    assert not tracing.not_durable(calls, stage.place)
    points = chosen_points(stage, calls)
    hands = len(os.sched_getaffinity(0))
    failures = []
    with concurrent.futures.ProcessPoolExecutor(
        hands, multiprocessing.get_context("fork"), _begin, (kind, quick_place)
    ) as pool:
        for (aim, fault), (struck, wrong) in zip(points, pool.map(_visit, points)):
            if not struck:
                wrong = wrong or "the call was not made again"
            tally(kind.__name__, fault, wrong is None)
            if wrong:
                failures.append(f"{fault} at {struck or aim}:\n{wrong}")
    assert points
    assert not failures, f"{len(failures)} of {len(points)} points; the first:\n" + "\n\n".join(failures[:SHOWN])
