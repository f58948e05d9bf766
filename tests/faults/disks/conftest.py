# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes the stages and the tracing of the system calls' tests, and the restore's own scenes importable."""

from __future__ import annotations

import pytest

_tallies: dict = {}


@pytest.fixture
def tally():
    """tally(what, survived): count a state of a disk that was tried."""

    def count(what, survived):
        row = _tallies.setdefault(what, [0, 0])
        row[0] += 1
        row[1] += survived

    return count


def pytest_terminal_summary(terminalreporter):
    for what, (tried, survived) in sorted(_tallies.items()):
        terminalreporter.write_line(f"{what}: {tried} tried, {survived} survived")
    if _tallies:
        tried, survived = (sum(row[nth] for row in _tallies.values()) for nth in (0, 1))
        terminalreporter.write_line(f"full and slow disks: {tried} tried, {survived} survived")
