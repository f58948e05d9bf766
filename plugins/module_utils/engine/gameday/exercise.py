# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The game day of one database: put up the scene, put in one fault after the other, and judge the whole."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from .. import catalog, clock, errors
from ..drill import choose, scratch
from ..drill import exercise as drill
from ..restore.steps import Steps
from . import damage, killed, places, scene

OUTCOMES = ("noticed", "survived", "missed", "not_run")
GOOD = OUTCOMES[:2]


class Fault(NamedTuple):
    """A fault, how it is put in, and the outcome that it has to have; ``others``: it is told of the catalog."""

    name: str
    put_in: Any
    outcome: str
    expected: str
    others: bool = False


FAULTS = (
    Fault(
        "flipped_byte",
        damage.flipped_byte,
        "noticed",
        "The restore test says backup_invalid: of a byte in a page, and of one in the header.",
    ),
    Fault(
        "foreign_manifest",
        damage.foreign_manifest,
        "noticed",
        "It does not count as verified; where the manifest looks like its own, the restore test says backup_invalid.",
        others=True,
    ),
    Fault(
        "missing_backup",
        damage.missing_backup,
        "noticed",
        "The restore test says backup_not_found, the list shows it as missing, health says unhealthy.",
    ),
    Fault(
        "full_disk",
        places.full_disk,
        "noticed",
        "The restore says no_space before the database is touched; the old content is whole.",
    ),
    Fault(
        "wrong_owner",
        places.wrong_owner,
        "survived",
        "Owner, group and mode survive a restore; where there is no database they are those of the manifest.",
    ),
    Fault(
        "missing_key",
        damage.missing_key,
        "noticed",
        "It is told as unverifiable (exit status 8): neither as sound nor as damaged.",
    ),
    Fault(
        "interrupted_restore",
        killed.interrupted_restore,
        "survived",
        "The old content or the new, row for row, nothing left beside it; the next backup settles it and says how.",
    ),
)
NAMES = tuple(fault.name for fault in FAULTS)


class Wish(NamedTuple):
    """What is asked of a game day. ``skip`` are names of faults that are left out; ``deadline`` is a time of the
    monotonic clock, ``time_limit`` the seconds that led to it.
    """

    doors: scene.Doors
    skip: tuple
    scratch_dir: str | None
    deadline: float
    time_limit: float


def blank(wish):
    """The rows of all faults as long as none was tried."""
    asked = {True: "left out, as asked (skip)", False: "it has not come to this"}
    return [
        {
            "name": fault.name,
            "outcome": "not_run",
            "expected": fault.expected,
            "what": asked[fault.name in wish.skip],
            "seconds": 0.0,
        }
        for fault in FAULTS
    ]


def exercise(session, wish, row):
    """Fill the row of a database. Raises what is wrong with its backup, FaultMissed, FaultNotRun or TimeLimit."""
    started = clock.monotonic()
    steps = Steps()
    row["phases"] = steps.rows
    try:
        entry = choose_for(session, row, steps)
        with scratch.held(session, wish.scratch_dir) as place:
            try:
                made = scene.put_up(session, entry, place, wish.doors, _watch(session, wish), steps)
            except errors.BackupInvalid:
                row["recoverable"] = False
                raise
            row["recoverable"] = True
            with steps.step("faults") as step:
                _put_in_all(session, made, wish, row)
                step["detail"] = _counted(row["faults"])
            _tidied(place, steps)
        session.tell(faults={fault["name"]: fault["outcome"] for fault in row["faults"]})
        _judge(row, wish)
    finally:
        row["seconds"] = round(clock.monotonic() - started, 3)


def choose_for(session, row, steps):
    """The newest verified backup, noted in the row."""
    try:
        return drill.choose_for(session, choose.Selection(), row, steps)
    finally:
        row.pop("newest_verified_at", None)


def _watch(session, wish):
    """What every long step calls: it ends the game day when its time is over."""

    def progress(stage, done, total):
        _require_time(wish)
        if session.progress is not None:
            session.progress(stage, done, total)

    return progress


def _require_time(wish):
    if clock.monotonic() > wish.deadline:
        raise errors.TimeLimit(f"the game day of this host had {wish.time_limit:g} s, and they are over")


def _put_in_all(session, made, wish, row):
    """Try each fault that is not left out; one that cannot be tried keeps no other from its turn."""
    others = [
        entry.manifest
        for entry in catalog.scan(session.target.backup_dir, session.target.name)
        if entry.verified and entry.file != made.file
    ]
    for fault, told in zip(FAULTS, row["faults"]):
        if fault.name not in wish.skip:
            started = clock.monotonic()
            told["outcome"], told["what"] = _tried(fault, made, wish, others)
            told["seconds"] = round(clock.monotonic() - started, 3)


def _tried(fault, made, wish, others):
    """(outcome, what happened) of one fault."""
    try:
        _require_time(wish)
        return fault.outcome, fault.put_in(made, others) if fault.others else fault.put_in(made)
    except (errors.FaultNotRun, errors.TimeLimit) as error:
        return "not_run", error.cause
    except scene.OF_THE_PLACE as error:
        return "not_run", f"the scratch place is in trouble: {error.error_code} ({error.cause})"
    except OSError as error:
        return "not_run", f"the scratch place is in trouble: {errors.from_os_error(error).message}"
    except errors.BackupError as error:
        return "missed", error.cause if isinstance(error, errors.FaultMissed) else f"{error.error_code}: {error.cause}"


def _tidied(place, steps):
    with steps.step("clean") as step:
        step["detail"] = f"{len(os.listdir(place))} names are taken away with the scratch place"


def _counted(faults):
    said = ((sum(fault["outcome"] == outcome for fault in faults), outcome) for outcome in OUTCOMES)
    return ", ".join(f"{count} {outcome.replace('_', ' ')}" for count, outcome in said if count)


def _judge(row, wish):
    """Passed only if each fault that was not left out was noticed or survived."""
    bad = [fault for fault in row["faults"] if fault["outcome"] not in GOOD and fault["name"] not in wish.skip]
    said = "; ".join(f"{fault['name']}: {fault['what']}" for fault in bad)
    if any(fault["outcome"] == "missed" for fault in bad):
        raise errors.FaultMissed(f"missed: {said}")
    if bad and clock.monotonic() > wish.deadline:
        raise errors.TimeLimit(f"not tried: {said}")
    if bad:
        raise errors.FaultNotRun(f"not tried: {said}")
