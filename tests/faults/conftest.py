# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes what the tests of faults share importable, and the restore's own scenes; each test has a world of its own."""

from __future__ import annotations

import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
for _directory in (HERE, HERE.parent / "unit" / "restore", *sorted(path for path in HERE.iterdir() if path.is_dir())):
    if str(_directory) not in sys.path:
        sys.path.insert(0, str(_directory))


@pytest.fixture(autouse=True)
def _own_world(own_world):
    pass
