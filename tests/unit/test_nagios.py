# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The line for Nagios, read as the guidelines of the Monitoring Plugins say that it is read."""

from __future__ import annotations

import re

import pytest
from engine import nagios, operations

# 'label'=value[unit];[warning];[critical], without exponents.
DATUM = re.compile(r"'([^'=]+)'=(-?[0-9.]+)(s|%|)(?:;([0-9.]*:?))?(?:;([0-9.]*:?))?")


def _check(name, status="ok", message="fine", value=None, limit=None):
    return {"name": name, "status": status, "message": message, "value": value, "limit": limit}


def _line(*checks, status="healthy", name="app"):
    return nagios.line({"name": name, "status": status, "checks": list(checks), "statistics": {}})


def _data(line):
    """{label: (value, unit, warning, critical)} of the performance data."""
    data = line.partition(" | ")[2].split(" ")
    return {found[1]: found.groups("")[1:] for found in (DATUM.fullmatch(datum) for datum in data)}


@pytest.mark.parametrize("status, word", [("healthy", "OK"), ("degraded", "WARNING"), ("unhealthy", "CRITICAL")])
def test_line_begins_with_the_state_and_the_name(status, word):
    assert _line(_check("disk", value=1, limit=80), status=status).startswith(f"BACKUP {word} - app: ")


def test_line_says_what_is_wrong_and_nothing_of_what_is_not():
    line = _line(
        _check("count", "unhealthy", "0 verified backups", 0, 1),
        _check("disk", "ok", "80 % are used", 80, 80),
        _check("lock", "degraded", "running: backup"),
        status="unhealthy",
    )
    assert line.split(" | ")[0] == "BACKUP CRITICAL - app: 0 verified backups; running: backup"
    assert _line(_check("disk", value=1)).startswith("BACKUP OK - app: 1 checks are ok | ")


def test_nothing_from_the_data_ends_the_line_or_begins_the_performance_data():
    bad = _check("database", "degraded", "first\nsecond\t| 'x'=1\r\nthird")
    line = _line(bad, _check("disk", value=1, limit=2), status="degraded", name="a|b\nc")
    assert line == "BACKUP WARNING - a/b c: first second / 'x'=1 third | 'disk'=1%;2"
    assert nagios.unknown("a|b", "one\ntwo | three") == "BACKUP UNKNOWN - a/b: one two / three"
    assert nagios.unknown(None, "no configuration") == "BACKUP UNKNOWN - all: no configuration"


def test_performance_data_have_units_and_limits_where_they_belong():
    line = _line(
        _check("newest_backup", value=3600.5, limit=93600),
        _check("newest_verified", value=7200, limit=93600),
        _check("restore_tested", value=86400, limit=2678400),
        _check("count", value=7, limit=3),
        _check("disk", value=41.5, limit=80),
        _check("shrunk", value=0, limit=50),
        _check("lock", value=12, limit=21600),
    )
    assert _data(line) == {
        "newest_backup": ("3600.5", "s", "", "93600"),
        "newest_verified": ("7200", "s", "", "93600"),
        "restore_tested": ("86400", "s", "2678400", ""),
        "count": ("7", "", "3:", ""),
        "disk": ("41.5", "%", "80", ""),
        "shrunk": ("0", "%", "50", ""),
    }


def test_large_numbers_have_no_exponent_and_keep_their_digits():
    assert _data(_line(_check("newest_backup", value=123456789.25)))["newest_backup"][0] == "123456789.25"


@pytest.mark.parametrize("limit", [None, 0])
def test_no_limit_is_none(limit):
    assert _data(_line(_check("newest_backup", value=5, limit=limit)))["newest_backup"] == ("5", "s", "", "")


@pytest.mark.parametrize("value", [None, True, "0 2 * * *"])
def test_what_was_not_measured_has_no_performance_data(value):
    assert _data(_line(_check("newest_backup", value=value), _check("disk", value=1))).keys() == {"disk"}


def test_line_of_a_real_verdict_is_well_formed(database, backup_dir):
    place = {"database": database, "backup_dir": str(backup_dir), "disk_limit_percent": 100}
    operations.backup(**place)
    line = nagios.line(operations.health(**place))
    assert line.startswith("BACKUP OK - app: 13 checks are ok | ") and "\n" not in line
    assert _data(line).keys() == {"newest_backup", "newest_verified", "count", "disk"}
