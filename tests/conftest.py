# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes the engine importable as ``engine`` and the sample application as ``sample_app``, from a plain checkout.

Also the places that tests of several directories need.
"""

from __future__ import annotations

import os
import pathlib
import sys
import tempfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
for _directory in (ROOT / "plugins" / "module_utils", ROOT / "tools", ROOT / "tests" / "shared"):
    if str(_directory) not in sys.path:
        sys.path.insert(0, str(_directory))


@pytest.fixture
def own_world(monkeypatch, tmp_path):
    """Nothing reads the host's configuration or the caller's environment, nor writes into the caller's home.

    The clock is right again afterwards.
    """
    from engine import clock, config

    for name in list(os.environ):
        if name.startswith(("BACKUP_", "DIGITALME_")):
            monkeypatch.delenv(name)
    monkeypatch.setattr(config, "PATH", str(tmp_path / "no" / "config.json"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(clock, "now", clock.now)  # A scene sets it.


@pytest.fixture
def quick_place(tmp_path):
    """A directory in memory where there is one: a kill loses nothing that was written, on no kind of disk."""
    if not os.path.isdir("/dev/shm"):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="digitalme-test-", dir="/dev/shm") as directory:
        yield pathlib.Path(directory)
