# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Putting faults in on purpose, on scratch copies."""

from __future__ import annotations

from . import backups, views


def gameday(
    *,
    names=None,
    databases=None,
    skip=None,
    scratch_dir=None,
    time_limit=3600,
    fail_on="failed",
    config_path=None,
    caller=None,
    progress=None,
    check=False,
):
    """Put faults into a copy of the newest backup of the configured databases (all, or ``names``), or ``databases``.

    {changed (always False), tool, hostname, clock, seconds, peak_memory_bytes, databases, warnings}; each of
    ``databases`` as in `drill.row.blank`, with ``faults`` [{name, outcome (noticed, survived, missed, not_run),
    expected, what, seconds}]. ``skip``: names of faults that are left out; ``time_limit`` in seconds, for all of them.
    Raises GamedayFailed, with the same in its details, when a database did not pass, unless ``fail_on`` is never.
    With ``check`` the backups are chosen, and that is all.
    """
    from ..gameday import hosts, scene

    doors = scene.Doors(backups.backup, backups.restore, views.validate, views.info, views.health)
    order = hosts.Order(doors, tuple(skip or ()), scratch_dir, time_limit, fail_on, check)
    return hosts.gamedays(names, databases, order, config_path=config_path, caller=caller, progress=progress)
