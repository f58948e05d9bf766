# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Looking at the past and the rights of a host's backups."""

from __future__ import annotations

from .. import errors


def review(
    *,
    names=None,
    look_at=None,
    since_days=7,
    fail_on="never",
    config_path=None,
    check=False,
    caller=None,
    progress=None,
):
    """Review the configured databases (all, or ``names``): {changed (False), status, audit, findings, databases}.

    ``look_at``: some of log, disk, retention, performance, access, configuration, strategy (default: all), over so
    many days. Each of ``databases`` has a status (ok, attention, action, failed), its ``findings`` {id, severity,
    finding, why, todo}, and what they are told from. Raises ReviewFailed, with the same in its details, when the status
    is as bad as ``fail_on`` (never, action, attention). ``check`` leaves no line in the audit log.
    """
    from ..review import hosts

    del progress  # Nothing takes so long.
    if fail_on not in hosts.BAD:
        raise errors.UsageError(f"fail_on is one of {', '.join(hosts.BAD)}")
    order = hosts.Order(tuple(look_at or hosts.PARTS), since_days, fail_on, check)
    return hosts.reviews(names, order, config_path=config_path, caller=caller)
