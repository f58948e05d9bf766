# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The verdict on a name as one line for Nagios and its kin, after the guidelines of the Monitoring Plugins project."""

from __future__ import annotations

_WORDS = {"healthy": "OK", "degraded": "WARNING", "unhealthy": "CRITICAL"}
# check: (label, unit); what is measured in other units, or not at all, has no place in the performance data.
_MEASURED = {
    "newest_backup": "s",
    "newest_verified": "s",
    "restore_tested": "s",
    "count": "",
    "disk": "%",
    "shrunk": "%",
}


def line(result):
    """``BACKUP OK - shop: 13 checks are ok | 'newest_backup'=3600s;93600 ...`` from what `health` has found."""
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
    unit = _MEASURED.get(check["name"])
    value = check["value"]
    if unit is None or isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    limit = check["limit"] if isinstance(check["limit"], (int, float)) else ""
    # Fewer backups than the limit are bad, more of anything else.
    shown = f"{limit:g}:" if check["name"] == "count" and limit != "" else f"{limit:g}" if limit != "" else ""
    return f"'{check['name']}'={value:g}{unit};{shown}"
