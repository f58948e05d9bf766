# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The table at the end of a play over a fleet."""

from __future__ import annotations

_HEAD = ("host", "database", "state", "what")
_LONGEST = 100


def fleet_rows(hosts, hostvars, variable):
    """One row for each database of each host: {host, database, state, what, protected}, from what each has registered.

    A host that could not be asked, or has no database, is a row too: it is not protected.
    """
    rows = []
    for host in hosts:
        result = hostvars.get(host, {}).get(variable) or {"msg": "nothing was asked of it"}
        found = [
            _row(host, each["name"], each["status"], each["message"], each["status"] != "failed")
            for each in result.get("databases") or ()
        ]
        rows += found or [_row(host, "-", *_without(result), False)]
    return rows


def _row(host, database, state, what, protected):
    return {"host": host, "database": database, "state": state, "what": what, "protected": protected}


def _without(result):
    cause = " ".join(str(result.get("msg") or "it has no database that is backed up").split())
    return ("unreachable" if result.get("unreachable") else "failed"), cause


def fleet_table(rows):
    """The rows as lines of equal columns."""
    cells = [_HEAD] + [tuple(_short(row[key]) for key in _HEAD) for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_HEAD))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in cells]


def _short(text):
    text = str(text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


class FilterModule:
    """The filters of this file."""

    def filters(self):
        """Names and functions."""
        return {"fleet_rows": fleet_rows, "fleet_table": fleet_table}
