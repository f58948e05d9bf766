# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the reviews of all hosts say together: the figures of each database, of the fleet, and what happened."""

from __future__ import annotations

import math
import statistics
from typing import NamedTuple

from ansible_collections.digitalme.backup.plugins.module_utils.engine import clock
from ansible_collections.digitalme.backup.plugins.module_utils.engine.review import finding

from .report import model, words

# So many failures and restores of the whole fleet are told, the newest; the hosts' audit logs have all.
TOLD = 50
_RATES = {"backups": "backup", "verifications": "validate", "restore_tests": "restore_test"}
_DISK = (
    "database_bytes",
    "database_bytes_per_day",
    "stored_bytes",
    "backups_bytes_per_day",
    "free_bytes",
    "used_percent",
    "days_left",
)
_EVENT = ("operation", "outcome", "who", "via", "cause")
_FINDING = ("id", "severity", "finding", "why", "todo")
_STATUSES = (*finding.STATUSES, "failed")
_WHY_CLOCK = "Ages, the RPO and the schedule go by the host's clock; so does what its log says."
_BAD_ANSWER = "Bring the collection on the host to the controller's version, then run it again with -l."


class Gathered(NamedTuple):
    """Lists for the entry: docs/BACKUP_MAINTENANCE_PROCEDURES.md has their fields."""

    hosts: list
    findings: list
    databases: list
    failures: list
    restores: list


def gathered(parts):
    """What the hosts have answered (`parts.read`), one after the other. One that makes no sense costs no other."""
    whole = Gathered([], [], [], [], [])
    for part in parts:
        try:
            found = _of(part)
        except (TypeError, ValueError, KeyError, AttributeError, IndexError, OverflowError) as error:
            cause = f"what it has answered is no review ({type(error).__name__}: {error})"
            found = Gathered(
                [_host(part, "failed", cause)], [_unreviewed(part["host"], None, cause, _BAD_ANSWER)], [], [], []
            )
        for mine, theirs in zip(whole, found):
            mine += theirs
    return whole._replace(failures=_newest(whole.failures), restores=_newest(whole.restores))


def _of(part):
    host, result = part["host"], part["result"] or {}
    found = Gathered(
        [_host(part, _status(result["status"]) if result else part["outcome"], part["cause"])], [], [], [], []
    )
    found.findings.extend(_finding(host, None, row) for row in result.get("findings") or ())
    found.findings.extend(_clock(host, model.skew(part, result)))
    for row in result.get("databases") or ():
        name = _text(row["name"])
        if row.get("cause"):
            found.findings.append(_unreviewed(host, name, _text(row["cause"]), _text(row["next_step"] or "")))
        found.findings.extend(_finding(host, name, each) for each in row["findings"])
        found.databases.append(_figures(host, name, row))
        log = row.get("log") or {}
        found.failures.extend(_event(host, name, each) for each in log.get("failures") or ())
        found.restores.extend(_event(host, name, each) for each in log.get("restores") or ())
    if part["outcome"] != "answered":
        found.findings.append(_unreviewed(host, None, part["cause"], part["next_step"]))
    return found


def _host(part, status, cause):
    return {"host": part["host"], "status": status, "cause": cause}


def _finding(host, database, row):
    told = {key: _text(row[key]) for key in _FINDING}
    if told["severity"] not in finding.SEVERITIES:
        raise ValueError(f"there is no severity {told['severity']}")
    return {"host": host, "database": database, **told}


def _unreviewed(host, database, cause, todo):
    why = "What nobody has looked at can be anything."
    told = {"id": "not_reviewed", "severity": "high", "finding": cause, "why": why, "todo": todo}
    return {"host": host, "database": database, **told}


def _clock(host, skew):
    if skew is None or abs(skew) <= clock.SKEW_SECONDS:
        return
    what = f"its clock is {words.span(abs(skew))} {'ahead of' if skew > 0 else 'behind'} the controller's"
    told = {"id": "clock_differs", "severity": "medium", "finding": what, "why": _WHY_CLOCK}
    yield {"host": host, "database": None, **told, "todo": "See which of the two is wrong, and keep both by NTP."}


def _figures(host, name, row):
    """The figures of a database; what was not looked at is left out."""
    log, disk, kept = (row.get(part) or {} for part in ("log", "disk", "retention"))
    rates = log.get("rates") or {}
    figures = {key: _rate(rates[kind]) for key, kind in _RATES.items() if kind in rates}
    if log:
        figures["days_without_backup"] = len(log["days_without_backup"])
    figures.update({key: _number(disk[key]) for key in _DISK if disk.get(key) is not None})
    if kept:
        figures.update(kept=_number(kept["kept"]), pinned=_number(kept["pinned"]))
        figures.update(would_remove=len(kept["would_remove"]), pre_restore=len(kept["pre_restore"]))
        figures.update(aside=len(kept["aside"]), aside_bytes=_number(kept["aside_bytes"]))
        figures.update(oldest_days=_number(kept["oldest_days"]), held=kept["held"] and _text(kept["held"]))
    months = {kind: _months(rows) for kind, rows in (row.get("performance") or {}).items() if rows}
    if months:
        figures["seconds"] = months
    known = {key: value for key, value in figures.items() if value is not None}
    return {"host": host, "database": name, "status": _status(row["status"]), **known}


def _rate(row):
    return {
        key: _number(row.get(key)) for key in ("runs", "ok", "percent", "runs_before", "ok_before", "percent_before")
    }


def _months(rows):
    """The newest month, and the usual one of those before."""
    newest, before = rows[-1], [_number(row["median_seconds"]) for row in rows[:-1]]
    return {
        "month": _text(newest["month"]),
        "median": _number(newest["median_seconds"]),
        "worst": _number(newest["worst_seconds"]),
        "before": round(statistics.median(before), 3) if before else None,
    }


def _event(host, database, row):
    told = {key: row[key] and _text(row[key]) for key in _EVENT}
    return {"host": host, "database": database, "time": clock.iso(clock.parse(row["time"])), **told}


def _newest(events):
    """Times of one form sort as text."""
    return sorted(events, key=lambda row: row["time"])[-TOLD:]


def _number(value):
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no number")
    return value


def _text(value):
    return words.clean(value)


def _status(value):
    if value not in _STATUSES:
        raise ValueError(f"there is no status {words.clean(value, 40)}")
    return value


def fleet(databases):
    """The success rates of all databases together, of each kind one as each database has it."""
    found = {}
    for key in _RATES:
        rows = [row[key] for row in databases if key in row]
        if not rows:
            continue
        total = {name: sum(row[name] or 0 for row in rows) for name in ("runs", "ok", "runs_before", "ok_before")}
        for end in ("", "_before"):
            runs = total[f"runs{end}"]
            total[f"percent{end}"] = round(100 * total[f"ok{end}"] / runs, 1) if runs else None
        found[key] = total
    return found
