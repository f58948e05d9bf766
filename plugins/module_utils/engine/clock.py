# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The only place that knows the time. All times are timezone-aware UTC."""

from __future__ import annotations

import datetime as _datetime
import time as _time

UTC = _datetime.timezone.utc
# What two clocks may differ by.
SKEW_SECONDS = 300


def now():
    """The present, as an aware datetime in UTC with whole microseconds."""
    return _datetime.datetime.now(UTC)


def monotonic():
    """Seconds of a clock that is never set back; only differences mean something."""
    return _time.monotonic()


def sleep(seconds):
    _time.sleep(seconds)


def iso(moment):
    """ISO 8601 with ``Z`` and milliseconds: ``2026-11-22T02:00:00.000Z``."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def stamp(moment):
    """The form that file names carry: ``20261122_020000`` (UTC)."""
    return moment.astimezone(UTC).strftime("%Y%m%d_%H%M%S")


def parse(text):
    """A time from ISO 8601 (``Z``, an offset, or none: then UTC), a bare date (its midnight) or a file name's stamp.

    Raises ValueError for anything else.
    """
    text = text.strip()
    if len(text) == 15 and text[8] == "_":
        digits = text[:8] + text[9:]
        if not (digits.isascii() and digits.isdigit()):
            raise ValueError(f"not a time: {text}")
        date = _datetime.date(int(digits[:4]), int(digits[4:6]), int(digits[6:8]))
        time = _datetime.time(int(digits[8:10]), int(digits[10:12]), int(digits[12:]), tzinfo=UTC)
        return _datetime.datetime.combine(date, time)
    if not (len(text) >= 10 and text[:4].isdigit() and text[4] == "-"):
        raise ValueError(f"not a time: {text}")
    if text[-1] in "zZ":
        text = text[:-1] + "+00:00"
    moment = _datetime.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # An offset that leads out of the years 1 to 9999.
        raise ValueError(f"not a time: {text}") from None


def seconds_between(earlier, later):
    return (later - earlier).total_seconds()


def ahead(moment, now):
    """Whether a time is so far in the future that a clock was set, and not two clocks differ a little."""
    return seconds_between(now, moment) > SKEW_SECONDS


def after(moment, seconds):
    return moment + _datetime.timedelta(seconds=seconds)
