# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes what is beside it, the stages of the system calls and the restore's scenes importable; tells what was tried."""

from __future__ import annotations

import pytest

_tried: dict = {}
_cuts: dict = {}


@pytest.fixture
def tally():
    """tally(what, moments, states): count what was tried."""

    def count(what, moments, states):
        _tried[what] = (moments, states)

    return count


@pytest.fixture
def cuts():
    """cuts(filesystem, count): count what was tried on a real one."""

    def count(filesystem, number):
        _cuts[filesystem] = _cuts.get(filesystem, 0) + number

    return count


def pytest_terminal_summary(terminalreporter):
    for what, (moments, states) in sorted(_tried.items()):
        terminalreporter.write_line(f"{what}: power lost at {moments} moments, {states} different disks, all survived")
    if _tried:
        moments, states = (sum(row[nth] for row in _tried.values()) for nth in (0, 1))
        terminalreporter.write_line(f"power lost at {moments} moments, {states} different disks, all survived")
    for filesystem, number in sorted(_cuts.items()):
        terminalreporter.write_line(f"{filesystem}: went down {number} times, all survived")
