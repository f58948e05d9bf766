# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One function for each operation: the only door. Modules, command line and API call these and nothing else.

All arguments are by keyword. Common to them: ``database`` (path), ``backup_dir``, ``name``, ``config_path``; ``caller``
says who asked, for the audit log ({"via": "cli"}, with "subject" for the API); ``progress(stage, done, total)`` is told
how far a long step has come (total 0: unknown). What is None comes from the configuration. ``check`` plans and
rehearses, and changes nothing. Each returns plain data and raises the errors of `errors`; after an error everything is
as it was, or the error's details say what is not.
"""

from __future__ import annotations

import os

from . import audit, catalog, clock, compress, errors, files
from . import health as health_room
from . import retention as retention_room
from . import session as room
from . import snapshot, store, verify
from .database import check_file


def _call(config_path, database, backup_dir, name, **options):
    return {
        "config_path": config_path,
        "database": database,
        "backup_dir": backup_dir,
        "name": name,
        **options,
    }


def _result(session, **fields):
    return {**fields, "warnings": session.warnings}


# --- backup ----------------------------------------------------------------------------------------------------------


def backup(
    *,
    database=None,
    backup_dir=None,
    name=None,
    method=None,
    verify=None,  # pylint: disable=redefined-outer-name
    assertions=None,
    compression=None,
    busy_timeout=None,
    skip_if_younger_than=0,
    skip_if_unchanged=False,
    disk_limit_percent=None,
    pinned=False,
    annotations=None,
    trigger="manual",
    config_path=None,
    caller=None,
    progress=None,
    check=False,
):
    """Back up a live database: {changed, backup (the manifest and its path, or None), skipped_reason, recovered}.

    Seconds for ``busy_timeout`` and ``skip_if_younger_than``. Raises Unverifiable after a backup that cannot be judged
    here was nevertheless stored (its details carry it), VerificationFailed after one that failed was kept aside.
    """
    call = _call(
        config_path,
        database,
        backup_dir,
        name,
        method=method,
        verify=verify,
        assertions=assertions,
        compression=compression,
        busy_timeout=busy_timeout,
        disk_limit_percent=disk_limit_percent,
    )
    with room.operation("backup", call, caller=caller, progress=progress, silent=check) as session:
        order = _order(session.settings, trigger, pinned, annotations)
        skip = {"younger_than": skip_if_younger_than or 0, "unchanged": skip_if_unchanged}
        header = check_file(session.target.database)
        room.check_backup_dir(session.target)
        compress.require(order.compression)
        chosen, reason = snapshot.choose(order.method, header)
        if check:
            return _planned_backup(session, order, skip, chosen, reason)
        with room.exclusive(session):
            return _made_backup(session, order, skip)


def _order(settings, trigger, pinned, annotations):
    verify.check_level(settings["verify"])
    return store.Order(
        trigger=trigger,
        method=settings["method"],
        level=settings["verify"],
        assertions=tuple(settings["assertions"]),
        compression=settings["compression"],
        busy_timeout=settings["busy_timeout"],
        pinned=pinned,
        annotations=annotations,
    )


def _planned_backup(session, order, skip, chosen, reason):
    """Check mode: what a run would do. Whether the content has changed can only be told by looking at all of it."""
    target = session.target
    entries = catalog.scan(target.backup_dir, target.name)
    skipped = _too_young(entries, skip["younger_than"])
    if not skipped:
        _require_limit(session, order)
    newest = _newest_verified(entries)
    if not skipped and skip["unchanged"] and newest is not None:
        if _content_now(session, order.method) == newest.manifest["content_sha256"]:
            skipped = _unchanged(newest)
    plan = {"database": target.database, "backup_dir": target.backup_dir, "method": chosen, "method_reason": reason}
    plan["file"] = catalog.new_file_name(target.backup_dir, target.name, clock.now(), compression=order.compression)
    return _result(
        session, changed=not skipped, backup=None, skipped_reason=skipped, recovered=None, plan=None if skipped else plan
    )


def _content_now(session, method):
    """SHA-256 of what a snapshot of the live database would contain, taken in a scratch place."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="digitalme-backup-") as directory:
        path = os.path.join(directory, "now.db")
        files.require_space(directory, store.space_needed(session.target), "the comparison")
        files.create_new(path)
        snapshot.take(session.target.database, path, method, busy_timeout=session.settings["busy_timeout"])
        return files.sha256(path)


