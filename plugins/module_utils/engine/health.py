# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks of one name's backups -> healthy | degraded | unhealthy; and statistics.

Each check is ``{"name", "status", "message", "value", "limit"}`` with status ``ok``, ``degraded`` or ``unhealthy``;
the whole is as bad as its worst check. Ages come from the manifests, never from a file's mtime. All the checks read
only; the catalog, the clock and the log are handed in, so that a check can be told any of them.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from . import audit, catalog, clock, cron, database, errors, kept_files, lock, space
from .restore import journal

STATUSES = ("healthy", "degraded", "unhealthy")
WORST = {"ok": 0, "degraded": 1, "unhealthy": 2}
# An operation that holds the lock for longer than this hangs.
LOCK_SECONDS = 6 * 3600
# How late a scheduled backup may be: it may start with a random delay, and takes its time.
SCHEDULE_GRACE_SECONDS = 2 * 3600
_DATE = 10
_TESTS = ("restore_test", "drill")


class Tested(NamedTuple):
    """A successful restore test: when, of which file, how many seconds it took (None: not told)."""

    at: object
    file: str
    seconds: float | None


class History(NamedTuple):
    """What the audit log tells of a name when its catalog does not any more: manifests go with expired backups."""

    first_backup: object = None
    tested: Tested | None = None


class Facts(NamedTuple):
    """What the checks look at. ``newest_findings`` is the verification of the newest backup made just now, or None."""

    entries: list
    target: object
    now: object
    newest_findings: object = None
    history: History = History()


def history(records):
    """The History of a name, from its records in the audit log, oldest first."""
    first, tested = None, None
    for row in records:
        if row.get("outcome") != "ok" or row.get("operation") not in ("backup", *_TESTS):
            continue
        try:
            at = clock.parse(row["time"])
        except (KeyError, ValueError, AttributeError):
            continue
        if row["operation"] in _TESTS:
            tested = Tested(at, str(row.get("file")), row.get("rto_seconds"))
        elif first is None:
            first = at
    return History(first, tested)


def judge(facts):
    """All checks, in a fixed order."""
    return [
        _newest(facts),
        _newest_verified(facts),
        _restore_tested(facts),
        _count(facts),
        _problems(facts),
        _shrunk(facts),
        _database(facts),
        _disk(facts),
        _schedule(facts),
        _lock(facts),
        _audit(facts),
        _interrupted(facts),
        _quarantine(facts),
    ]


def status_of(checks):
    return STATUSES[max(WORST[check["status"]] for check in checks)]


def _check(name, status, message, value=None, limit=None):
    return {"name": name, "status": status, "message": message, "value": value, "limit": limit}


def _regular(facts):
    return [entry for entry in facts.entries if entry.kind == "regular" and entry.status != "missing"]


def _age_check(name, what, entry, now, limit, worst):
    age = round(clock.seconds_between(entry.created_at, now), 3)
    if age < 0:
        return _check(name, "degraded", f"{what} {entry.file} is {-age:.0f} s in the future", age, limit)
    late = bool(limit) and age > limit
    return _check(name, worst if late else "ok", f"{what} {entry.file} is {age:.0f} s old", age, limit)


def _newest(facts):
    limit = facts.target.settings["health"]["max_age"]
    for entry in _regular(facts):
        if entry.created_at is not None:
            return _age_check("newest_backup", "the newest backup", entry, facts.now, limit, "unhealthy")
    return _check("newest_backup", "unhealthy", "there is no backup", None, limit)


def _newest_verified(facts):
    limit = facts.target.settings["health"]["max_verified_age"]
    verified = [entry for entry in _regular(facts) if entry.verified]
    if facts.newest_findings is not None and verified:
        entry, findings = facts.newest_findings
        if findings["status"] != "ok":
            causes = "; ".join(f"{row['check']}: {row['message']}" for row in findings["errors"])
            message = f"{entry.file} was verified now and is {findings['status']}: {causes}"
            return _check("newest_verified", "unhealthy", message, None, limit)
    if not verified:
        return _check("newest_verified", "unhealthy", "there is no verified backup", None, limit)
    return _age_check("newest_verified", "the newest verified backup", verified[0], facts.now, limit, "unhealthy")


def restore_tested(entries, past):
    """The newest successful restore test that a manifest or the audit log tells of, as Tested; or None."""
    tests = [past.tested] if past.tested else []
    for entry in entries:
        test = (entry.manifest or {}).get("restore_test")
        if isinstance(test, dict) and test.get("status") == "ok":
            try:
                tests.append(Tested(clock.parse(test["checked_at"]), entry.file, test.get("seconds")))
            except (KeyError, ValueError, AttributeError):
                continue
    return max(tests, key=lambda test: test.at) if tests else None


