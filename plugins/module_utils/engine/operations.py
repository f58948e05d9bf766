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

from . import config, errors
from . import session as room

# Each operation imports its own rooms when it is called: a command starts as fast as what it runs.


def _call(config_path, database, backup_dir, name, **options):
    return {
        "config_path": config_path,
        "database": database,
        "backup_dir": backup_dir,
        "name": name,
        **options,
    }


# --- backup ----------------------------------------------------------------------------------------------------------


def backup(
    *,
    database=None,
    backup_dir=None,
    name=None,
    method=None,
    verify=None,
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
        from . import backing

        wish = backing.Wish(skip_if_younger_than or 0, skip_if_unchanged, trigger, pinned, annotations)
        if not check:
            # First: what it left may be what the checks would stumble over.
            room.settle_interrupted(session, wait=False)
        ready = backing.ready(session, wish)
        if check:
            return backing.planned(session, wish, ready)
        with room.exclusive(session, create=True):
            return backing.make(session, wish, ready.order)


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
    verify=None,
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
    backup_dir, name = room.where(backup, backup_dir, name, config_path)
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
    with room.operation("restore_test" if rehearsal else "restore", call, caller=caller, progress=progress) as session:
        from . import restoring

        wish = restoring.Wish(backup, force, pre_backup, rollback, strategy)
        with room.exclusive_where_writable(session):
            if test:
                return restoring.test(session, wish)
            if check:
                return restoring.rehearse_planned(session, wish)
            return restoring.restore(session, wish)


# --- retention and deletion ------------------------------------------------------------------------------------------


def retention(
    *,
    backup_dir=None,
    name=None,
    busy_timeout=None,
    config_path=None,
    caller=None,
    check=False,
    progress=None,
    **policy,
):
    """Expire backups: {changed, kept, removed: [{file, reasons}], held, freed_bytes}. ``policy`` as in `retention`.

    Raises RetentionBrake, with the plan in its details, and IoError after the rest was removed when some could not be.
    """
    unknown = set(policy) - set(config.RETENTION)
    if unknown:
        raise errors.UsageError(f"retention has no option {', '.join(sorted(unknown))}")
    options = {f"retention.{key}": value for key, value in policy.items()}
    call = _call(config_path, None, backup_dir, name, busy_timeout=busy_timeout, need_database=False, **options)
    with room.operation("retention", call, caller=caller, progress=progress, silent=check) as session:
        from . import expiring

        if check:
            room.require_backup_dir(session.target)
            return expiring.expire(session, expiring.plan(session), apply=False)
        with room.exclusive(session):
            return expiring.expire(session, expiring.plan(session), apply=True)


def delete(
    *, backup, backup_dir=None, name=None, busy_timeout=None, config_path=None, caller=None, check=False, progress=None
):
    """Delete one backup: {changed, file, freed_bytes}. NotConfirmed for a pinned one and for the last verified one."""
    backup_dir, name = room.where(backup, backup_dir, name, config_path)
    call = _call(config_path, None, backup_dir, name, busy_timeout=busy_timeout, need_database=False)
    with room.operation("delete", call, caller=caller, progress=progress, silent=check) as session:
        from . import expiring

        if check:
            entry = expiring.deletable(session, backup)
            return session.result(changed=True, file=entry.file, freed_bytes=entry.stored_bytes)
        with room.exclusive(session):
            return expiring.delete(session, expiring.deletable(session, backup))


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
    verify=None,
    fail_on="never",
    config_path=None,
    caller=None,
    progress=None,
):
    """{name, status, checks, statistics}; changes nothing. ``verify``: level at which the newest is looked at again.

    Ages in seconds. Raises Unhealthy, with the same in its details, when the status is as bad as ``fail_on`` (degraded,
    unhealthy).
    """
    options = {
        "health.max_age": max_age,
        "health.max_verified_age": max_verified_age,
        "health.max_restore_test_age": max_restore_test_age,
        "health.min_backups": min_backups,
        "health.max_shrink_percent": max_shrink_percent,
        "disk_limit_percent": disk_limit_percent,
        "need_database": False,
    }
    call = _call(config_path, database, backup_dir, name, **options)
    with room.operation("health", call, caller=caller, progress=progress) as session:
        from . import looking

        return looking.health(session, verify or "none", fail_on)


def statistics(*, backup_dir=None, name=None, config_path=None, caller=None, progress=None):
    """Counts, sizes, success rate and durations: {name, statistics}."""
    call = _call(config_path, None, backup_dir, name, need_database=False)
    with room.operation("statistics", call, caller=caller, progress=progress, silent=True) as session:
        from . import looking

        return looking.statistics(session)


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
    """The catalog, newest first: {name, backup_dir, total, backups}. With ``backup`` only the one that it means.

    ``status`` and ``kind`` filter by equality, ``since`` and ``until`` by time, ``limit`` by count.
    """
    backup_dir, name = room.where(backup, backup_dir, name, config_path)
    call = _call(config_path, None, backup_dir, name, need_database=False)
    with room.operation("info", call, caller=caller, progress=progress, silent=True) as session:
        from . import looking

        return looking.info(session, looking.Filter(backup, status, kind, since, until, limit))


def validate(
    *,
    backup_dir=None,
    name=None,
    backups=None,
    verify=None,
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
    backup_dir, name = room.where(backups[0] if backups else None, backup_dir, name, config_path)
    options = {"verify": verify, "assertions": assertions, "busy_timeout": busy_timeout, "need_database": False}
    call = _call(config_path, None, backup_dir, name, **options)
    with room.operation("validate", call, caller=caller, progress=progress, silent=check) as session:
        from . import validating

        with room.exclusive_where_writable(session):
            return session.result(**validating.validate(session, backups, adopt, record=not check))


def audit_log(*, backup_dir=None, name=None, limit=None, config_path=None, caller=None, progress=None):
    """Check the audit log's chain: {path, lines, intact, broken_at, torn, records (the newest ``limit``)}.

    Raises AuditBroken, naming the line, when the past was changed.
    """
    call = _call(config_path, None, backup_dir, name, need_database=False)
    with room.operation("audit", call, caller=caller, progress=progress, silent=True) as session:
        from . import looking

        return looking.audit_log(session, limit)
