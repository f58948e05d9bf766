# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The verdict on a name as one line for Nagios and its kin, after the guidelines of the Monitoring Plugins project."""

from __future__ import annotations

_WORDS = {"healthy": "OK", "degraded": "WARNING", "unhealthy": "CRITICAL"}
# check: (unit, place of its limit); what is measured in other units, or not at all, has no performance data.
_MEASURED = {
    "newest_backup": ("s", "critical"),
    "newest_verified": ("s", "critical"),
    "restore_tested": ("s", "warning"),
    "count": ("", "warning"),
    "disk": ("%", "warning"),
    "shrunk": ("%", "warning"),
}


def line(result):
    """``BACKUP OK - shop: 13 checks are ok | 'newest_backup'=3600s;;93600 ...`` from what `health` has found."""
    bad = [check["message"] for check in result["checks"] if check["status"] != "ok"]
    said = "; ".join(bad) if bad else f"{len(result['checks'])} checks are ok"
    measured = " ".join(filter(None, map(_measured, result["checks"])))
    return f"BACKUP {_WORDS[result['status']]} - {_plain(result['name'])}: {_plain(said)} | {measured}"


def unknown(name, cause):
    """The line where the state cannot be told."""
    return f"BACKUP UNKNOWN - {_plain(name or 'all')}: {_plain(cause)}"


def _plain(text):
    """One line, without the character that begins the performance data."""
    return " ".join(str(text).replace("|", "/").split())


def _measured(check):
    unit, place = _MEASURED.get(check["name"], (None, None))
    if unit is None or not _is_number(check["value"]):
        return None
    # Fewer backups than the limit are bad, more of anything else; 0 is no limit.
    limit = _plainly(check["limit"]) if _is_number(check["limit"]) and check["limit"] else ""
    limit += ":" if limit and check["name"] == "count" else ""
    thresholds = f";;{limit}" if limit and place == "critical" else f";{limit}"
    return f"'{check['name']}'={_plainly(check['value'])}{unit}{thresholds}"


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _plainly(number):
    """Without an exponent, which the guidelines do not know."""
    return f"{number:.3f}".rstrip("0").rstrip(".")
