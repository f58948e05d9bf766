# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Proving on a host that its databases can be brought back."""

from __future__ import annotations

from .. import errors
from . import backups


def drill(
    *,
    names=None,
    databases=None,
    selection="latest",
    window_days=None,
    seed=None,
    full_restore=False,
    scratch_dir=None,
    time_limit=3600,
    fail_on="objective_missed",
    config_path=None,
    caller=None,
    progress=None,
    check=False,
):
    """Drill the configured databases (all, or ``names``), or ``databases`` as a configuration lists them.

    {changed (always False), tool, hostname, clock, seconds, peak_memory_bytes, databases, warnings}; each of
    ``databases`` as in `drill.row.blank`. ``selection`` as in `drill.choose`; ``time_limit`` in seconds, for all of
    them. Raises DrillFailed, with the same in its details, when a status is as bad as ``fail_on`` (never, failed,
    objective_missed). With ``check`` the backups are chosen, and that is all.
    """
    from ..drill import choose, hosts

    if fail_on not in hosts.BAD:
        raise errors.UsageError(f"fail_on is one of {', '.join(hosts.BAD)}")
    order = hosts.Order(
        choose.Selection(selection, window_days, seed),
        scratch_dir,
        time_limit,
        backups.restore if full_restore else None,
        fail_on,
        check,
    )
    return hosts.drills(names, databases, order, config_path=config_path, caller=caller, progress=progress)
