# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Cron expressions of five fields: when should the last backup have begun?

The semantics are those of crontab(5): when both day fields are restricted, a day that matches either fires.
Times are the host's local wall clock, as cron's are.
"""

from __future__ import annotations

import datetime
from typing import NamedTuple

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
# 29 February on a given weekday comes back within 40 years; a day that never comes is refused.
_DAYS_TO_LOOK = 366 * 41


class Cron(NamedTuple):
    minutes: tuple
    hours: tuple
    days: frozenset
    months: frozenset
    weekdays: frozenset
    either_day: bool

    def fires_on(self, date):
        if date.month not in self.months:
            return False
        by_month = date.day in self.days
        by_week = date.isoweekday() % 7 in self.weekdays
        return (by_month or by_week) if self.either_day else (by_month and by_week)

    def previous(self, moment):
        """The last firing at or before an aware moment, as an aware local time; None if it never fires."""
        date = moment.astimezone().date()
        for _day in range(_DAYS_TO_LOOK):
            if self.fires_on(date):
                for hour in reversed(self.hours):
                    for minute in reversed(self.minutes):
                        # An hour that comes twice when summer time ends fires the first time.
                        wall = datetime.datetime(date.year, date.month, date.day, hour, minute)  # noqa: DTZ001
                        firing = wall.astimezone()
                        if firing <= moment:
                            return firing
            if date == datetime.date.min:
                break
            date -= datetime.timedelta(days=1)
        return None


def parse(expression):
    """A Cron from the five fields or a macro such as ``@daily``. Raises ConfigError that names the field."""
    text = _MACROS.get(expression.strip().lower(), expression)
    fields = text.split()
    if len(fields) != 5:
        raise _invalid(expression, f"it has {len(fields)} fields instead of 5")
    values = [_field(expression, text, *field) for text, field in zip((field.lower() for field in fields), _FIELDS)]
    weekdays = frozenset(day % 7 for day in values[4])
    either = not fields[2].startswith("*") and not fields[4].startswith("*")
    return Cron(
        tuple(sorted(values[0])), tuple(sorted(values[1])), frozenset(values[2]), frozenset(values[3]), weekdays, either
    )


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
            raise _invalid(expression, f"{label} '{part}' is not within {low} to {high}")
        found.update(range(first, last + 1, step))
    return found


def _number(expression, text, label, names):
    if text in names:
        return names[text]
    if not (text.isascii() and text.isdigit() and len(text) < 5):
        raise _invalid(expression, f"{label} has '{text}', which is no number")
    return int(text)


def _invalid(expression, cause):
    return errors.ConfigError(
        f"the schedule '{errors.show(expression)}' is not a cron expression: {cause}",
        hint="Use five fields (minute hour day month weekday), such as '0 2 * * *' for every night at 02:00.",
    )
