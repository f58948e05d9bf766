# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a drill host is told of the backups that were brought to it."""

from __future__ import annotations

import posixpath

from ansible_collections.digitalme.backup.plugins.module_utils.engine import errors


def drill_arrived(chosen, results):
    """The rows that a host has chosen; those whose backup did not arrive with why, from the transfers' results."""
    lost = {
        result["item"]["name"]: result
        for result in results
        if (result.get("failed") or result.get("unreachable")) and "item" in result
    }
    return [{**row, **_lost(lost[row["name"]])} if row["name"] in lost else row for row in chosen]


def _lost(result):
    kind = errors.CODES.get(result.get("error_code"), errors.BackupError)
    cause = "it could not be brought to the drill host: " + " ".join(str(result.get("msg") or "it failed").split())
    return {"status": "failed", "error_code": kind.error_code, "cause": cause, "next_step": kind.hint, "settings": None}


def drill_calls(chosen, place):
    """The databases for the drill host, from what their own host has chosen; each one's backup lies in place/NAME."""
    return [
        {"name": row["name"], "backup_dir": posixpath.join(place, row["name"]), **row["settings"]}
        for row in chosen
        if row.get("backup") and row.get("settings")
    ]


class FilterModule:
    """The filters of this file."""

    def filters(self):
        """Names and functions."""
        return {"drill_arrived": drill_arrived, "drill_calls": drill_calls}