def _restore_tested(facts):
    limit = facts.target.settings["health"]["max_restore_test_age"]
    newest = restore_tested(facts.entries, facts.history)
    if newest is not None:
        age = round(clock.seconds_between(newest.at, facts.now), 3)
        late = bool(limit) and age > limit
        message = f"the newest successful restore test is {age:.0f} s old ({newest.file})"
        return _check("restore_tested", "degraded" if late else "ok", message, age, limit)
    dated = [entry.created_at for entry in _regular(facts) if entry.created_at]
    dated += [facts.history.first_backup] if facts.history.first_backup else []
    waiting = clock.seconds_between(min(dated), facts.now) if dated else 0
    late = bool(limit) and waiting > limit
    return _check("restore_tested", "degraded" if late else "ok", "no backup was ever restore-tested", None, limit)


def _count(facts):
    limit = facts.target.settings["health"]["min_backups"]
    verified = sum(entry.verified for entry in _regular(facts))
    status = "ok" if verified >= limit else "unhealthy" if not verified else "degraded"
    return _check("count", status, f"{verified} verified backups", verified, limit)


def _problems(facts):
    bad = [entry for entry in facts.entries if entry.status in ("invalid", "missing")]
    if not bad:
        return _check("catalog", "ok", "every manifest has its backup, none failed its last check", 0, 0)
    causes = "; ".join(f"{entry.file}: {'; '.join(entry.problems) or entry.status}" for entry in bad[:3])
    more = f" (and {len(bad) - 3} more)" if len(bad) > 3 else ""
    return _check("catalog", "degraded", f"{causes}{more}", len(bad), 0)


def _shrunk(facts):
    """A backup much smaller than the one before, or an emptied table, is worth a look before old ones expire."""
    limit = facts.target.settings["health"]["max_shrink_percent"]
    newest = [entry for entry in _regular(facts) if entry.manifest and entry.created_at][:2]
    if len(newest) < 2:
        return _check("shrunk", "ok", "there are not two backups to compare", None, limit)
    now, before = (entry.manifest for entry in newest)
    lost = shrink_percent(before.get("size_bytes"), now.get("size_bytes"))
    emptied = _emptied(before["source"].get("tables"), now["source"].get("tables"))
    if limit and lost > limit:
        return _check(
            "shrunk", "degraded", f"the newest backup is {lost:.0f} % smaller than the one before", lost, limit
        )
    if emptied:
        return _check("shrunk", "degraded", f"emptied since the backup before: {', '.join(emptied)}", lost, limit)
    return _check("shrunk", "ok", "the newest backup is about as large as the one before", lost, limit)


def shrink_percent(before, now):
    if not isinstance(before, int) or not isinstance(now, int) or before <= 0:
        return 0
    return max(0, round(100 * (before - now) / before))


def _emptied(before, now):
    if not isinstance(before, dict) or not isinstance(now, dict):
        return []
    return sorted(table for table, rows in before.items() if isinstance(rows, int) and rows > 0 and not now.get(table))


def _database(facts):
    path = facts.target.database
    if path is None:
        return _check("database", "ok", "no database is configured for this name", None, None)
    try:
        header = database.check_file(path)
    except errors.BackupError as error:
        return _check("database", "unhealthy", error.message, None, None)
    live = max(database.content_bytes(path), header.page_count * header.page_size)
    newest = next((entry for entry in _regular(facts) if entry.manifest), None)
    limit = facts.target.settings["health"]["max_shrink_percent"]
    lost = shrink_percent(newest.manifest.get("size_bytes"), live) if newest else 0
    if limit and lost > limit:
        message = f"the live database is {lost:.0f} % smaller than its newest backup"
        return _check("database", "degraded", message, lost, limit)
    return _check("database", "ok", f"the live database has {live} bytes", lost, limit)


def _disk(facts):
    limit = facts.target.settings["disk_limit_percent"]
    where = facts.target.backup_dir
    if not os.path.isdir(where):
        return _check("disk", "unhealthy", f"the backup directory {errors.show(where)} does not exist", None, limit)
    used, total = space.disk_use(where)
    percent = round(100 * used / total, 1) if total else 100.0
    status = "ok" if percent <= limit else "degraded"
    return _check("disk", status, f"{percent} % of the backup filesystem is used", percent, limit)


def _schedule(facts):
    expression = facts.target.settings["schedule"]
    if not expression:
        return _check("schedule", "ok", "no schedule is configured", None, None)
    try:
        times = cron.parse(expression, facts.target.settings["timezone"])
    except errors.ConfigError as error:
        return _check("schedule", "degraded", error.message, expression, None)
    dated = [entry.created_at for entry in _regular(facts) if entry.created_at]
    due = times.previous(clock.after(facts.now, -SCHEDULE_GRACE_SECONDS))
    if not dated or max(dated) < due:
        return _check("schedule", "degraded", f"no backup since {clock.iso(due)}, when one was due", expression, None)
    return _check("schedule", "ok", f"a backup was made since {clock.iso(due)}", expression, None)


