# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All that the API shows of a name, read once and again only when something has changed."""

from __future__ import annotations

import contextlib
import json
import os

from .. import audit, clock, looking, metrics
from .. import health as judging
from . import running

# What no name on the disk tells (the age of a backup that was due, a disk that fills) is looked at again after so long.
MOST_SECONDS = 60
# A directory that changed a moment ago may change again within the same tick of the filesystem's clock.
_TICK_SECONDS = 0.1
_OPERATIONS = 500
_COUNTS_BYTES = 8 * 1024 * 1024
# Of a count beside the name of its table.
_COUNT_BYTES = 10
# These look only, and are no operation that an operator asks about.
_LOOKS = ("health", "metrics", "notify")


def version(session):
    """A text that changes when the catalog, the audit log, the configuration or an operation does."""
    target, now = session.target, clock.now().timestamp()
    marks = []
    for path in (target.backup_dir, running.directory(target), target.audit_log, session.config.path):
        try:
            facts = os.stat(path) if path else None
        except OSError:
            facts = None
        marks.append("-" if facts is None else f"{facts.st_ino}.{facts.st_mtime_ns}.{facts.st_size}")
        if facts is not None and abs(now - facts.st_mtime) < _TICK_SECONDS:
            marks.append(f"{now}")
    return "/".join([*marks, str(int(now // MOST_SECONDS))])


def state(session, known):
    """{version, same} where nothing has changed since the version ``known``; else with all of it: backups (newest
    first), status, checks, statistics, operations, metrics (Prometheus text).

    The operations as a whole and each backup's manifest are JSON in a text: most answers need nothing of them, and a
    service that keeps thousands of them as text has little to look through when it collects its garbage.
    """
    # Before the reading: a change in between makes the next question read again.
    at = version(session)
    if at == known:
        return {"version": at, "same": True}
    target = session.target
    facts, checks, records = looking.state(session)
    return {
        "version": at,
        "same": False,
        "name": target.name,
        "database": target.database,
        "backup_dir": target.backup_dir,
        "backups": _views(facts.entries),
        "status": judging.status_of(checks),
        "checks": checks,
        "statistics": judging.statistics(facts.entries, records, target.name),
        "operations": json.dumps(_operations(target)),
        "metrics": metrics.text(facts, checks, records),
        "warnings": session.warnings,
    }


def _views(entries):
    """The backups. The row counts of a schema with very many tables are told of the newest ones, as far as there is
    room: whoever asks has to hold all of it in memory.
    """
    left = _COUNTS_BYTES
    views = []
    for entry in entries:
        view = entry.view()
        tables = entry.manifest["source"].get("tables") if entry.manifest else None
        if tables:
            left -= sum(map(len, tables)) + _COUNT_BYTES * len(tables)
            if left < 0:
                source = {key: value for key, value in entry.manifest["source"].items() if key != "tables"}
                view["manifest"] = {**entry.manifest, "source": source}
        views.append(_backup(view))
    return views


def _backup(view):
    known = view["manifest"] or {}
    checked, tested = _part(known, "verification"), _part(known, "restore_test")
    return {
        **view,
        "manifest": None if view["manifest"] is None else json.dumps(view["manifest"]),
        "sha256": known.get("sha256"),
        "verified_at": checked.get("checked_at"),
        "restore_tested_at": tested.get("checked_at") if tested.get("status") == "ok" else None,
    }


def _part(known, key):
    value = known.get(key)
    return value if isinstance(value, dict) else {}


def _operations(target):
    """What ran, newest first: from the audit log, and of those that came through the gate also their results."""
    polled = {row.get("id"): row for row in running.shown(target)}
    rows = []
    # A log that cannot be read is a finding of the checks, and hides nothing else.
    with contextlib.suppress(OSError):
        for line in audit.read(target.audit_log, target.name):
            if line.get("operation") not in _LOOKS:
                rows.append({**line, "id": _id(line), "polled": None})
                del rows[:-_OPERATIONS]
    for row in rows:
        row["polled"] = polled.pop(row["id"], None)
    left = [{"id": row["id"], "time": row["started_at"], "polled": row} for row in polled.values()]
    return sorted([*rows, *left], key=lambda row: str(row.get("time")), reverse=True)


def _id(line):
    """The request's id where the API asked; else one that is made of the line and the chain before it."""
    import hashlib

    by = line.get("by")
    asked = by.get("request") if isinstance(by, dict) else None
    if isinstance(asked, str):
        return asked
    return hashlib.sha256(json.dumps(line, sort_keys=True).encode("ascii")).hexdigest()[:32]
