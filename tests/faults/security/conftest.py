# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes the helpers importable; tells how much was tried."""

from __future__ import annotations

import grounds
import pytest

_tried: dict = {}


@pytest.fixture
def ground():
    with grounds.new() as made:
        yield made


@pytest.fixture
def tally():
    """tally(what, tried): count what was tried; what did not survive failed its test before."""

    def count(what, tried=1):
        _tried[what] = _tried.get(what, 0) + tried

    return count


def pytest_terminal_summary(terminalreporter):
    for what, tried in sorted(_tried.items()):
        terminalreporter.write_line(f"{what}: {tried} tried, {tried} survived")
