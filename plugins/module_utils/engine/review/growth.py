# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How the backups grow, and when the disk will be full at that rate. Pure but for the size of the filesystem."""

from __future__ import annotations

from .. import clock
from .finding import finding

_DAY = 86400
# Fewer points, or a shorter time, make no trend.
FEWEST_POINTS = 3
SHORTEST_DAYS = 2
_SOON_DAYS = 30
_LATER_DAYS = 120


def reviewed(entries, use, limit_percent, max_files):
    """{points, stored_bytes, database_bytes, their rates, free_bytes, used_percent, days_left}.

    ``use`` is (used, total) bytes of the filesystem. A rate is None where too little is known. The backups grow with
    the database as long as their number stays what retention keeps.
    """
    points = sorted(
        (entry.created_at, entry.manifest["size_bytes"], entry.stored_bytes)
        for entry in entries
        if entry.kind == "regular"
        and entry.manifest
        and entry.created_at
        and isinstance(entry.manifest.get("size_bytes"), int)
    )
    used, total = use
    rate = slope([(moment, size) for moment, size, _stored in points])
    stored = slope([(moment, kept) for moment, _size, kept in points])
    whole = None if stored is None else stored * min(len(points), max_files or len(points))
    room = total * limit_percent / 100 - used
    return {
        "points": len(points),
        "stored_bytes": sum(entry.stored_bytes for entry in entries),
        "database_bytes": points[-1][1] if points else None,
        "database_bytes_per_day": None if rate is None else round(rate),
        "backups_bytes_per_day": None if whole is None else round(whole),
        "free_bytes": total - used,
        "used_percent": round(100 * used / total, 1) if total else None,
        "limit_percent": limit_percent,
        "days_left": None if not whole or whole <= 0 else max(0, round(room / whole)),
    }


def slope(points):
    """Bytes a day, by least squares over [(moment, bytes)]; None for too few points or too short a time."""
    if len(points) < FEWEST_POINTS:
        return None
    began = points[0][0]
    days = [clock.seconds_between(began, moment) / _DAY for moment, _size in points]
    if days[-1] < SHORTEST_DAYS:
        return None
    middle = sum(days) / len(days)
    mean = sum(size for _moment, size in points) / len(points)
    spread = sum((day - middle) ** 2 for day in days)
    return sum((day - middle) * (size - mean) for day, (_moment, size) in zip(days, points)) / spread


def findings(review):
    """What the trend gives cause to do."""
    left, used, limit = review["days_left"], review["used_percent"], review["limit_percent"]
    if used is not None and used > limit:
        return [
            finding(
                "disk_full",
                "high",
                f"the backups' filesystem is filled to {used:g} %, the limit is {limit:g} %",
                "No further backup is made.",
                "Free space there, keep fewer backups (retention.max_files, keep_days), or give it a larger disk.",
            )
        ]
    if left is None or left > _LATER_DAYS:
        return []
    return [
        finding(
            "disk_trend",
            "high" if left <= _SOON_DAYS else "medium",
            f"at its present growth the disk reaches its limit in {left} days",
            "From then on no backup is made.",
            "Plan a larger disk, compression (compression: zstd), or keep fewer backups.",
        )
    ]
