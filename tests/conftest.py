# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes the engine importable as ``engine`` and the sample application as ``sample_app``, from a plain checkout.

Also the places that tests of several directories need.
"""

from __future__ import annotations

import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
for _directory in (ROOT / "plugins" / "module_utils", ROOT / "tools", ROOT / "tests" / "shared"):
    if str(_directory) not in sys.path:
        sys.path.insert(0, str(_directory))

import surroundings  # noqa: E402


@pytest.fixture
def own_world(monkeypatch, tmp_path):
    """Nothing reads the host's configuration or the caller's environment, nor writes into the caller's home.

    The clock is right again afterwards.
    """
    from engine import clock

    surroundings.isolate(monkeypatch, tmp_path)
    monkeypatch.setattr(clock, "now", clock.now)  # A scene sets it.


@pytest.fixture
def quick_place():
    with surroundings.quick_directory() as directory:
        yield directory
