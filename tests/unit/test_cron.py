# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import datetime
import random
import sys
import time

import pytest
from engine import cron, errors

MOMENT = datetime.datetime(2026, 11, 22, 12, 0, tzinfo=datetime.timezone.utc)
# In POSIX's own words, so that no time zone database is needed: summer time from the last Sunday of March to October's.
BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"


@pytest.fixture(autouse=True)
def zone(monkeypatch):
    """zone(name): this process's local time; UTC unless asked otherwise."""

    def set_to(name):
        monkeypatch.setenv("TZ", name)
        if hasattr(time, "tzset"):  # Windows has one zone for all processes.
            time.tzset()

    set_to("UTC")
    yield set_to
    monkeypatch.undo()
    if hasattr(time, "tzset"):  # Windows has one zone for all processes.
        time.tzset()


def _previous(expression, text):
    return cron.parse(expression).previous(datetime.datetime.fromisoformat(text + "+00:00")).isoformat()[:16]


@pytest.mark.parametrize(
    "expression, moment, expected",
    [
        ("0 2 * * *", "2026-11-22T02:00", "2026-11-22T02:00"),
        ("0 2 * * *", "2026-11-22T01:59", "2026-11-21T02:00"),
        ("*/15 * * * *", "2026-11-22T00:14", "2026-11-22T00:00"),
        ("5/20 * * * *", "2026-11-22T00:44", "2026-11-22T00:25"),
        ("0 0 31 * *", "2026-11-22T00:00", "2026-10-31T00:00"),
        ("0 0 29 2 *", "2026-11-22T00:00", "2024-02-29T00:00"),
        ("0 0 * * 0", "2026-11-21T00:00", "2026-11-15T00:00"),
        ("0 0 * * 7", "2026-11-21T00:00", "2026-11-15T00:00"),
        ("0 0 * * sun", "2026-11-21T00:00", "2026-11-15T00:00"),
        ("0 0 * JAN Mon-Fri", "2026-11-21T00:00", "2026-01-30T00:00"),
        ("0 0 13 * 5", "2026-11-22T00:00", "2026-11-20T00:00"),
        ("0 0 13 * *", "2026-11-22T00:00", "2026-11-13T00:00"),
        ("0 0 */2 * 5", "2026-11-26T00:00", "2026-11-13T00:00"),
        ("0 0 1,15 * *", "2026-11-22T00:00", "2026-11-15T00:00"),
        ("59 23 31 12 *", "2026-11-22T00:00", "2025-12-31T23:59"),
        ("@daily", "2026-11-22T12:00", "2026-11-22T00:00"),
        ("@Hourly", "2026-11-22T12:34", "2026-11-22T12:00"),
        ("@weekly", "2026-11-21T12:34", "2026-11-15T00:00"),
        ("@monthly", "2026-11-21T12:34", "2026-11-01T00:00"),
        ("@yearly", "2026-11-21T12:34", "2026-01-01T00:00"),
        ("  0   2\t* * *  ", "2026-11-22T02:00", "2026-11-22T02:00"),
    ],
)
def test_previous_is_the_last_firing_at_or_before(expression, moment, expected):
    assert _previous(expression, moment) == expected


@pytest.mark.parametrize("expression", ["0 0 31 2 *", "0 0 30 feb *", "0 0 31 4,6,9,11 *", "0 0 30 2 */2"])
def test_day_that_never_comes_is_refused(expression):
    with pytest.raises(errors.ConfigError, match="a day that never comes"):
        cron.parse(expression)


def test_leap_day_on_a_weekday_is_found_within_its_forty_years():
    assert _previous("0 0 29 2 */7", "2039-12-31T00:00") == "2032-02-29T00:00"


# --- against a model that looks at every minute ----------------------------------------------------------------------


def _matches(text, value, low, high):
    for part in text.split(","):
        span, _slash, step = part.partition("/")
        first, _dash, last = span.partition("-")
        if span == "*":
            first, last = low, high
        else:
            first, last = int(first), int(last) if last else (high if step else int(first))
        if value in range(first, last + 1, int(step or 1)):
            return True
    return False


def _fires(fields, moment):
    minute, hour, day, month, weekday = fields
    if not _matches(minute, moment.minute, 0, 59) or not _matches(hour, moment.hour, 0, 23):
        return False
    if not _matches(month, moment.month, 1, 12):
        return False
    by_day = _matches(day, moment.day, 1, 31)
    sunday_first = (moment.weekday() + 1) % 7
    by_weekday = _matches(weekday, sunday_first, 0, 6) or (sunday_first == 0 and _matches(weekday, 7, 1, 7))
    if day[0] != "*" and weekday[0] != "*":
        return by_day or by_weekday
    return by_day and by_weekday


