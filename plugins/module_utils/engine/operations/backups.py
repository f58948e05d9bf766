# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Making, restoring and removing backups of one name."""

from __future__ import annotations

from .. import errors, settings
from .. import session as room
from . import call


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
    given = call.about(
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
    with room.operation("backup", given, caller=caller, progress=progress, silent=check) as session:
        from .. import backing

        wish = backing.Wish(skip_if_younger_than or 0, skip_if_unchanged, trigger, pinned, annotations)
        if not check:
            # First: what it left may be what the checks would stumble over.
            room.settle_interrupted(session, wait=False)
        ready = backing.ready(session, wish)
        if check:
            return backing.planned(session, wish, ready)
        with room.exclusive(session, create=True):
            return backing.make(session, wish, ready.order)


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
    confirm=None,
    fall_back=False,
    other_database=False,
    resume=False,
    undo=False,
    busy_timeout=None,
    config_path=None,
    caller=None,
    progress=None,
    check=False,
):
    """Restore a backup over a database, or rehearse it (``test``; with ``check`` the planned restore is rehearsed).

    {changed, recoverable, steps, backup, pre_restore_backup, rolled_back, rto_seconds, rpo_seconds, plan, recovered}.
    ``resume`` ends a restore that was interrupted, ``undo`` brings the content back that was there before the last one.
    Raises NotConfirmed for an existing database without ``force`` or with a ``confirm`` that is not the plan's id,
    OtherDatabase unless ``other_database``, and RolledBack when the old content was brought back.
    """
    ways = [way for way, wanted in (("resume", resume), ("undo", undo), ("test", test)) if wanted]
    if len(ways) > 1:
        raise errors.UsageError("of resume, undo and test only one can be asked for")
    backup_dir, name = room.where(backup, backup_dir, name, config_path)
    database = room.database_in(database, backup, backup_dir, name, config_path)
    options = {"verify": verify, "assertions": assertions, "busy_timeout": busy_timeout, "need_database": not test}
    given = call.about(config_path, database, backup_dir, name, **options)
    rehearsal = test or check
    with room.operation("restore_test" if rehearsal else "restore", given, caller=caller, progress=progress) as session:
        from .. import restoring

        wish = restoring.Wish(backup, force, pre_backup, rollback, strategy, confirm or None, fall_back, other_database)
        with room.exclusive_where_writable(session):
            return _restore(session, wish, ways[0] if ways else "restore", check)


def _restore(session, wish, way, check):
    """``way`` is restore, test, resume or undo; ``check`` tells what it would do instead."""
    from .. import restoring

    if way in ("resume", "undo"):
        from .. import undoing

        session.tell(way=way)
        return undoing.planned(session, wish, way) if check else getattr(undoing, way)(session, wish)
    if way == "test":
        return restoring.test(session, wish)
    return restoring.rehearse_planned(session, wish) if check else restoring.restore(session, wish)


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
    unknown = set(policy) - set(settings.RETENTION)
    if unknown:
        raise errors.UsageError(f"retention has no option {', '.join(sorted(unknown))}")
    options = {f"retention.{key}": value for key, value in policy.items()}
    given = call.about(config_path, None, backup_dir, name, busy_timeout=busy_timeout, need_database=False, **options)
    with room.operation("retention", given, caller=caller, progress=progress, silent=check) as session:
        from .. import expiring

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
    given = call.about(config_path, None, backup_dir, name, busy_timeout=busy_timeout, need_database=False)
    with room.operation("delete", given, caller=caller, progress=progress, silent=check) as session:
        from .. import expiring

        if check:
            entry = expiring.deletable(session, backup)
            return session.result(changed=True, file=entry.file, freed_bytes=entry.stored_bytes)
        with room.exclusive(session):
            return expiring.delete(session, expiring.deletable(session, backup))
