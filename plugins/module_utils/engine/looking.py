# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The operations that look at what is there: health, statistics, info, and the check of the audit log."""

from __future__ import annotations

from typing import NamedTuple

from . import audit, catalog, clock, errors, files, lock, manifest
from . import session as room

_TELLING = ("backup", "run", "restore_test", "drill")


class Filter(NamedTuple):
    """Which backups `info` shows; None: all."""

    backup: str | None
    status: str | None
    kind: str | None
    since: str | None
    until: str | None
    limit: int | None


def info(session, wanted):
    """The catalog, newest first, as the filter wants it."""
    target = session.target
    room.check_backup_dir(target)
    entries = _seen(target)
    if wanted.backup is not None:
        entries = [catalog.resolve(wanted.backup, target.backup_dir, target.name, entries)]
    since, until = _moment(wanted.since), _moment(wanted.until)
    chosen = [entry for entry in entries if _matches(entry, wanted, since, until)]
    return session.result(
        changed=False,
        name=target.name,
        backup_dir=target.backup_dir,
        total=len(chosen),
        backups=[entry.view() for entry in chosen[: wanted.limit or None]],
    )


def _seen(target):
    """The catalog, without manifests whose backup somebody may be removing just now: the manifest goes last."""
    entries = catalog.scan(target.backup_dir, target.name)
    if all(entry.status != "missing" for entry in entries):
        return entries
    going = lock.is_held(target.lock_path)
    there = [not going and files.exists(manifest.path_for(entry.path)) for entry in entries]
    return [entry for entry, left in zip(entries, there) if left or entry.status != "missing"]


def _moment(text):
    if text is None:
        return None
    try:
        return clock.parse(text)
    except ValueError:
        hint = "Use ISO 8601, such as 2026-11-22T02:00:00Z."
        raise errors.UsageError(f"'{errors.show(text)}' is not a time", hint=hint) from None


def _matches(entry, wanted, since, until):
    if (wanted.status and entry.status != wanted.status) or (wanted.kind and entry.kind != wanted.kind):
        return False
    if since is None and until is None:
        return True
    when = entry.created_at
    return when is not None and (since is None or when >= since) and (until is None or when <= until)


def state(session, level="none"):
    """(health.Facts, its checks, the audit log's records): what the name's state is told from."""
    from . import health as judging

    target = session.target
    entries = _seen(target)
    records = _records(session)
    findings = _looked_at(session, entries, level)
    facts = judging.Facts(entries, target, clock.now(), findings, judging.history(records))
    return facts, judging.judge(facts), records


def health(session, level, fail_on):
    """Judge the backups of the name; with a level other than none the newest verified one is looked at again."""
    from . import health as judging

    target = session.target
    facts, checks, records = state(session, level)
    status = judging.status_of(checks)
    session.tell(status=status)
    found = {
        "changed": False,
        "name": target.name,
        "status": status,
        "checks": checks,
        "statistics": judging.statistics(facts.entries, records, target.name),
    }
    if fail_on != "never" and judging.STATUSES.index(status) >= judging.STATUSES.index(fail_on):
        causes = "; ".join(check["message"] for check in checks if check["status"] != "ok")
        raise errors.Unhealthy(
            f"the backups of '{target.name}' are {status}: {causes}", path=target.backup_dir, **found
        )
    return session.result(**found)


def _looked_at(session, entries, level):
    newest = catalog.newest_verified(entries)
    if level == "none" or newest is None:
        return None
    from . import validating

    with room.exclusive_where_writable(session):
        return newest, validating.examine(session, newest, level, ())["verification"]


def statistics(session):
    """Counts, sizes, success rate and durations of the name."""
    from . import health as judging

    target = session.target
    entries = catalog.scan(target.backup_dir, target.name)
    found = judging.statistics(entries, _records(session), target.name)
    return session.result(changed=False, name=target.name, statistics=found)


def _records(session):
    """The audit log's records of what this name's state is told from: a log of many names need not fit into memory.

    A log that this user may not read must not keep the backups' state from being seen.
    """
    name = session.target.name
    try:
        records = audit.read(session.target.audit_log, name)
        return [row for row in records if row.get("operation") in _TELLING]
    except OSError as error:
        session.warnings.append(f"the audit log cannot be read, so the runs are not counted: {error}")
        return []


def audit_log(session, limit):
    """Check the chain of the audit log and show its newest lines; raises AuditBroken."""
    path = session.target.audit_log
    found = audit.check(path)
    if not found["intact"]:
        raise errors.AuditBroken(f"the chain breaks at line {found['broken_at']}", path=path, **found)
    records = list(audit.read(path))
    return session.result(changed=False, path=path, records=records[-limit:] if limit else [], **found)