def _random_field(generator, low, high):
    kind = generator.randrange(6)
    first = generator.randint(low, high)
    last = generator.randint(first, high)
    if kind < 2:
        return "*"
    if kind == 2:
        return str(first)
    if kind == 3:
        return f"{first}-{last}"
    if kind == 4:
        return generator.choice([f"*/{generator.randint(1, 12)}", f"{first}-{last}/{generator.randint(1, 9)}"])
    return f"{first},{generator.randint(low, high)}"


@pytest.mark.parametrize("seed", range(60))
def test_previous_agrees_with_looking_at_every_minute(seed):
    generator = random.Random(seed)
    fields = [_random_field(generator, *bounds) for bounds in ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))]
    moment = MOMENT - datetime.timedelta(minutes=generator.randrange(3 * 366 * 1440))
    expected, days = None, 45
    minute = moment.replace(second=0)
    for _step in range(days * 1440):
        if _fires(fields, minute):
            expected = minute
            break
        minute -= datetime.timedelta(minutes=1)
    try:
        found = cron.parse(" ".join(fields)).previous(moment)
    except errors.ConfigError:
        found = None
    if expected is None:
        assert found is None or found < moment - datetime.timedelta(days=days - 1), fields
    else:
        assert found == expected, fields


# --- local time ------------------------------------------------------------------------------------------------------


def _utc(moment):
    return moment.astimezone(datetime.timezone.utc).isoformat()[:16]


@pytest.mark.parametrize(
    "moment, expected",
    [
        ("2026-07-01T00:00", "2026-07-01T00:00"),
        ("2026-06-30T23:59", "2026-06-30T00:00"),
        ("2026-12-01T00:59", "2026-11-30T01:00"),
        ("2026-12-01T01:00", "2026-12-01T01:00"),
    ],
)
def test_times_are_the_hosts_local_wall_clock(zone, moment, expected):
    zone(BERLIN)
    found = cron.parse("0 2 * * *").previous(datetime.datetime.fromisoformat(moment + "+00:00"))
    assert _utc(found) == expected and found.hour == 2


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
@pytest.mark.parametrize("expression", ["30 2 * * *", "0 2 * * *", "*/10 * * * *", "0 3 * * *"])
def test_previous_is_never_in_the_future_when_the_clocks_change(zone, day, expression):
    zone(BERLIN)
    schedule = cron.parse(expression)
    moment = datetime.datetime.fromisoformat(day + "T00:00+00:00")
    last = None
    for _step in range(4 * 60):
        found = schedule.previous(moment)
        assert found <= moment
        # What the change skips does not fire that night, as with systemd's timers.
        assert moment - found <= datetime.timedelta(hours=50 if day == "2026-03-29" else 26)
        assert last is None or found >= last
        last = found
        moment += datetime.timedelta(minutes=1)


# --- the next firing and the longest interval ------------------------------------------------------------------------


def _walk(expression, start, count, zone=None):
    schedule = cron.parse(expression, zone)
    moment = datetime.datetime.fromisoformat(start + "+00:00")
    for _step in range(count):
        moment = schedule.next(moment)
        yield _utc(moment)


@pytest.mark.parametrize(
    ("expression", "zone", "start", "expected"),
    [
        ("0 2 * * *", "UTC", "2026-11-22T02:00", ["2026-11-23T02:00", "2026-11-24T02:00"]),
        ("0 2 * * *", "UTC", "2026-11-22T01:59:59", ["2026-11-22T02:00"]),
        ("0 2 * * *", "Asia/Kolkata", "2026-11-22T00:00", ["2026-11-22T20:30"]),
        ("0 0 29 2 *", "UTC", "2026-11-22T00:00", ["2028-02-29T00:00", "2032-02-29T00:00"]),
        ("0 0 13 * 5", "UTC", "2026-11-10T00:00", ["2026-11-13T00:00", "2026-11-20T00:00"]),
        # The clock goes forward: 02:30 does not exist on 29 March, and the hour after it comes at once.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", ["2026-03-30T00:30"]),
        ("30 1-3 * * *", "Europe/Berlin", "2026-03-28T23:00", ["2026-03-29T00:30", "2026-03-29T01:30"]),
        # It goes back: 02:30 comes twice and fires the first time, unless the second is what comes next.
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", ["2026-10-25T00:30", "2026-10-26T01:30"]),
        ("0,30 * * * *", "Europe/Berlin", "2026-10-25T00:00", ["2026-10-25T00:30", "2026-10-25T02:00"]),
        ("0,30 * * * *", "Europe/Berlin", "2026-10-25T01:05", ["2026-10-25T01:30", "2026-10-25T02:00"]),
        # Half an hour of daylight saving.
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00", ["2026-10-04T15:15"]),
    ],
)
def test_next_is_the_first_firing_after(expression, zone, start, expected):
    assert list(_walk(expression, start, len(expected), zone)) == expected


