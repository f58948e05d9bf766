# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Looking at the backups of one name, judging them and verifying them again."""

from __future__ import annotations

from .. import session as room
from . import call


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
    given = call.about(config_path, database, backup_dir, name, **options)
    with room.operation("health", given, caller=caller, progress=progress) as session:
        from .. import looking

        return looking.health(session, verify or "none", fail_on)


def statistics(*, backup_dir=None, name=None, config_path=None, caller=None, progress=None):
    """Counts, sizes, success rate and durations: {name, statistics}."""
    given = call.about(config_path, None, backup_dir, name, need_database=False)
    with room.operation("statistics", given, caller=caller, progress=progress, silent=True) as session:
        from .. import looking

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
    given = call.about(config_path, None, backup_dir, name, need_database=False)
    with room.operation("info", given, caller=caller, progress=progress, silent=True) as session:
        from .. import looking

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
    given = call.about(config_path, None, backup_dir, name, **options)
    with room.operation("validate", given, caller=caller, progress=progress, silent=check) as session:
        from .. import validating

        with room.exclusive_where_writable(session):
            return session.result(**validating.validate(session, backups, adopt, record=not check))


def audit_log(*, backup_dir=None, name=None, limit=None, config_path=None, caller=None, progress=None):
    """Check the audit log's chain: {path, lines, intact, broken_at, torn, records (the newest ``limit``)}.

    Raises AuditBroken, naming the line, when the past was changed.
    """
    given = call.about(config_path, None, backup_dir, name, need_database=False, any_name=True)
    with room.operation("audit", given, caller=caller, progress=progress, silent=True) as session:
        from .. import looking

        return looking.audit_log(session, limit)
