# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A pytest plugin for a run under Windows' Python: which tests cannot hold there, and why, by expected.txt beside it.

Each of them is expected to fail. One that passes is an error as well, so the list never excuses more than it must.
"""

from __future__ import annotations

import collections
import ctypes
import pathlib

import pytest

EXPECTED = pathlib.Path(__file__).resolve().parent / "expected.txt"
WHOLE_FILE = " *"


def expected(text):
    """{test, or file with ` *` behind it: the reason}; a reason stands above its tests, which are set in."""
    found, reason = {}, None
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("  "):
            if reason is None or line.strip() in found:
                raise ValueError(f"line {number}: no reason above it, or twice")
            found[line.strip()] = reason
        elif line and not line.startswith("#"):
            reason = line
    return found


def name_of(nodeid):
    """A test's name below tests/unit."""
    return nodeid.partition("tests/unit/")[2]


def _under_wine():
    return hasattr(ctypes.CDLL("ntdll"), "wine_get_version")


class Smoke:
    def __init__(self):
        rows = expected(EXPECTED.read_text(encoding="utf-8"))
        self.rows = {name: why for name, why in rows.items() if _under_wine() or not why.startswith("wine")}
        self.left_out = collections.Counter()

    def pytest_ignore_collect(self, collection_path):
        """A whole file is not even read: it may import what only POSIX has."""
        reason = self.rows.get(name_of(collection_path.as_posix()) + WHOLE_FILE)
        if reason is not None:
            self.left_out[reason] += 1
        return True if reason is not None else None

    def pytest_collection_modifyitems(self, items):
        for item in items:
            name = name_of(item.nodeid)
            reason = self.rows.get(name) or self.rows.get(name.partition("[")[0])
            if reason is not None:
                item.add_marker(pytest.mark.xfail(reason=reason, strict=True))

    def pytest_terminal_summary(self, terminalreporter):
        """How many there are of each reason."""
        failed = collections.Counter(report.wasxfail for report in terminalreporter.stats.get("xfailed", ()))
        for reason, count in sorted(failed.items()):
            terminalreporter.write_line(f"{count:5d}  {reason}")
        for reason, count in sorted(self.left_out.items()):
            terminalreporter.write_line(f"{count:5d}  {reason}: whole files")
        wine = sum(count for reason, count in failed.items() if reason.startswith("wine"))
        passed = len(terminalreporter.stats.get("passed", ()))
        terminalreporter.write_line(f"{passed} passed, {failed.total() - wine} POSIX only, {wine} wine's own")


def pytest_configure(config):
    config.pluginmanager.register(Smoke())
