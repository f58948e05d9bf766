# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Cron expressions of five fields: when does a backup begin, when should the last one have begun?

The semantics are those of crontab(5): when both day fields are restricted, a day that matches either fires.
Times are the wall clock of a time zone, the host's own unless one is named. Where the clock is changed they follow
systemd's timers, because these fire on most hosts (measured with systemd 252 and ``systemd-analyze calendar``): a time
that is skipped does not fire that day, and one that comes twice fires the first time. Cron itself would run a skipped
job right after the change.
"""

from __future__ import annotations

import datetime
from typing import Any, NamedTuple

from . import errors

_MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_MONTHS = dict(zip(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), range(1, 13)))
_DAYS = dict(zip(("sun", "mon", "tue", "wed", "thu", "fri", "sat"), range(7)))
_FIELDS: tuple = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _DAYS),
)
_LONGEST_MONTHS = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
_DAY = 86400
# 29 February on a given weekday comes back within 40 years.
_DAYS_TO_LOOK = 366 * 41


class Cron(NamedTuple):
    minutes: tuple
    hours: tuple
    days: frozenset
    months: frozenset
    weekdays: frozenset
    either_day: bool
    zone: Any = None

    def fires_on(self, date):
        if date.month not in self.months:
            return False
        by_month = date.day in self.days
        by_week = date.isoweekday() % 7 in self.weekdays
        return (by_month or by_week) if self.either_day else (by_month and by_week)

    def previous(self, moment):
        """The last firing at or before an aware moment, as an aware time of the zone; None before the year 2."""
        date = moment.astimezone(self.zone).date()
        for _day in range(_DAYS_TO_LOOK):
            if self.fires_on(date):
                for hour in reversed(self.hours):
                    for minute in reversed(self.minutes):
                        firing = self._at(date, hour, minute)
                        if firing is not None and firing <= moment:
                            return firing
            if date.year < 2:
                break
            date -= datetime.timedelta(days=1)
        return None

    def next(self, moment):
        """The first firing after an aware moment, as an aware time of the zone; None after the year 9998."""
        wall = moment.astimezone(self.zone).replace(tzinfo=None, fold=0)
        date = wall.date()
        for _day in range(_DAYS_TO_LOOK):
            if self.fires_on(date):
                for hour in self.hours:
                    for minute in self.minutes:
                        if datetime.datetime(date.year, date.month, date.day, hour, minute) > wall:  # noqa: DTZ001
                            firing = self._at(date, hour, minute, moment)
                            if firing is not None:
                                return firing
            if date.year > 9998:
                break
            date += datetime.timedelta(days=1)
        return None

    def _at(self, date, hour, minute, after=None):
        """The wall clock's time as a moment; None where the clock skips it, or it is not after ``after``."""
        wall = datetime.datetime(date.year, date.month, date.day, hour, minute)  # noqa: DTZ001
        for fold in (0, 1):
            there = wall.replace(fold=fold, tzinfo=self.zone) if self.zone else wall.replace(fold=fold).astimezone()
            if there.astimezone(datetime.timezone.utc).astimezone(self.zone).replace(tzinfo=None, fold=0) != wall:
                return None
            if after is None or there > after:
                return there
        return None

    def longest_interval(self, moment):
        """Seconds of wall clock between two firings, where they are farthest apart in the year after the moment (or
        until the second firing, when that is later). A change of the clock can make it an hour more, and a skipped
        firing twice as long.
        """
        times = [hour * 3600 + minute * 60 for hour in self.hours for minute in self.minutes]
        longest = max((later - earlier for earlier, later in zip(times, times[1:])), default=0)
        date = moment.astimezone(self.zone).date()
        before, seen = None, 0
        for day in range(_DAYS_TO_LOOK):
            if self.fires_on(date):
                if before is not None:
                    longest = max(longest, (day - before) * _DAY - (times[-1] - times[0]))
                before, seen = day, seen + 1
            if (day > 366 and seen > 1) or date.year > 9998:
                break
            date += datetime.timedelta(days=1)
        return longest


def parse(expression, zone=None):
    """A Cron from the five fields or a macro such as ``@daily``, in a time zone (an IANA name; None: the host's own).

    Raises ConfigError that names the field or the zone, also for a day that never comes, such as 30 February.
    """
    if not isinstance(expression, str):
        raise _invalid(expression, "it is no text")
    if not all(char == "\t" or char.isprintable() for char in expression):
        # A line break would become a second line of a file that cron reads as root.
        raise _invalid(expression, "it has characters that cannot be printed")
    text = _MACROS.get(expression.strip().lower(), expression)
    fields = text.split()
    if len(fields) != 5:
        raise _invalid(expression, f"it has {len(fields)} fields instead of 5")
    values = [_field(expression, text, *field) for text, field in zip((field.lower() for field in fields), _FIELDS)]
    weekdays = frozenset(day % 7 for day in values[4])
    either = not fields[2].startswith("*") and not fields[4].startswith("*")
    if not either and all(_LONGEST_MONTHS.get(month, 31) < min(values[2]) for month in values[3]):
        raise _invalid(expression, "it names a day that never comes")
    days, months = frozenset(values[2]), frozenset(values[3])
    return Cron(tuple(sorted(values[0])), tuple(sorted(values[1])), days, months, weekdays, either, _zone(zone))


def _zone(name):
    if not name:
        return None
    if name == "UTC":
        return datetime.timezone.utc  # Windows has no database of time zones.
    import zoneinfo

    try:
        return zoneinfo.ZoneInfo(name)
    except (TypeError, zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise errors.ConfigError(
            f"the time zone '{errors.excerpt(name)}' is not known here",
            hint="Give an IANA name such as Europe/Berlin; a host without time zones needs the package tzdata.",
        ) from error


def _field(expression, text, label, low, high, names):
    found: set = set()
    for part in text.split(","):
        span, slash, step_text = part.partition("/")
        step = _number(expression, step_text, label, {}) if slash else 1
        if step < 1:
            raise _invalid(expression, f"the step in {label} is less than 1")
        if span == "*":
            first, last = low, (6 if label == "day of week" else high)
        else:
            first_text, dash, last_text = span.partition("-")
            first = _number(expression, first_text, label, names)
            last = _number(expression, last_text, label, names) if dash else (high if slash else first)
        if not low <= first <= last <= high:
            raise _invalid(expression, f"{label} '{errors.excerpt(part)}' is not within {low} to {high}")
        found.update(range(first, last + 1, step))
    return found


def _number(expression, text, label, names):
    if text in names:
        return names[text]
    if not (text.isascii() and text.isdigit() and len(text) < 5):
        raise _invalid(expression, f"{label} has '{errors.excerpt(text)}', which is no number")
    return int(text)


def _invalid(expression, cause):
    return errors.ConfigError(
        f"the schedule '{errors.excerpt(expression)}' is not a cron expression: {cause}",
        hint="Use five fields (minute hour day month weekday), such as '0 2 * * *' for every night at 02:00.",
    )
