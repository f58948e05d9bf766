# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs the drill on the host, or on a drill host; with ``parts`` its result is kept for the report."""

from __future__ import annotations

from ansible_collections.digitalme.backup.plugins.module_utils.engine import clock, manifest
from ansible_collections.digitalme.backup.plugins.module_utils.engine.drill import row as rows
from ansible_collections.digitalme.backup.plugins.modules import backup_drill
from ansible_collections.digitalme.backup.plugins.plugin_utils import asking

_OLDER = "the drill host has this backup only: whether another one could be restored is not known"


class ActionModule(asking.AskingAction):
    """See the module of the same name."""

    MODULE = "digitalme.backup.backup_drill"
    OWN = backup_drill.OF_THE_CONTROLLER

    def ask(self, arguments, task_vars):
        """What the host says; with ``chosen`` it is the drill host, and what the host itself has said belongs to it."""
        lacking, chosen = self._task.args.get("lacking"), self._task.args.get("chosen")
        if lacking:
            return {"failed": True, "msg": lacking}
        if chosen is None:
            return super().ask(arguments, task_vars)
        if arguments.get("databases"):
            answer = super().ask(arguments, task_vars)
        else:
            answer = {"databases": [], "tool": manifest.tool(), "clock": clock.iso(clock.now()), "seconds": 0.0}
        if "databases" in answer:
            drilled = {row["name"]: row for row in answer["databases"]}
            answer["databases"] = [_joined(row, drilled.get(row["name"])) for row in chosen]
        return answer


def _joined(chosen, drilled):
    """The row of a database from what the host has chosen and what the drill host has found."""
    known = {key: value for key, value in chosen.items() if key != "settings"}
    if drilled is None:
        return known
    own = {key: known[key] for key in ("database", "backup_dir", "selection", "rpo")}
    row = {**drilled, **own, "warnings": known["warnings"] + drilled["warnings"]}
    if row["recoverable"] is False:
        row["recoverable"] = None
        row["warnings"].append(_OLDER)
    if row["status"] in ("passed", "objective_missed"):
        row.update(status="passed", error_code=None, cause=None, next_step=None)
        rows.miss(row)
    return row
