# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the audit log tells of a name: success rates, failures, restores, empty days, seconds by month. Pure."""

from __future__ import annotations

from .. import clock, errors, health
from .finding import finding

TESTS = ("restore_test", "drill")
_DAY = 86400
# So many of a kind are told; the log has them all.
TOLD = 20
_SLOWER = 1.5
_FEWEST = 3
# A difference of less than that is noise, however large its share.
_LEAST_SECONDS = 1.0
_MONTHS = 12


def dated(records):
    """[(moment, record)] of the records whose time can be read, oldest first."""
    found = []
    for record in records:
        try:
            found.append((clock.parse(record["time"]), record))
        except (KeyError, ValueError, AttributeError, TypeError):
            continue
    return sorted(found, key=lambda pair: pair[0])


def reviewed(rows, now, days, pause=None):
    """{since_days, operations, rates, failures, restores, days_without_backup, future}.

    ``rows`` are what `dated` returns, ``pause`` the longest seconds between two scheduled backups (None: a day).
    """
    recent = _within(rows, now, 0, days)
    return {
        "since_days": days,
        "operations": _counted(recent),
        "rates": {kind: _rate(rows, now, days, kinds) for kind, kinds in _KINDS.items()},
        "failures": [_told(moment, row) for moment, row in recent if row.get("outcome") != "ok"][-TOLD:],
        "restores": [_told(moment, row) for moment, row in recent if row.get("operation") == "restore"][-TOLD:],
        "days_without_backup": _empty_days(rows, now, days, pause),
        "future": sum(clock.ahead(moment, now) for moment, _row in rows),
    }


_KINDS = {"backup": ("backup",), "validate": ("validate",), "restore_test": TESTS}


def _within(rows, now, nearest, farthest):
    """Those that are between so many and so many days old."""
    return [
        (moment, row) for moment, row in rows if nearest * _DAY <= clock.seconds_between(moment, now) < farthest * _DAY
    ]


def _counted(rows):
    counts: dict = {}
    for _moment, row in rows:
        one = counts.setdefault(str(row.get("operation")), {"ok": 0, "failed": 0})
        one["ok" if row.get("outcome") == "ok" else "failed"] += 1
    return counts


def _rate(rows, now, days, kinds):
    """{runs, ok, percent} of the last days, and with ``_before`` at their ends of as many days before."""
    found: dict = {}
    for end, nearest in (("", 0), ("_before", days)):
        outcomes = [
            row.get("outcome")
            for _at, row in _within(rows, now, nearest, nearest + days)
            if row.get("operation") in kinds
        ]
        good = outcomes.count("ok")
        percent = round(100 * good / len(outcomes), 1) if outcomes else None
        found.update({f"runs{end}": len(outcomes), f"ok{end}": good, f"percent{end}": percent})
    return found


def _told(moment, row):
    by = row.get("by") if isinstance(row.get("by"), dict) else {}
    who = by.get("subject") or by.get("sudo_user") or by.get("user") or by.get("uid")
    return {
        "time": clock.iso(moment),
        "operation": row.get("operation"),
        "outcome": row.get("outcome"),
        "who": None if who is None else errors.excerpt(who),
        "via": by.get("via"),
        "cause": errors.excerpt(row["error"]) if row.get("error") else None,
    }


def _empty_days(rows, now, days, pause):
    """The whole days (UTC) without a successful backup since the first one that the log knows of; today is not over.

    A pause that the schedule provides for is none: a database that is backed up on Sundays misses no Monday.
    """
    made = [
        moment
        for moment, row in rows
        if row.get("operation") == "backup" and row.get("outcome") == "ok" and moment <= now
    ]
    allowed = (pause or _DAY) + health.SCHEDULE_GRACE_SECONDS
    late = [
        (clock.iso(before)[:10], clock.iso(after)[:10])
        for before, after in zip(made, [*made[1:], now])
        if clock.seconds_between(before, after) > allowed
    ]
    wanted = [clock.iso(clock.after(now, -number * _DAY))[:10] for number in range(1, int(days) + 1)]
    return sorted(day for day in wanted if any(before < day < after for before, after in late))[-TOLD:]


