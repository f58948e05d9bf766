# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The game day of all databases of a host, one after the other: a bad one keeps no other from its turn."""

from __future__ import annotations

from typing import NamedTuple

from .. import clock, errors
from .. import session as room
from ..drill import hosts
from ..drill import row as rows
from ..restore.steps import Steps
from . import exercise, scene

BAD = {"never": (), "failed": rows.STATUSES[1:]}


class Order(NamedTuple):
    """What the caller asks of a host's game day, and the operations that the faults are tried on."""

    doors: scene.Doors
    skip: tuple
    scratch_dir: str | None
    time_limit: float
    fail_on: str
    check: bool


def gamedays(names, databases, order, *, config_path=None, caller=None, progress=None):
    """The game day of the configured databases (all, or ``names``), or those given: `operations.gameday`'s result."""
    _check(order)
    began, started = clock.now(), clock.monotonic()
    deadline = started + order.time_limit
    wish = exercise.Wish(order.doors, order.skip, order.scratch_dir, deadline, order.time_limit)
    found = [
        _one(given, wish, order.check, config_path=config_path, caller=caller, progress=progress)
        for given in hosts.calls(names, databases, config_path, caller)
    ]
    whole = hosts.answer(found, began, started)
    return hosts.concluded(whole, BAD[order.fail_on], order.check, errors.GamedayFailed)


def _check(order):
    """Raise UsageError for what means nothing."""
    if order.fail_on not in BAD:
        raise errors.UsageError(f"fail_on is one of {', '.join(BAD)}")
    if not 0 < order.time_limit < float("inf"):
        raise errors.UsageError(f"a time limit of {order.time_limit:g} s is none")
    known = ", ".join(exercise.NAMES)
    unknown = sorted(set(order.skip) - set(exercise.NAMES))
    if unknown:
        raise errors.UsageError(
            f"there is no fault called {', '.join(errors.excerpt(name) for name in unknown)}; there are: {known}"
        )
    if len(set(order.skip)) == len(exercise.NAMES):
        raise errors.UsageError("all faults are left out, so that nothing would be tried")


def _one(given, wish, check, *, config_path, caller, progress):
    """The row of one database."""
    row = {**rows.blank(given["name"], given.get("database"), given.get("backup_dir")), "faults": exercise.blank(wish)}
    try:
        named = {"config_path": config_path, "need_database": False, **given}
        with room.operation("gameday", named, caller=caller, progress=progress, silent=check) as session:
            target = session.target
            row.update(database=target.database, backup_dir=target.backup_dir)
            try:
                _try(session, wish, row, check)
            finally:
                row["warnings"] += session.warnings
    except errors.BackupError as error:
        rows.fail(row, error)
    return row


def _try(session, wish, row, check):
    if clock.monotonic() > wish.deadline:
        raise errors.TimeLimit(f"the game day of this host had {wish.time_limit:g} s, over before its turn")
    if check:
        exercise.choose_for(session, row, Steps())
        row["cause"] = "check mode: only chosen"
        return
    exercise.exercise(session, wish, row)
    row["status"] = "passed"
    session.tell(status="passed")
