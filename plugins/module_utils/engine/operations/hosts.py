# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What concerns the host as a whole: runs, metrics, notifications, the scheduler, discovery, the engine itself."""

from __future__ import annotations

import sys

from .. import session as room
from . import backups, call, views


def run(*, names=None, parts=None, trigger="manual", fail_on="failed", config_path=None, check=False, **common):
    """The nightly run of the configured databases (all, or ``names``): {changed, status, databases, warnings}.

    ``parts``: some of backup, retention, health, metrics, notify (default: all), done in this order; one that fails
    hides no other, and nothing expires after a failed backup. Each of ``databases`` is {name, status (ok, degraded,
    failed), message, changed, parts: [{part, status, seconds, detail, error_code}], backup, removed, held, health,
    checks}. Raises RunFailed, with the same in its details, when the status is as bad as ``fail_on``.
    """
    from .. import host

    wanted = host.Wish(parts, trigger, check)
    return host.runs(
        names,
        wanted,
        (backups.backup, backups.retention, views.health, metrics),
        fail_on,
        config_path=config_path,
        **common,
    )


def metrics(*, name=None, backup_dir=None, config_path=None, caller=None, progress=None):
    """Write the metrics of a name into the directory that the configuration names: {changed, path or None, text}."""
    given = call.about(config_path, None, backup_dir, name, need_database=False)
    with room.operation("metrics", given, caller=caller, progress=progress) as session:
        from .. import host

        return host.metrics(session)


def notify(*, name=None, event="failure", message="", unless_told=False, config_path=None, caller=None, progress=None):
    """Tell the channels of an event (start, success, failure, hold): {changed, sent}. Raises NotificationFailed.

    With ``unless_told`` nothing is sent where a run of the name has ended, and told of it, just before.
    """
    from .. import host

    return host.notify(name or host.ALL, event, message, unless_told, config_path=config_path, caller=caller)


def schedule(*, config_path=None, caller=None, progress=None, say=print):
    """Run the databases by their cron expressions, in the foreground, until a signal: {failed_runs}."""
    from .. import scheduler

    failed = scheduler.Scheduler(config_path, scheduler.command(config_path), say).run()
    return {"changed": failed == 0, "failed_runs": failed}


def discover(*, roots, config_path=None, caller=None, progress=None, **wanted):
    """Find SQLite databases under the roots, and say which ones no backup is configured for; see `discover`."""
    from .. import config
    from .. import discover as finding

    return finding.discover(config.load(config_path), roots, **wanted)


def install(*, state="present", home, command, config_path=None, python=None, caller=None, check=False):
    """Put the engine and its command on this host, or take them away: {changed, state, changes, release}."""
    from .. import deploy

    if state == "absent":
        paths = deploy.removal(home, command)
        if not check:
            deploy.remove(paths)
        return {"changed": bool(paths), "state": state, "changes": list(paths), "release": None}
    wanted = deploy.plan(home, command, python or sys.executable, config_path)
    if not check:
        deploy.apply(wanted)
    return {"changed": bool(wanted.changes), "state": state, "changes": list(wanted.changes), "release": wanted.release}