def _made_backup(session, order, skip):
    target = session.target
    recovered = room.settle_interrupted(session)
    entries = catalog.scan(target.backup_dir, target.name)
    skipped = _too_young(entries, skip["younger_than"])
    if skipped:
        session.tell(skipped=skipped)
        return _result(session, changed=False, backup=None, skipped_reason=skipped, recovered=recovered)
    _require_limit(session, order)
    newest = _newest_verified(entries)
    if skip["unchanged"] and newest is not None:
        order = order._replace(unless_equal_to=newest.manifest["content_sha256"])
    made = store.make(target, order, session.progress)
    if made.path is None:
        skipped = _unchanged(newest)
        session.tell(skipped=skipped)
        return _result(session, changed=False, backup=None, skipped_reason=skipped, recovered=recovered)
    session.tell(
        file=made.manifest["file"],
        bytes=made.manifest["stored_bytes"],
        method=made.manifest["method"],
        verification=made.manifest["verification"]["status"],
    )
    session.warnings.extend(made.manifest["verification"]["warnings"])
    stored = {**made.manifest, "path": made.path}
    if made.manifest["verification"]["status"] == "unverifiable":
        causes = "; ".join(row["message"] for row in made.manifest["verification"]["errors"])
        raise errors.Unverifiable(f"the backup was stored, but cannot be verified here ({causes})", path=made.path, backup=stored)
    return _result(session, changed=True, backup=stored, skipped_reason=None, recovered=recovered)


def _newest_verified(entries):
    return next((entry for entry in entries if entry.verified and entry.kind == "regular"), None)


def _too_young(entries, seconds):
    newest = _newest_verified(entries)
    if not seconds or newest is None:
        return None
    age = clock.seconds_between(newest.created_at, clock.now())
    if 0 <= age < seconds:
        return f"{newest.file} is {age:.0f} s old, younger than {seconds:g} s"
    return None


def _unchanged(newest):
    return f"the content is that of {newest.file}"


def _require_limit(session, order):
    """Refuse a backup that would fill its filesystem beyond the limit."""
    limit = session.settings["disk_limit_percent"]
    where = session.target.backup_dir
    while not os.path.isdir(where):
        where = os.path.dirname(where)
    used, total = files.disk_use(where)
    needed = store.space_needed(session.target, order.compression)
    percent = 100 * (used + needed) / total if total else 100.0
    if percent > limit:
        raise errors.NoSpace(
            f"the backup would fill its filesystem to {percent:.1f} %, more than disk_limit_percent {limit:g}",
            path=where,
            needed_bytes=needed,
        )


# --- restore ---------------------------------------------------------------------------------------------------------


def restore(
    *,
    database=None,
    backup="latest",  # pylint: disable=redefined-outer-name
    backup_dir=None,
    name=None,
    test=False,
    force=False,
    pre_backup=True,
    verify=None,  # pylint: disable=redefined-outer-name
    assertions=None,
    rollback=True,
    strategy="auto",
    busy_timeout=None,
    config_path=None,
    caller=None,
    progress=None,
    check=False,
):
    """Restore a backup over a database, or rehearse it (``test``; with ``check`` the planned restore is rehearsed).

    {changed, recoverable, steps, backup, pre_restore_backup, rolled_back, rto_seconds, rpo_seconds, plan, recovered}.
    Raises NotConfirmed for an existing database without ``force``; RolledBack when the old content was brought back.
    """
    from . import restoring

    backup_dir, name = restoring.where(backup, backup_dir, name)
    call = _call(
        config_path,
        database,
        backup_dir,
        name,
        verify=verify,
        assertions=assertions,
        busy_timeout=busy_timeout,
        need_database=not test,
    )
    rehearsal = test or check
    wish = restoring.Wish(backup, force, pre_backup, rollback, strategy)
    with room.operation("restore_test" if rehearsal else "restore", call, caller=caller, progress=progress) as session:
        with room.exclusive_where_writable(session):
            if test:
                return restoring.test(session, wish)
            if check:
                return restoring.rehearse_planned(session, wish)
            return restoring.restore(session, wish)


