# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes `tracing`, `stages` and the restore's own scenes importable; tells at the end how many points were tried."""

from __future__ import annotations

import os
import pathlib
import sys
import tempfile

import pytest
from engine import clock, config

HERE = pathlib.Path(__file__).resolve().parent
for _directory in (HERE, HERE.parent.parent / "unit" / "restore"):
    if str(_directory) not in sys.path:
        sys.path.insert(0, str(_directory))

_tallies: dict = {}


@pytest.fixture(autouse=True)
def _own_world(monkeypatch, tmp_path):
    """What is done in this process neither reads the host's configuration nor writes into the caller's home."""
    for name in list(os.environ):
        if name.startswith(("BACKUP_", "DIGITALME_")):
            monkeypatch.delenv(name)
    monkeypatch.setattr(config, "PATH", str(tmp_path / "no" / "config.json"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(clock, "now", clock.now)


@pytest.fixture
def quick_place(tmp_path):
    """A directory in memory where there is one: a kill loses nothing that was written, on no kind of disk."""
    if not os.path.isdir("/dev/shm"):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="digitalme-test-", dir="/dev/shm") as directory:
        yield pathlib.Path(directory)


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