def _lock(facts):
    path = facts.target.lock_path
    owner = lock.read_owner(path)
    if not owner or not lock.is_held(path):
        return _check("lock", "ok", "no operation is running", 0, LOCK_SECONDS)
    try:
        age = clock.seconds_between(clock.parse(owner["since"]), facts.now)
    except (KeyError, ValueError, AttributeError):
        age = 0
    status = "degraded" if age > LOCK_SECONDS else "ok"
    return _check("lock", status, f"running: {lock.describe(owner)}", round(age, 3), LOCK_SECONDS)


def _audit(facts):
    try:
        found = audit.check(facts.target.audit_log)
    except OSError as error:
        message = f"the audit log {errors.show(facts.target.audit_log)} cannot be read: {error.strerror}"
        return _check("audit", "degraded", message, None, None)
    if not found["intact"]:
        message = (
            f"the audit log's chain is broken at line {found['broken_at']} of {errors.show(facts.target.audit_log)}"
        )
        return _check("audit", "degraded", message, found["broken_at"], None)
    torn = f", {len(found['torn'])} torn" if found["torn"] else ""
    return _check("audit", "ok", f"{found['lines']} lines, the chain is whole{torn}", found["lines"], None)


def _interrupted(facts):
    try:
        pending = journal.pending(facts.target.database) if facts.target.database else None
    except errors.BackupError as error:
        return _check("interrupted", "unhealthy", error.message, None, None)
    if pending:
        return _check("interrupted", "unhealthy", pending.message, pending.phase, None)
    left = catalog.leftovers(facts.target.backup_dir, facts.target.name)
    if lock.is_held(facts.target.lock_path):
        return _check("interrupted", "ok", "an operation is running", None, None)
    # Those of an operation that has just ended are gone, or finished, and one that has just begun has others.
    left = sorted(set(left).intersection(catalog.leftovers(facts.target.backup_dir, facts.target.name)))
    if left:
        return _check(
            "interrupted", "degraded", f"left by a run that was killed, the next removes it: {left[0]}", len(left), 0
        )
    return _check("interrupted", "ok", "nothing was interrupted", 0, 0)


def _quarantine(facts):
    kept = kept_files.quarantined(facts.target.backup_dir, facts.target.name)
    if kept:
        message = f"{len(kept)} failed copies are kept aside, the newest is {kept[-1]}: look at them, then remove them"
        return _check("quarantine", "degraded", message, len(kept), 0)
    return _check("quarantine", "ok", "no failed copy is kept aside", 0, 0)


# --- statistics ----------------------------------------------------------------------------------------------------


def statistics(entries, records, name):
    """Counts and sizes by state and day from the catalog, success rate and durations of backups from the audit log."""
    regular = [entry for entry in entries if entry.kind == "regular" and entry.status != "missing"]
    by_status: dict = {}
    for entry in entries:
        by_status[entry.status] = by_status.get(entry.status, 0) + 1
    dated = sorted(entry.created_at for entry in regular if entry.created_at)
    runs = [row for row in records if row.get("operation") == "backup" and row.get("name") == name]
    good = [row for row in runs if row.get("outcome") == "ok"]
    seconds = sorted(row["seconds"] for row in good if isinstance(row.get("seconds"), (int, float)))
    newest = restore_tested(entries, history(row for row in records if row.get("name") == name))
    return {
        "total_backups": len(regular),
        "verified_backups": sum(entry.verified for entry in regular),
        "pre_restore_backups": sum(entry.kind == "pre_restore" for entry in entries),
        "by_status": by_status,
        "stored_bytes": sum(entry.stored_bytes for entry in entries),
        "oldest": clock.iso(dated[0]) if dated else None,
        "newest": clock.iso(dated[-1]) if dated else None,
        "newest_verified": next((clock.iso(entry.created_at) for entry in regular if entry.verified), None),
        "newest_restore_test": clock.iso(newest.at) if newest else None,
        "runs": len(runs),
        "success_percent": round(100 * len(good) / len(runs), 1) if runs else None,
        "duration_seconds": _spread(seconds),
        "by_day": _by_day(regular),
    }


def _spread(values):
    if not values:
        return {"min": None, "median": None, "max": None}
    return {"min": values[0], "median": values[len(values) // 2], "max": values[-1]}


def _by_day(entries):
    days: dict = {}
    for entry in entries:
        if entry.created_at:
            day = days.setdefault(clock.iso(entry.created_at)[:_DATE], {"count": 0, "stored_bytes": 0})
            day["count"] += 1
            day["stored_bytes"] += entry.stored_bytes
    return [{"date": day, **days[day]} for day in sorted(days, reverse=True)]
