# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What came of a transfer that went through a station."""

from __future__ import annotations


def transfer_row(legs, database):
    """One result of the two legs' results: what is at the destination, and what is not and why.

    The second leg is empty or skipped where there was nothing to bring on, and in check mode.
    """
    first, second = [{} if leg.get("skipped") else leg for leg in legs]
    whys = [_why(leg) for leg in (first, second) if leg.get("failed") or leg.get("unreachable")]
    row = {"item": database, "bytes": (second or first).get("bytes", 0), "failed": bool(whys)}
    if whys:
        row["msg"] = "; ".join(whys)
    if "files" in first:
        found = {one["file"]: one for one in first["files"]}
        if second and "files" not in second:
            # What has reached the station alone is not where it should be.
            lost = {"state": "failed", "bytes": 0, "problem": _why(second)}
            found = {file: {**one, **lost} if one["state"] == "sent" else one for file, one in found.items()}
        found.update({one["file"]: one for one in second.get("files", ())})
        row["files"] = [found[file] for file in sorted(found)]
    return row


def _why(leg):
    return str(leg.get("msg") or "it failed")


class FilterModule:
    """The filters of this file."""

    def filters(self):
        """Names and functions."""
        return {"transfer_row": transfer_row}