# --- retention and deletion ------------------------------------------------------------------------------------------

RETENTION_OPTIONS = (
    "keep_days",
    "max_files",
    "keep_last",
    "keep_hourly",
    "keep_daily",
    "keep_weekly",
    "keep_monthly",
    "keep_yearly",
    "min_keep",
    "max_age",
    "max_remove_percent",
)


def retention(
    *, backup_dir=None, name=None, busy_timeout=None, config_path=None, caller=None, check=False, progress=None, **policy
):
    """Expire backups: {changed, kept, removed: [{file, reasons}], held, freed_bytes}. ``policy`` as in `retention`.

    Raises RetentionBrake, with the plan in its details, and IoError after the rest was removed when some could not be.
    """
    unknown = set(policy) - set(RETENTION_OPTIONS)
    if unknown:
        raise errors.UsageError(f"retention has no option {', '.join(sorted(unknown))}")
    options = {f"retention.{key}": value for key, value in policy.items()}
    call = _call(config_path, None, backup_dir, name, busy_timeout=busy_timeout, need_database=False, **options)
    with room.operation("retention", call, caller=caller, progress=progress, silent=check) as session:
        target = session.target
        retention_room.check_policy(session.settings["retention"])
        if not os.path.isdir(target.backup_dir):
            room.check_backup_dir(target)
            raise errors.BackupNotFound("there is no backup directory", path=target.backup_dir)
        if check:
            return _expired(session, _retention_plan(session), apply=False)
        with room.exclusive(session):
            return _expired(session, _retention_plan(session), apply=True)


def _retention_plan(session):
    entries = catalog.scan(session.target.backup_dir, session.target.name)
    return retention_room.plan(entries, session.settings["retention"], clock.now())


def _expired(session, plan, apply):
    rows = {
        "kept": [_retention_row(row) for row in plan.kept],
        "removed": [_retention_row(row) for row in plan.removed],
        "held": plan.hold,
    }
    session.tell(held=plan.hold)
    if plan.brake:
        raise errors.RetentionBrake(plan.brake, path=session.target.backup_dir, **rows)
    if not apply:
        freed = sum(row.entry.stored_bytes for row in plan.removed)
        return _result(session, changed=bool(plan.removed), freed_bytes=freed, **rows)
    removed, freed, failed = retention_room.apply(plan, session.target.backup_dir)
    rows["removed"] = [_retention_row(row) for row in removed]
    session.tell(removed=len(removed), bytes=freed)
    if failed:
        raise errors.IoError(
            f"{len(failed)} backups could not be removed ({failed[0]['error']})",
            path=session.target.backup_dir,
            freed_bytes=freed,
            not_removed=failed,
            **rows,
        )
    return _result(session, changed=bool(removed), freed_bytes=freed, **rows)


def _retention_row(row):
    return {"file": row.entry.file, "reasons": list(row.reasons)}


