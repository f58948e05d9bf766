# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The same firings three ways: the engine's cron, systemd's reading of the filter's lines, and the library cronsim.

The engine and systemd must agree on every firing, also when the clocks change. cronsim follows Debian's cron, which
differs there and nowhere else: it makes up for a skipped time right after the change, and repeats what recurs.
"""

from __future__ import annotations

import datetime
import os
import random
import re
import shutil
import subprocess
import zoneinfo

import cronsim
import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.digitalme.backup.plugins.filter.cron_to_on_calendar import cron_to_on_calendar
from engine import cron

UTC = datetime.timezone.utc
FIRINGS = 100
EXPRESSIONS = 70
# A zone, and moments shortly before its clocks change.
ZONES = {
    "UTC": ("2026-02-27T12:00",),
    "Asia/Kolkata": ("2026-12-30T00:00",),
    "Europe/Berlin": ("2026-03-28T12:00", "2026-10-24T12:00"),
    "America/New_York": ("2026-03-07T12:00", "2026-10-31T12:00"),
    "Australia/Lord_Howe": ("2026-04-04T00:00", "2026-10-03T00:00"),
    "America/Santiago": ("2026-04-04T12:00", "2026-09-05T12:00"),
}
CASES = [(zone, start) for zone, starts in ZONES.items() for start in starts]
CHOSEN = [
    "* * * * *",
    "*/15 * * * *",
    "0 * * * *",
    "0 2 * * *",
    "30 2 * * *",
    "30 1-3 * * *",
    "0,30 1,2,3 * * *",
    "59 23 31 12 *",
    "0 0 29 2 *",
    "0 0 1,15 * *",
    "0 0 13 * 5",
    "0 0 */7 * 1",
    "5 4 * * sun",
    "0 22 * * 1-5",
    "0 0 * jan,jul mon-wed",
    "17 */6 2-20/3 * *",
    "@daily",
    "@hourly",
    "@weekly",
    "@monthly",
    "@yearly",
]


def _field(generator, low, high):
    first = generator.randint(low, high - 1)
    last = generator.randint(first + 1, high)  # cronsim takes 5-5/2 for 5/2.
    steps = [f"*/{generator.randint(2, 9)}", f"{first}-{last}/{generator.randint(1, 5)}"]
    several = ",".join(str(generator.randint(low, high)) for _number in range(3))
    return generator.choice(["*", "*", str(first), f"{first}-{last}", *steps, several])


def _expressions(seed):
    """The chosen ones, and as many made up ones as there are to be; those of days that never come are left out."""
    generator = random.Random(seed)
    found = list(CHOSEN)
    while len(found) < EXPRESSIONS:
        text = " ".join(_field(generator, *bounds) for bounds in ((0, 59), (0, 23), (1, 28), (1, 12), (0, 6)))
        found.append(text)
    return found


def _start(text):
    return datetime.datetime.fromisoformat(text).replace(tzinfo=UTC)


def _of_systemd(lines, zone, start):
    """{line: its firings}: the lines have no zone of their own, systemd takes that of the environment."""
    assert shutil.which("systemd-analyze"), "the package systemd is needed"
    base = start.strftime("%Y-%m-%d %H:%M:%S UTC")
    done = subprocess.run(
        ["systemd-analyze", "calendar", f"--iterations={FIRINGS}", f"--base-time={base}", *lines],
        env={**os.environ, "TZ": zone, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = {}
    for line, block in zip(lines, done.stdout.strip().split("\n\n")):
        # Where the zone is UTC itself, the time is not shown a second time.
        shown = re.findall(
            r"(?:Next elapse|Iter\. #\d+): \w+ (.*) UTC$" if zone == "UTC" else r"UTC\): \w+ (.*) UTC$", block, re.M
        )
        found[line] = [datetime.datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC) for text in shown]
    assert len(found) == len(set(lines))
    return found


def _of_engine(expression, zone, start):
    schedule, moment, found = cron.parse(expression, zone), start, []
    for _step in range(FIRINGS):
        moment = schedule.next(moment)
        found.append(moment.astimezone(UTC))
    return found


def _changes(zone, start, end):
    """(moment, seconds that the clock jumps ahead) of every change of the clock."""
    place, moment = zoneinfo.ZoneInfo(zone), start
    while moment < end:
        later = moment + datetime.timedelta(minutes=30)
        jump = (later.astimezone(place).utcoffset() - moment.astimezone(place).utcoffset()).total_seconds()
        if jump:
            yield later, jump
        moment = later


@pytest.mark.parametrize(("zone", "start"), CASES, ids=lambda value: value)
def test_timer_fires_when_the_engine_says(zone, start):
    expressions = _expressions(zone + start)
    lines = {expression: cron_to_on_calendar(expression) for expression in expressions}
    seen = _of_systemd(sorted({line for each in lines.values() for line in each}), zone, _start(start))
    for expression in expressions:
        theirs = sorted({moment for line in lines[expression] for moment in seen[line]})[:FIRINGS]
        ours = _of_engine(expression, zone, _start(start))[: len(theirs)]
        assert theirs and ours == theirs, f"{expression} as {lines[expression]}"


# After a jump of half an hour, as on Lord Howe, cronsim loses firings of later days; systemd has been asked above.
WHOLE_HOURS = [(zone, start) for zone, start in CASES if zone != "Australia/Lord_Howe"]


@pytest.mark.parametrize(("zone", "start"), WHOLE_HOURS, ids=lambda value: value)
def test_cron_fires_when_the_engine_says_but_where_the_clock_jumps(zone, start):
    place = zoneinfo.ZoneInfo(zone)
    for expression in _expressions(zone + start):
        ours = _of_engine(expression, zone, _start(start))
        other = cronsim.CronSim(cron._MACROS.get(expression, expression), _start(start).astimezone(place))
        theirs = []
        while not theirs or (theirs[-1] < ours[-1] and len(theirs) < 3 * FIRINGS):
            theirs.append(next(other).astimezone(UTC))
        end = min(ours[-1], theirs[-1])
        differing = {moment for moment in set(ours) ^ set(theirs) if moment <= end}
        if not differing:
            continue
        jumps = list(_changes(zone, min(differing) - datetime.timedelta(days=1), max(differing)))
        for moment in differing:
            # Made up for at the change itself; or the second time, which lasts as long as the clock went back.
            assert any(
                at == moment if jump > 0 else at <= moment < at - datetime.timedelta(seconds=jump) for at, jump in jumps
            ), f"{expression} at {moment}: {'ours' if moment in ours else 'theirs'}"
            assert moment in theirs


def test_zone_stands_in_every_line_and_is_one_that_systemd_takes():
    lines = cron_to_on_calendar("30 4 13 * 5", timezone="Europe/Berlin")
    assert lines == ["*-*-13 04:30:00 Europe/Berlin", "Fri *-*-* 04:30:00 Europe/Berlin"]
    seen = _of_systemd(["*-*-13 04:30:00 Europe/Berlin"], "UTC", _start("2026-07-01T00:00"))
    assert next(iter(seen.values()))[0] == _start("2026-07-13T02:30")


@pytest.mark.parametrize(
    ("expression", "lines"),
    [
        ("0 2 * * *", ["*-*-* 02:00:00"]),
        ("*/15 * * * *", ["*-*-* *:00,15,30,45:00"]),
        ("0 22 * * 1-5", ["Mon..Fri *-*-* 22:00:00"]),
        ("0 0 * * 0,6", ["Sat,Sun *-*-* 00:00:00"]),
        ("5 1,2,3,9 1-7 jan *", ["*-01-01..07 01..03,09:05:00"]),
    ],
)
def test_lines_are_short_enough_to_read(expression, lines):
    assert cron_to_on_calendar(expression) == lines


@pytest.mark.parametrize(
    "expression", ["", "0 2 * *", "0 2 * * * *", "60 2 * * *", "*/0 * * * *", "jan 2 * * *", "0 2 * * ٣", "@reboot",
                   "0 2\n* * * * x", "0 2 30 2 *", "1," * 5000 + "1 * * * *x"]
)  # fmt: skip
def test_bad_expression_is_refused_with_the_engines_words(expression):
    with pytest.raises(AnsibleFilterError, match="is not a cron expression"):
        cron_to_on_calendar(expression)


def test_unknown_zone_is_refused():
    with pytest.raises(AnsibleFilterError, match="the time zone 'Mars/Olympus' is not known here"):
        cron_to_on_calendar("0 2 * * *", timezone="Mars/Olympus")
