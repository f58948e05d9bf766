# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a restore of a backup needs, told without unpacking it: the strategy, the room, and how long it may take."""

from __future__ import annotations

import os

from . import catalog, clock, errors, files, space
from .restore import plan as plan_room

# Of the newest restore test: a restore makes the copy and proves it, as the test did, keeps the old content and proves
# that as well, and writes.
_TIMES_A_TEST = 2.5
# What a manifest tells beyond that is no time that a test has taken.
_MOST_SECONDS = 1e6


def requirements(session, reference):
    """{file, recoverable, problems, strategy, reason, live, in_use_by, content_bytes, places, seconds_expected,
    pre_restore_backup}; changes nothing.

    ``places`` are [{what, needed_bytes, free_bytes}], one for each filesystem; ``seconds_expected`` is None where no
    restore test has told. ``problems`` say why it cannot be restored now. Raises BackupNotFound.
    """
    target = session.target
    entry = catalog.resolve(reference, target.backup_dir, target.name)
    problems = list(entry.problems) if entry.status in ("invalid", "missing") else []
    found = {"file": entry.file, "strategy": None, "reason": None, "live": None, "in_use_by": []}
    content, pre_backup = plan_room.content_bytes(entry), False
    needed = content
    try:
        plan = plan_room.plan(
            entry,
            target.database,
            strategy="auto",
            pre_backup=True,
            busy_timeout=session.settings["busy_timeout"],
            now=clock.now(),
        )
    except errors.BackupError as error:
        problems.append(error.cause)
    else:
        found.update(strategy=plan.strategy, reason=plan.reason, live=plan.live, in_use_by=plan.in_use_by)
        needed, pre_backup = plan.needed_bytes, plan.pre_backup
        if plan.strategy == "replace" and plan.live != "absent" and plan.in_use_by:
            problems.append("processes hold the database open, and it has to be replaced")
    places = _places(target, needed, pre_backup)
    problems += [f"{row['what']}: too little room" for row in places if row["free_bytes"] < row["needed_bytes"]]
    return {
        **found,
        "recoverable": not problems,
        "problems": problems,
        "content_bytes": content,
        "places": places,
        "seconds_expected": _seconds(entry),
        "pre_restore_backup": pre_backup,
    }


def _places(target, needed, pre_backup):
    """Beside the database the copy, and what SQLite's journal may take; beside the backups the pre-restore backup."""
    beside = os.path.dirname(target.database)
    wanted = [("beside the database", beside, needed)]
    if pre_backup:
        wanted.append(("beside the backups", target.backup_dir, files.size(target.database)))
    found: dict = {}
    for what, directory, room in wanted:
        if not os.path.isdir(directory):
            continue
        row = found.setdefault(os.stat(directory).st_dev, {"what": [], "needed_bytes": 0, "free_bytes": 0})
        row["what"].append(what)
        row["needed_bytes"] += room
        row["free_bytes"] = space.free_bytes(directory)
    return [{**row, "what": " and ".join(row["what"])} for row in found.values()]


def _seconds(entry):
    test = (entry.manifest or {}).get("restore_test")
    seconds = test.get("seconds") if isinstance(test, dict) and test.get("status") == "ok" else None
    if isinstance(seconds, (int, float)) and 0 <= seconds < _MOST_SECONDS:
        return round(_TIMES_A_TEST * seconds, 3)
    return None
