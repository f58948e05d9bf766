# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a drill tells of one database, as it grows: an error on the way leaves what was known until then."""

from __future__ import annotations

from .. import errors

STATUSES = ("passed", "objective_missed", "failed", "no_backup", "not_run")
# These do not say that the backup is bad: it was not looked at to the end.
_NOT_RUN = ("time_limit",)


def blank(name, database=None, backup_dir=None):
    """A row of a database that nothing is known of yet."""
    return {
        "name": name,
        "database": database,
        "backup_dir": backup_dir,
        "status": "not_run",
        "error_code": None,
        "cause": None,
        "next_step": None,
        "selection": None,
        "backup": None,
        "recoverable": None,
        "recoverable_from": None,
        "phases": [],
        "seconds": 0.0,
        "rto": None,
        "rpo": None,
        "limits": [],
        "warnings": [],
    }


def describe(entry):
    """A backup as the report shows it."""
    view = entry.view()
    known = view.pop("manifest") or {}
    tables = known.get("source", {}).get("tables")
    for key in ("name", "kind", "pinned", "problems"):
        del view[key]
    return {
        **view,
        "sha256": known.get("sha256"),
        "content_sha256": known.get("content_sha256"),
        "tables": None if tables is None else len(tables),
        "rows": None if tables is None else sum(tables.values()),
        "tool": known.get("tool"),
    }


def fail(row, error):
    """Put an error of the engine into the row."""
    status = "no_backup" if isinstance(error, errors.BackupNotFound) and row["backup"] is None else "failed"
    row["status"] = "not_run" if error.error_code in _NOT_RUN else status
    where = "" if error.path is None else errors.show(error.path) + ": "
    row.update(error_code=error.error_code, cause=where + error.cause, next_step=error.hint)
    if row["status"] == "no_backup":
        row["recoverable"] = False
        for figures in (row["rto"], row["rpo"]):
            if figures and figures["objective_seconds"] is not None:
                figures["met"] = False


def miss(row):
    """An objective that was not met, as cause and next step; nothing where both were."""
    said = []
    for key, what in (("rto", "a restore takes"), ("rpo", "what it would bring back is")):
        figures = row[key]
        if figures["met"] is False:
            old = "" if key == "rto" else " old"
            said.append(
                f"{what} {figures['achieved_seconds']:.1f} s{old}, the objective is {figures['objective_seconds']:g} s"
            )
    if said:
        row.update(
            status="objective_missed",
            error_code="objective_missed",
            cause="; ".join(said),
            next_step="Back up more often or restore faster (see the phases), or agree on another objective.",
        )


def exit_code(row):
    """The exit status that a row calls for."""
    if row["status"] == "passed":
        return 0
    return errors.CODES[row["error_code"]].exit_code if row["error_code"] in errors.CODES else 1
