# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A cron expression as what a systemd timer takes. The engine says what the expression means."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError
from ansible_collections.digitalme.backup.plugins.module_utils.engine import cron, errors

_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def cron_to_on_calendar(expression, timezone=None):
    """The OnCalendar lines of a timer that fires as the cron expression says; two where either day field may match."""
    try:
        times = cron.parse(expression, timezone or None)
    except errors.BackupError as error:
        raise AnsibleFilterError(error.message) from error
    clock = f"{_values(times.hours, 0, 23)}:{_values(times.minutes, 0, 59)}:00"
    zone = f" {timezone}" if timezone else ""
    months = _values(times.months, 1, 12)
    by_day = f"*-{months}-{_values(times.days, 1, 31)} {clock}{zone}"
    if not times.either_day:
        return [_weekdays(times.weekdays) + by_day]
    return [by_day, f"{_weekdays(times.weekdays)}*-{months}-* {clock}{zone}"]


def _weekdays(days):
    if len(days) == 7:
        return ""
    numbers = sorted((day - 1) % 7 for day in days)  # Cron's week begins on Sunday, systemd's on Monday.
    return ",".join("..".join(_WEEKDAYS[day] for day in run) for run in _runs(numbers)) + " "


def _values(values, low, high):
    """The numbers as systemd takes them: all, or runs and single ones.

    Never as steps: systemd 252 leaves 1 January 2029 out of ``Mon *-*-01/7``, and gives ``Sat *-*-* 00/7:03..33:00`` up
    as an infinite loop when the clock is changed. With the numbers spelled out it does neither.
    """
    numbers = sorted(values)
    if len(numbers) == high - low + 1:
        return "*"
    return ",".join("..".join(f"{number:02d}" for number in run) for run in _runs(numbers))


def _runs(numbers):
    """(first, last) of every three or more numbers in a row, (number,) of each that stands alone."""
    found = []
    for number in numbers:
        if found and found[-1][-1] == number - 1:
            found[-1].append(number)
        else:
            found.append([number])
    for run in found:
        if len(run) > 2:
            yield run[0], run[-1]
        else:
            yield from ((number,) for number in run)


class FilterModule:
    """The filter of this file."""

    def filters(self):
        """Name and function."""
        return {"cron_to_on_calendar": cron_to_on_calendar}
