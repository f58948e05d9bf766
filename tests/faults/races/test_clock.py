# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The clock jumps by a year, forwards or backwards, at any look at it while backups expire.

Whatever it says then, nothing goes that would not have gone by the right time.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import contestants
import pytest
import tellable
from engine import catalog, clock, operations

YEAR = 366 * 86400
POLICY = {"keep_days": 7, "max_files": 30, "max_remove_percent": 50}
NOON = "2026-11-22T12:00:00Z"
_real_now = clock.now


class Site:
    """Backups of the last days, the newest an hour old; three are past their time, and one of those is pinned."""

    HOURS = (1, 25, 49, 73, 97, 121, 240, 300, 340)

    def __init__(self, root, noon):
        (root / "live").mkdir(parents=True)
        self.noon = noon
        database = str(root / "live" / "app.db")
        tellable.create(database, "wal")
        self.place = contestants.Place(root, database, retention=POLICY)
        for hours in reversed(self.HOURS):
            clock.now = lambda hours=hours: clock.after(noon, -3600 * hours)
            operations.backup(name="app", config_path=self.place.config, pinned=hours == 340)
        clock.now = lambda: noon
        self.template = root / "template"
        shutil.copytree(self.place.backups, self.template)

    def again(self):
        shutil.rmtree(self.place.backups)
        shutil.copytree(self.template, self.place.backups)

    def gone(self):
        return set(os.listdir(self.template)) - set(os.listdir(self.place.backups))

    def there(self):
        return [entry.file for entry in catalog.scan(self.place.backups, "app")]

    def retention(self):
        operations.retention(name="app", config_path=self.place.config)

    def run(self):
        operations.run(names=["app"], config_path=self.place.config, fail_on="never")


@pytest.fixture
def site(quick_place):
    return Site(quick_place / "site", clock.parse(NOON))


def looks(site, operation):
    """How often the clock is looked at when it goes right; what goes then."""
    counted = []
    clock.now = lambda: counted.append(1) or site.noon
    site.again()
    operation()
    return len(counted), site.gone()


@pytest.mark.parametrize("operation", ["retention", "run"])
@pytest.mark.parametrize("years", [1, -1], ids=["forwards", "backwards"])
def test_clock_that_jumps_at_any_look_lets_nothing_go_that_should_stay(site, operation, years):
    act = getattr(site, operation)
    total, rightly = looks(site, act)
    assert len(rightly) == 4, "two backups with their manifests are past their time"
    tried = 0
    for begin in range(total):
        for end in range(begin + 1, total + 1):  # And it may be set right again.
            site.again()
            made = set(site.there())
            state = {"look": -1}

            def now(state=state, begin=begin, end=end):
                state["look"] += 1
                jumped = begin <= state["look"] < end
                return clock.after(site.noon, years * YEAR if jumped else 0)

            clock.now = now
            act()
            clock.now = lambda: site.noon
            assert site.gone() <= rightly, f"the clock jumped from look {begin} to {end}"
            if operation == "run":
                assert set(site.there()) - made, f"the new backup is gone: the clock jumped from look {begin} to {end}"
            tried += 1
    assert tried == total * (total + 1) // 2


def test_backup_of_a_time_when_the_clock_was_behind_stays_until_those_before_it_have_gone(site):
    """A host without a clock of its own backs up right after its start, and only then learns the time."""
    site.again()
    clock.now = lambda: clock.after(site.noon, -YEAR)
    made = operations.backup(name="app", config_path=site.place.config)
    assert any("in the future" in text for text in made["warnings"]), made["warnings"]
    clock.now = lambda: site.noon
    site.retention()
    assert made["backup"]["file"] in site.there(), "the newest content there is has gone"
    for day in range(1, 12):
        clock.now = lambda day=day: clock.after(site.noon, 86400 * day)
        site.run()
    assert made["backup"]["file"] not in site.there()


# The command line, but for the clock, which is off by so many seconds.
OFF = """
import datetime, runpy, sys
from engine import clock
off, real = datetime.timedelta(seconds=int(sys.argv.pop(1))), clock.now
clock.now = lambda: real() + off
runpy.run_module("engine", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("command", [["retention", "--name", "app"], ["run", "--name", "app", "--fail-on", "never"]])
@pytest.mark.parametrize("seconds", [YEAR, -YEAR])
def test_whole_process_with_a_clock_that_is_a_year_off_lets_nothing_go(quick_place, command, seconds):
    site = Site(quick_place / "site", _real_now())
    clock.now = _real_now
    before = set(site.there())
    done = subprocess.run(
        [sys.executable, "-c", OFF, str(seconds), *command, "--config", site.place.config, "--json"],
        env=site.place.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert json.loads(done.stdout)
    assert before <= set(site.there())
