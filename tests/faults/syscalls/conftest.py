# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes `tracing`, `stages` and the restore's own scenes importable; tells at the end how many points were tried."""

from __future__ import annotations

import pytest

_tallies: dict = {}


@pytest.fixture
def tally():
    """tally(scene, fault, survived): count a point that was tried."""

    def count(scene, fault, survived):
        row = _tallies.setdefault(scene, {}).setdefault(fault, [0, 0])
        row[0] += 1
        row[1] += survived

    return count


def pytest_terminal_summary(terminalreporter):
    tried = survived = 0
    for scene, faults in sorted(_tallies.items()):
        shown = ", ".join(f"{fault} {row[1]}/{row[0]}" for fault, row in sorted(faults.items()))
        terminalreporter.write_line(f"{scene}: survived/tried: {shown}")
        tried += sum(row[0] for row in faults.values())
        survived += sum(row[1] for row in faults.values())
    if tried:
        terminalreporter.write_line(f"system calls that failed or were the last: {tried} tried, {survived} survived")
