# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes `killing` and `scenes` importable; runs points on all cores; tells at the end how many were tried."""

from __future__ import annotations

import json
import os
import pathlib
import sys
import traceback

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

_tried: dict = {}


@pytest.fixture
def at_every_point(quick_place, request):
    """at_every_point(Scene, count, visit): ``visit(scene, n)`` for n from 1 to ``count(scene)``, in a few processes.

    Each process has a scene of its own. ``count(scene)`` runs the operation undisturbed and tells its points. A visit
    that tries several returns how many.
    """

    def run(kind, count, visit):
        total = count(kind(quick_place / "count"))
        workers = max(1, min(4, os.cpu_count() or 1))
        pipes = [_fork(kind, quick_place / str(w), visit, range(1 + w, total + 1, workers)) for w in range(workers)]
        failures, tried = [], 0
        for reading, pid in pipes:
            with os.fdopen(reading, "rb") as stream:
                answer = json.loads(stream.read())
            os.waitpid(pid, 0)
            failures += answer["failures"]
            tried += answer["tried"]
        group = request.node.originalname
        _tried[group] = _tried.get(group, 0) + tried
        assert not failures, f"{len(failures)} failures; the first is at point {failures[0][0]}:\n{failures[0][1]}"
        assert tried >= total > 0

    return run


def _fork(kind, base, visit, points):
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return reading, pid
    os.close(reading)
    failures, tried = [], 0
    try:
        scene = kind(base)
        for n in points:
            try:
                scene.put_up()
                tried += visit(scene, n) or 1
            except BaseException:
                failures.append([n, traceback.format_exc()])
    except BaseException:
        failures.append(["building the scene", traceback.format_exc()])
    with os.fdopen(writing, "wb") as stream:
        stream.write(json.dumps({"failures": failures, "tried": tried}).encode())
    os._exit(0)


def pytest_terminal_summary(terminalreporter):
    for group, total in sorted(_tried.items()):
        terminalreporter.write_line(f"{group}: {total} points tried")
