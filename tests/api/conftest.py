# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes served.py and the service importable; the services that tests ask."""

from __future__ import annotations

import pathlib
import signal
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
for place in (HERE, HERE.parent.parent / "roles" / "api" / "files"):
    if str(place) not in sys.path:
        sys.path.insert(0, str(place))

from served import Served  # noqa: E402


@pytest.fixture
def serve(tmp_path):
    """Make and start a Served; it is stopped when the test ends."""
    made = []

    def start(names=("shop",), begin=True, **settings):
        place = tmp_path / f"served{len(made)}"
        place.mkdir()
        served = Served(place, names, **settings)
        made.append(served)
        return served.start() if begin else served

    yield start
    for served in made:
        if served.process and served.process.poll() is None:
            served.stop(signal.SIGKILL)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """One service for the tests that leave it as it is, with one backup."""
    served = Served(tmp_path_factory.mktemp("shop")).start()
    served.first = served.made()
    yield served
    served.stop()
    assert "Traceback" not in served.log(), served.log()
