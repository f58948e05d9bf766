# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The drill of all databases of a host, one after the other: what goes wrong with one keeps no other from its turn."""

from __future__ import annotations

from typing import Any, NamedTuple

from .. import catalog, clock, errors, host, manifest, processes, settings
from .. import session as room
from . import choose, exercise
from . import row as rows

BAD = {"never": (), "failed": ("failed", "no_backup", "not_run"), "objective_missed": rows.STATUSES[1:]}


class Order(NamedTuple):
    """What the caller asks of a host's drill: which backups, where, how far, for how many seconds at most."""

    selection: choose.Selection
    scratch_dir: str | None
    time_limit: float
    restore: Any
    fail_on: str
    check: bool


def drills(names, databases, order, *, config_path=None, caller=None, progress=None):
    """Drill the configured databases (all, or ``names``), or those given: the result of `operations.drill`."""
    choose.check(order.selection)
    if not 0 < order.time_limit < float("inf"):
        raise errors.UsageError(f"a time limit of {order.time_limit:g} s is none")
    began, started = clock.now(), clock.monotonic()
    deadline = started + order.time_limit
    wish = exercise.Wish(order.selection, order.restore, order.scratch_dir, deadline, order.time_limit)
    found: list = []
    for given in calls(names, databases, config_path, caller):
        row = _one(given, wish, order.check, config_path=config_path, caller=caller, progress=progress)
        found.append(row)
    return concluded(answer(found, began, started), BAD[order.fail_on], order.check, errors.DrillFailed)


def answer(found, began, started):
    """The result of a host with the rows of its databases; ``started`` is the monotonic clock's ``began``."""
    return {
        "changed": False,
        "tool": manifest.tool(),
        "hostname": manifest.host(),
        "clock": clock.iso(began),
        "seconds": round(clock.monotonic() - started, 3),
        "peak_memory_bytes": processes.peak_memory_bytes(),
        "databases": found,
        "warnings": [],
    }


def calls(names, databases, config_path, caller):
    """What each database's operation is called with: those that are given, else those that are configured."""
    return _given(databases, names) if databases else _configured(names, config_path, caller)


def _configured(names, config_path, caller):
    """The calls for what the host's configuration lists."""
    configuration = host.loaded(config_path, caller)
    if not configuration.databases:
        raise errors.ConfigError(
            "no database is configured on this host, so there is nothing that could be brought back",
            path=configuration.path,
            hint="Configure its databases (role install), or leave the host out of the drill.",
        )
    return [{"name": name} for name in host.names(configuration, names)]


def _given(databases, names):
    """The calls for databases that the caller lists, each with its settings, as in the configuration."""
    given = []
    for entry in databases:
        entry = dict(entry)
        groups = {key: entry.pop(key) for key in settings.GROUPS if key in entry}
        settings.check_keys({**entry, **groups}, "databases")
        path = entry.pop("path", None)
        if path is None and "name" not in entry:
            raise errors.UsageError("each of the databases has a 'path', or a 'name' and a 'backup_dir'")
        entry.setdefault("name", path and catalog.default_name(path))
        given.append({"database": path, **entry})
    return [each for each in given if not names or each["name"] in names]


def _one(given, wish, check, *, config_path, caller, progress):
    """The row of one database."""
    row = rows.blank(given["name"], given.get("database"), given.get("backup_dir"))
    try:
        named = {"config_path": config_path, "need_database": False, **given}
        with room.operation("drill", named, caller=caller, progress=progress, silent=check) as session:
            target = session.target
            row.update(database=target.database, backup_dir=target.backup_dir)
            try:
                _drill(session, wish, row, check)
            finally:
                row["warnings"] += session.warnings
                session.tell(status=row["status"], rto_seconds=(row["rto"] or {}).get("achieved_seconds"))
    except errors.BackupError as error:
        rows.fail(row, error)
    row.pop("newest_verified_at", None)
    return row


def _drill(session, wish, row, check):
    if clock.monotonic() > wish.deadline:
        raise errors.TimeLimit(f"the drill of this host had {wish.time_limit:g} s, and they were over before its turn")
    if check:
        exercise.only_choose(session, wish, row)
        return
    row["status"] = "passed"
    exercise.exercise(session, wish, row)


def concluded(whole, statuses, check, kind):
    """The result; raises the ``kind`` of error, with the same in its details, if a row has one of the statuses."""
    bad = [row for row in whole["databases"] if row["status"] in statuses]
    if bad and not check:
        said = "; ".join(f"{row['name']}: {row['cause']}" for row in bad[:5])
        cause = f"{len(bad)} of {len(whole['databases'])} databases did not pass ({said})"
        raise kind(cause, exit_code=rows.exit_code(bad[0]), **whole)
    return whole