def verifications(entries):
    """[(moment, seconds)] of the last successful verification of each backup, from its manifest."""
    found = []
    for entry in entries:
        told = (entry.manifest or {}).get("verification")
        if not isinstance(told, dict) or told.get("status") != "ok":
            continue
        try:
            found.append((clock.parse(told["checked_at"]), told["duration_seconds"]))
        except (KeyError, ValueError, AttributeError, TypeError):
            continue
    return found


def performance(rows, verified=()):
    """{operation: [{month, runs, median_seconds, worst_seconds}]} of what succeeded, oldest month first, of a year.

    ``verified``: what `verifications` returns.
    """
    found: dict = {}
    measured = [(moment, "verification", seconds) for moment, seconds in verified]
    for moment, row in rows:
        kind = "restore_test" if row.get("operation") in TESTS else row.get("operation")
        if kind in ("backup", "restore_test", "restore") and row.get("outcome") == "ok":
            measured.append((moment, kind, row.get("seconds")))
    for moment, kind, seconds in measured:
        if isinstance(seconds, (int, float)) and not isinstance(seconds, bool):
            found.setdefault(kind, {}).setdefault(clock.iso(moment)[:7], []).append(float(seconds))
    return {
        kind: [
            {"month": month, "runs": len(values), "median_seconds": _median(values), "worst_seconds": max(values)}
            for month, values in sorted(months.items())[-_MONTHS:]
        ]
        for kind, months in found.items()
    }


def _median(values):
    import statistics

    return round(statistics.median(values), 3)


# --- findings --------------------------------------------------------------------------------------------------------


def findings_of_log(review):
    """What the log's review gives cause to do."""
    found = []
    backups = review["rates"]["backup"]
    if backups["runs"] and backups["percent"] < 100:
        found.append(
            finding(
                "backups_fail",
                "high" if backups["percent"] < 90 else "medium",
                f"{backups['ok']} of {backups['runs']} backups of the last {review['since_days']:g} days succeeded",
                "A backup that fails is missing when it is needed.",
                "Look at the causes in 'failures', and mend the most frequent one (docs/ERRORS.md).",
            )
        )
    empty = review["days_without_backup"]
    if empty:
        found.append(
            finding(
                "days_without_backup",
                "high" if len(empty) > 1 else "medium",
                f"{len(empty)} days without a backup: {', '.join(empty[:5])}" + (" ..." if len(empty) > 5 else ""),
                "What was written on such a day could not have been brought back.",
                "See whether the timer ran on those days: systemctl list-timers 'digitalme-backup-*', journalctl -u.",
            )
        )
    if review["future"]:
        found.append(
            finding(
                "clock_wrong",
                "high",
                f"{review['future']} lines of the audit log are from the future: the clock was set back, or is wrong",
                "Ages, the RPO and the schedule go by the clock, and retention removes nothing until it is right.",
                "Compare the host's clock with others (timedatectl), and keep it right by NTP.",
            )
        )
    tests = review["rates"]["restore_test"]
    if tests["runs"] and tests["ok"] < tests["runs"]:
        found.append(
            finding(
                "restore_tests_fail",
                "high",
                f"{tests['runs'] - tests['ok']} of {tests['runs']} restore tests failed",
                "A backup that cannot be restored is none.",
                "Run digitalme-backup validate --name NAME, and back up anew what is damaged.",
            )
        )
    return found


def findings_of_performance(months):
    """Operations that have become slower by more than half against the months before."""
    found = []
    for kind, rows in months.items():
        before = [row for row in rows[:-1] if row["runs"] >= _FEWEST]
        if not before or rows[-1]["runs"] < _FEWEST:
            continue
        usual, now = _median([row["median_seconds"] for row in before]), rows[-1]["median_seconds"]
        if now > usual * _SLOWER and now - usual > _LEAST_SECONDS:
            found.append(
                finding(
                    f"{kind}_slower",
                    "medium",
                    f"a {kind.replace('_', ' ')} takes {now:.1f} s in {rows[-1]['month']}, it took {usual:.1f} s",
                    "A restore gets slower with it, and the log of the database grows for longer.",
                    "Compare with the growth of the database; if that is not it, look at the disk (iostat, SMART).",
                )
            )
    return found
