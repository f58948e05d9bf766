# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes the helpers of these tests importable, and what the restore's own tests kill operations with."""

from __future__ import annotations

import os
import pathlib
import sys
import tempfile

import pytest
from engine import clock, config

HERE = pathlib.Path(__file__).resolve().parent
for _directory in (HERE, HERE.parent, HERE.parent.parent / "unit" / "restore"):
    if str(_directory) not in sys.path:
        sys.path.insert(0, str(_directory))


@pytest.fixture(scope="session")
def everything():
    """Whether all is asked for (`make faults`), and not what fits into CI."""
    return os.environ.get("FAULTS") == "all"


@pytest.fixture(autouse=True)
def _own_world(monkeypatch, tmp_path):
    """No test reads the host's configuration, nor writes into the caller's home; the clock is right again after it."""
    for name in list(os.environ):
        if name.startswith(("BACKUP_", "DIGITALME_")):
            monkeypatch.delenv(name)
    monkeypatch.setattr(config, "PATH", str(tmp_path / "no" / "config.json"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(clock, "now", clock.now)


@pytest.fixture
def quick_place(tmp_path):
    """A directory in memory where there is one: what is tried here is who comes first, not the disk."""
    if not os.path.isdir("/dev/shm"):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="digitalme-test-", dir="/dev/shm") as directory:
        yield pathlib.Path(directory)