def delete(*, backup, backup_dir=None, name=None, busy_timeout=None, config_path=None, caller=None, check=False, progress=None):
    """Delete one backup: {changed, file, freed_bytes}. Refuses a pinned one and the last verified one (NotConfirmed)."""
    from . import restoring

    backup_dir, name = restoring.where(backup, backup_dir, name)
    call = _call(config_path, None, backup_dir, name, busy_timeout=busy_timeout, need_database=False)
    with room.operation("delete", call, caller=caller, progress=progress, silent=check) as session:
        if check:
            entry = _deletable(session, backup)
            return _result(session, changed=True, file=entry.file, freed_bytes=entry.stored_bytes)
        with room.exclusive(session):
            entry = _deletable(session, backup)
            session.tell(file=entry.file, bytes=entry.stored_bytes)
            decision = retention_room.Decision(entry, False, ("asked for",))
            _removed, freed, failed = retention_room.apply(retention_room.Plan((decision,), None, None), session.target.backup_dir)
            if failed:
                raise errors.IoError(failed[0]["error"], path=entry.path)
            return _result(session, changed=True, file=entry.file, freed_bytes=freed)


def _deletable(session, reference):
    target = session.target
    entries = catalog.scan(target.backup_dir, target.name)
    entry = catalog.resolve(reference, target.backup_dir, target.name, entries)
    if os.path.dirname(entry.path) != target.backup_dir:
        raise errors.BackupNotFound("it does not lie in the backup directory", path=entry.path)
    if entry.pinned(clock.now()):
        raise errors.NotConfirmed("the backup is pinned", path=entry.path, hint="Nothing was removed; unpin it first.")
    verified = [other for other in entries if other.verified and other.kind == "regular"]
    if entry.verified and [other.file for other in verified] == [entry.file]:
        raise errors.NotConfirmed(
            "it is the last verified backup", path=entry.path, hint="Nothing was removed; make another backup first."
        )
    return entry


# --- looking and judging ---------------------------------------------------------------------------------------------


def health(
    *,
    backup_dir=None,
    name=None,
    database=None,
    max_age=None,
    max_verified_age=None,
    max_restore_test_age=None,
    min_backups=None,
    max_shrink_percent=None,
    disk_limit_percent=None,
    verify=None,  # pylint: disable=redefined-outer-name
    fail_on="never",
    config_path=None,
    caller=None,
    progress=None,
):
    """{status, checks, statistics}; changes nothing. ``verify`` (a level) looks at the newest verified backup again.

    Raises Unhealthy, with the same in its details, when the status is as bad as ``fail_on`` (degraded, unhealthy).
    """
    options = {
        "health.max_age": max_age,
        "health.max_verified_age": max_verified_age,
        "health.max_restore_test_age": max_restore_test_age,
        "health.min_backups": min_backups,
        "health.max_shrink_percent": max_shrink_percent,
    }
    call = _call(
        config_path, database, backup_dir, name, disk_limit_percent=disk_limit_percent, need_database=False, **options
    )
    with room.operation("health", call, caller=caller, progress=progress) as session:
        target = session.target
        entries = catalog.scan(target.backup_dir, target.name)
        newest = _newest_verified(entries)
        looked_at = None
        if verify not in (None, "none") and newest is not None:
            from . import validating

            looked_at = (newest, validating.examine(session, newest, verify, ())["verification"])
        checks = health_room.judge(health_room.Facts(entries, target, clock.now(), looked_at))
        status = health_room.status_of(checks)
        session.tell(status=status)
        found = {
            "changed": False,
            "name": target.name,
            "status": status,
            "checks": checks,
            "statistics": health_room.statistics(entries, audit.read(target.audit_log), target.name),
        }
        if fail_on != "never" and health_room.STATUSES.index(status) >= health_room.STATUSES.index(fail_on):
            causes = "; ".join(check["message"] for check in checks if check["status"] != "ok")
            raise errors.Unhealthy(f"the backups of '{target.name}' are {status}: {causes}", path=target.backup_dir, **found)
        return _result(session, **found)


