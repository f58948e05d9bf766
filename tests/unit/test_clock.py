# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import datetime

import pytest
from engine import clock

MOMENT = datetime.datetime(2026, 11, 22, 2, 0, 0, tzinfo=clock.UTC)


def test_now_is_aware_and_utc():
    assert clock.now().utcoffset() == datetime.timedelta(0)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("2026-11-22T02:00:00Z", MOMENT),
        ("2026-11-22T02:00:00z", MOMENT),
        ("2026-11-22T02:00Z", MOMENT),
        ("2026-11-22 02:00:00", MOMENT),
        ("2026-11-22T04:00:00+02:00", MOMENT),
        ("2026-11-21T21:00:00-05:00", MOMENT),
        ("  2026-11-22T02:00:00.000Z\n", MOMENT),
        ("20261122_020000", MOMENT),
        ("2026-11-22", MOMENT.replace(hour=0)),
        ("2026-11-22T02:00:00.250Z", MOMENT.replace(microsecond=250000)),
    ],
)
def test_parse_understands(text, expected):
    assert clock.parse(text) == expected
    assert clock.parse(text).utcoffset() == datetime.timedelta(0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "latest",
        "app_20261122_020000.db",
        "20261122",
        "20261122-020000",
        "20261322_020000",
        "20261122_250000",
        "2026-13-01",
        "2026-11-31T00:00:00Z",
        "2026-11-22T02:00:00Zulu",
        "02:00",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
    ],
)
def test_parse_refuses_with_value_error(text):
    with pytest.raises(ValueError):
        clock.parse(text)


def test_iso_is_utc_with_z_and_milliseconds():
    elsewhere = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
    assert clock.iso(MOMENT.astimezone(elsewhere)) == "2026-11-22T02:00:00.000Z"


def test_iso_and_stamp_come_back_through_parse():
    moment = MOMENT.replace(microsecond=123000)
    assert clock.parse(clock.iso(moment)) == moment
    assert clock.parse(clock.stamp(moment)) == MOMENT


def test_differences_are_seconds_of_either_sign():
    later = clock.after(MOMENT, 90.5)
    assert clock.seconds_between(MOMENT, later) == 90.5
    assert clock.seconds_between(later, MOMENT) == -90.5


def test_monotonic_never_goes_back():
    readings = [clock.monotonic() for _ in range(1000)]
    assert readings == sorted(readings)
