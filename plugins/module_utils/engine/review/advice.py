# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The review of the strategy: what the settings promise, against what the history shows. Pure."""

from __future__ import annotations

from .. import clock, errors
from ..drill import objectives
from .finding import finding

_DAY = 86400
# How long after the last proof of a restore another one is due.
_PROOF_DAYS = 92


def of_settings(settings, schedule_seconds):
    """What the configuration of a name promises too little of. ``schedule_seconds`` is the longest pause between two
    scheduled backups, or None where there is no schedule.
    """
    return [*_objectives(settings, schedule_seconds), *_depth(settings, schedule_seconds)]


def _objectives(settings, pause):
    found = []
    try:
        aims = objectives.of(settings)
    except errors.ConfigError as error:
        return [
            finding("objective_absurd", "high", error.cause, "No drill can be measured by it.", "Give it in seconds.")
        ]
    for key, value in zip(objectives.OBJECTIVES, aims):
        if value is None:
            found.append(
                finding(
                    f"{key}_missing",
                    "medium",
                    f"no {key} is set",
                    "Without it nobody can say whether what a drill has measured is enough.",
                    f"Agree on it with the owner of the data, and set {key} (seconds).",
                )
            )
    if pause is None:
        found.append(
            finding(
                "no_schedule",
                "high",
                "no schedule is set",
                "Nothing backs this database up by itself.",
                "Set schedule, such as '0 2 * * *', and run install.yml.",
            )
        )
    elif aims.rpo is not None and pause > aims.rpo:
        found.append(
            finding(
                "schedule_too_coarse",
                "high",
                f"up to {pause / 3600:.1f} h lie between two backups, the rpo_objective is {aims.rpo / 3600:.1f} h",
                "What is written in between is lost when the database is.",
                "Schedule it more often, or agree on another objective.",
            )
        )
    return found


def _depth(settings, pause):
    found = []
    if settings["verify"] == "none":
        found.append(
            finding(
                "not_verified",
                "high",
                "backups are not verified (verify: none)",
                "A damaged database is backed up as if it were well, and its good backups expire.",
                "Set verify: full, or quick for a very large database.",
            )
        )
    if not settings["assertions"]:
        found.append(
            finding(
                "no_assertions",
                "low",
                "no assertion says what must be in the data",
                "A database that is empty by mistake is sound for SQLite.",
                "Give one of a table that is never empty: {sql: SELECT count(*) > 0 FROM orders}.",
            )
        )
    return [*found, *_limits(settings, pause), *_kept(settings["retention"], pause)]


def _limits(settings, pause):
    """Limits of the health check that a database in order can never keep."""
    limits, found = settings["health"], []
    for key, what in (("max_age", "a backup"), ("max_verified_age", "a verified backup")):
        limit = limits[key]
        if pause is not None and limit and limit < pause:
            found.append(
                finding(
                    "health_limit_too_short",
                    "medium",
                    f"health calls {what} too old after {limit / 3600:.1f} h, the next comes in {pause / 3600:.1f} h",
                    "The alert fires between two backups that are on time, and is ignored when it matters.",
                    f"Raise health.{key} above the pause, or schedule more often.",
                )
            )
    most = _most(settings["retention"])
    if limits["min_backups"] > most:
        found.append(
            finding(
                "health_limit_too_high",
                "medium",
                f"health wants {limits['min_backups']:g} backups, retention keeps {most:g} at most",
                "Every run of retention brings the alert back.",
                "Lower health.min_backups, or raise retention.max_files.",
            )
        )
    return found


def _most(kept):
    """The number of backups that can be there after retention."""
    if kept["keep_days"] and not kept["max_files"]:
        return _NO_END
    counts = [_count(kept[key]) for key in _BUCKET_DAYS] + [kept["max_files"] if kept["keep_days"] else 0]
    return max(sum(counts), kept["min_keep"])


def _count(value):
    return _NO_END if value < 0 else value


def _kept(kept, pause):
    """How far back what is kept reaches: to be of use a week later, as the monthly full restore wants it."""
    by_number = kept["max_files"] * pause / _DAY if kept["max_files"] and pause else _NO_END
    spans = [min(kept["keep_days"], by_number)]
    for key, days in _BUCKET_DAYS.items():
        # Several backups of one hour or day are one for these rules; of a rarer schedule each reaches as far as it can.
        spans.append(_count(kept[key]) * max(days, (pause or 0) / _DAY))
    longest = max(spans)
    if longest >= _WEEK_DAYS:
        return []
    why = f" (max_files {kept['max_files']:g} at this schedule)" if by_number < kept["keep_days"] else ""
    return [
        finding(
            "kept_too_short",
            "medium",
            f"no backup is kept for longer than {longest:.3g} days{why}",
            "Damage that is noticed after a week cannot be undone, and the monthly restore has nothing to take.",
            "Raise retention.keep_days and max_files, or keep some of each week (retention.keep_weekly: 4).",
        )
    ]


_WEEK_DAYS = 7
_NO_END = float("inf")
_BUCKET_DAYS = {
    "keep_last": 0,
    "keep_hourly": 1 / 24,
    "keep_daily": 1,
    "keep_weekly": 7,
    "keep_monthly": 30,
    "keep_yearly": 365,
}


def of_history(tested_at, now, database_bytes, rto_objective, restore_seconds):
    """What the past gives cause to change: when a restore was proved last, and how near it is to its objective."""
    found = []
    days = None if tested_at is None else clock.seconds_between(tested_at, now) / _DAY
    if days is None or days > _PROOF_DAYS:
        when = "never" if days is None else f"{days:.0f} days ago"
        found.append(
            finding(
                "not_drilled",
                "high",
                f"a restore was proved {when}",
                "Nobody knows whether this database can be brought back.",
                "Run drill.yml, and have the calendar run it (role maintenance).",
            )
        )
    if rto_objective and restore_seconds and restore_seconds > 0.8 * rto_objective:
        found.append(
            finding(
                "rto_near",
                "medium",
                f"a restore takes {restore_seconds:.1f} s of the {rto_objective:g} s that it may",
                "The database grows, and the objective will be missed.",
                "Prefer replacing the file (application stopped), a faster disk, or another objective.",
            )
        )
    if database_bytes and database_bytes > 10_000_000_000:
        found.append(
            finding(
                "large_database",
                "low",
                f"the database has {database_bytes / 1e9:.1f} GB",
                "Backup, verification and restore take minutes, and each kept backup that much room.",
                "Move what is old into a database of its own, or compress the backups (compression: zstd).",
            )
        )
    return found