def test_hosts_own_zone_is_taken_where_none_is_named(zone):
    zone(BERLIN)
    assert list(_walk("30 2 * * *", "2026-03-28T12:00", 1)) == ["2026-03-30T00:30"]
    assert list(_walk("30 2 * * *", "2026-10-24T12:00", 2)) == ["2026-10-25T00:30", "2026-10-26T01:30"]


@pytest.mark.parametrize("seed", range(40))
def test_previous_of_the_next_is_the_next(seed):
    generator = random.Random(seed)
    fields = [_random_field(generator, *bounds) for bounds in ((0, 59), (0, 23), (1, 28), (1, 12), (0, 7))]
    schedule = cron.parse(" ".join(fields), "Europe/Berlin")
    moment = MOMENT
    for _step in range(20):
        following = schedule.next(moment)
        assert following > moment
        assert schedule.previous(following) == following
        assert schedule.previous(following - datetime.timedelta(seconds=1)) <= moment or moment == MOMENT
        moment = following


@pytest.mark.parametrize(
    ("expression", "seconds"),
    [
        ("* * * * *", 60),
        ("*/15 * * * *", 900),
        ("0 2 * * *", 86400),
        ("0 2,8 * * *", 18 * 3600),
        ("0 2 * * 1-5", 3 * 86400),
        ("0 2 1 * *", 31 * 86400),
        ("0 2 31 * *", 61 * 86400),
        ("0 2 1 1 *", 365 * 86400),
        ("0 0 29 2 *", 1461 * 86400),
    ],
)
def test_longest_interval_is_the_widest_gap_between_two_firings(expression, seconds):
    assert cron.parse(expression, "UTC").longest_interval(MOMENT) == seconds


def test_utc_needs_no_database_of_time_zones(monkeypatch):
    monkeypatch.setitem(sys.modules, "zoneinfo", None)
    assert _utc(cron.parse("0 2 * * *", "UTC").next(MOMENT)) == "2026-11-23T02:00"
    with pytest.raises(ImportError):
        cron.parse("0 2 * * *", "Europe/Berlin")


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", "Europe", "a\nb", "x" * 5000, 5, ["UTC"]])
def test_unknown_time_zone_is_refused(zone):
    with pytest.raises(errors.ConfigError, match="is not known here") as caught:
        cron.parse("0 2 * * *", zone)
    assert "\n" not in caught.value.message and len(caught.value.message) < 500


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "expression, cause",
    [
        ("", "0 fields"),
        ("* * * *", "4 fields"),
        ("* * * * * *", "6 fields"),
        ("@sometimes", "1 fields"),
        ("60 * * * *", "minute '60'"),
        ("* 24 * * *", "hour '24'"),
        ("* * 0 * *", "day of month '0'"),
        ("* * 32 * *", "day of month '32'"),
        ("* * * 13 *", "month '13'"),
        ("* * * * 8", "day of week '8'"),
        ("5-1 * * * *", "minute '5-1'"),
        ("-5 * * * *", "minute"),
        ("*/0 * * * *", "step in minute"),
        ("*/ * * * *", "minute"),
        ("*/x * * * *", "minute"),
        ("1,,2 * * * *", "minute"),
        ("a * * * *", "minute has 'a'"),
        ("mon * * * *", "minute has 'mon'"),
        ("* * * foo *", "month has 'foo'"),
        ("1.5 * * * *", "minute has '1.5'"),
        ("1-2-3 * * * *", "minute"),
        ("٣ * * * *", "minute"),
        ("9" * 5000 + " * * * *", "minute"),
        ("* * * * * two lines", "7 fields"),
        ("0 2\n* * *", "cannot be printed"),
        ("0 2 * * *\n", "cannot be printed"),
        ("@daily\n", "cannot be printed"),
        ("0 2 * * *\n* * * * * root id", "cannot be printed"),
        ("0 2\r* * *", "cannot be printed"),
        ("0 2\x0b* * *", "cannot be printed"),
        ("0 2\u2003* * *", "cannot be printed"),
        ("0 2 * * \x1b[31m", "cannot be printed"),
        (" ".join("7" * 20000), "20000 fields"),
        ("1," * 10000 + "x * * * *", "minute has 'x'"),
        (None, "it is no text"),
        (5, "it is no text"),
        (["0 2 * * *"], "it is no text"),
    ],
    ids=lambda text: repr(text)[:12],
)
def test_error_names_the_field_and_shows_the_way_out(expression, cause):
    with pytest.raises(errors.ConfigError) as caught:
        cron.parse(expression)
    assert cause in caught.value.cause and "0 2 * * *" in caught.value.hint
    assert caught.value.message.isprintable() and len(caught.value.message) < 500