def statistics(*, backup_dir=None, name=None, config_path=None, caller=None, progress=None):
    """Counts, sizes, success rate and durations: {name, statistics}."""
    call = _call(config_path, None, backup_dir, name, need_database=False)
    with room.operation("statistics", call, caller=caller, progress=progress, silent=True) as session:
        target = session.target
        entries = catalog.scan(target.backup_dir, target.name)
        found = health_room.statistics(entries, audit.read(target.audit_log), target.name)
        return _result(session, changed=False, name=target.name, statistics=found)


def info(
    *,
    backup_dir=None,
    name=None,
    backup=None,  # pylint: disable=redefined-outer-name
    status=None,
    kind=None,
    since=None,
    until=None,
    limit=None,
    config_path=None,
    caller=None,
    progress=None,
):
    """The catalog, newest first: {name, backup_dir, backups}. With ``backup`` only the one that the reference means.

    ``status`` and ``kind`` filter by equality, ``since`` and ``until`` by time, ``limit`` by count.
    """
    from . import restoring

    backup_dir, name = restoring.where(backup, backup_dir, name)
    call = _call(config_path, None, backup_dir, name, need_database=False)
    with room.operation("info", call, caller=caller, progress=progress, silent=True) as session:
        target = session.target
        room.check_backup_dir(target)
        entries = catalog.scan(target.backup_dir, target.name)
        if backup is not None:
            entries = [catalog.resolve(backup, target.backup_dir, target.name, entries)]
        chosen = [entry for entry in entries if _matches(entry, status, kind, _moment(since), _moment(until))]
        shown = chosen if not limit else chosen[:limit]
        return _result(
            session,
            changed=False,
            name=target.name,
            backup_dir=target.backup_dir,
            total=len(chosen),
            backups=[entry.view() for entry in shown],
        )


def _moment(text):
    if text is None:
        return None
    try:
        return clock.parse(text)
    except ValueError:
        raise errors.UsageError(f"'{errors.show(text)}' is not a time", hint="Use ISO 8601, such as 2026-11-22T02:00:00Z.") from None


def _matches(entry, status, kind, since, until):
    if (status and entry.status != status) or (kind and entry.kind != kind):
        return False
    if since is None and until is None:
        return True
    when = entry.created_at
    return when is not None and (since is None or when >= since) and (until is None or when <= until)


def validate(
    *,
    backup_dir=None,
    name=None,
    backups=None,
    verify=None,  # pylint: disable=redefined-outer-name
    assertions=None,
    adopt=False,
    busy_timeout=None,
    config_path=None,
    caller=None,
    progress=None,
    check=False,
):
    """Verify backups again and record the result: {changed, backups: [{file, status, errors, seconds, adopted}]}.

    ``backups`` are references, None means all. ``adopt`` gives a backup without a manifest one. Raises BackupInvalid or
    Unverifiable, with all rows in the details, when one of them is not sound.
    """
    from . import restoring, validating

    backup_dir, name = restoring.where(backups[0] if backups else None, backup_dir, name)
    call = _call(
        config_path, None, backup_dir, name, verify=verify, assertions=assertions, busy_timeout=busy_timeout, need_database=False
    )
    with room.operation("validate", call, caller=caller, progress=progress, silent=check) as session:
        with room.exclusive_where_writable(session):
            return _result(session, **validating.validate(session, backups, adopt, record=not check))


def audit_log(*, backup_dir=None, name=None, limit=None, config_path=None, caller=None, progress=None):
    """Check the audit log's chain: {path, lines, intact, broken_at, torn, records (the newest ``limit``)}.

    Raises AuditBroken, naming the line, when the past was changed.
    """
    call = _call(config_path, None, backup_dir, name, need_database=False)
    with room.operation("audit", call, caller=caller, progress=progress, silent=True) as session:
        path = session.target.audit_log
        found = audit.check(path)
        if not found["intact"]:
            raise errors.AuditBroken(f"the chain breaks at line {found['broken_at']}", path=path, **found)
        records = list(audit.read(path))
        return _result(session, changed=False, path=path, records=records[-limit:] if limit else [], **found)
