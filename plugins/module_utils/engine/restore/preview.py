# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a restore would change, told before anybody confirms it: the rows now and then, the seconds that it may take,
and the id by which exactly this plan is confirmed.
"""

from __future__ import annotations

import json
import os
import sqlite3
from typing import NamedTuple

from .. import contents, database, errors, files, kept_files, manifest, snapshot, space

_ID_LENGTH = 16


class Look(NamedTuple):
    """The live content: whether it is the backup's already (None: not known), and {table: rows, None: unreadable}."""

    equal: bool | None
    tables: dict


def identity(plan, backup_dir, name):
    """The plan's id: the same until another backup is chosen, the database comes or goes, or a restore has been done.

    What stopping the application changes (the strategy, the sidecars) is left out: the plan that was confirmed must
    still be the plan then. A restore leaves a pre-restore backup, so that an approval holds for one restore only.
    """
    import hashlib

    facts = {
        "host": manifest.host(),
        "database": plan.database,
        "present": plan.live != "absent",
        "backup": plan.entry.path,
        "sha256": (plan.entry.manifest or {}).get("sha256"),
        "pre_backup": plan.pre_backup,
        "last_restore": kept_files.by_restores(backup_dir, name)[-1:],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode("ascii")).hexdigest()[:_ID_LENGTH]


def look(plan, directory, staged, busy_timeout):
    """Look at the live database from the scratch directory where the backup lies staged. Changes nothing."""
    if plan.live == "absent" or not files.size(plan.database):
        return Look(None, {})
    if plan.live == "damaged":
        return Look(None, _readable_rows(plan.database))
    try:
        space.require_space(directory, files.size(plan.database), "the comparison with the live database")
    except errors.NoSpace:
        return Look(None, _rows_now(plan, busy_timeout))
    path = os.path.join(directory, "live.db")
    files.create_new(path)
    snapshot.take(plan.database, path, busy_timeout=busy_timeout)
    return Look(files.sha256(path) == staged.content_sha256, _readable_rows(path))


def _rows_now(plan, busy_timeout):
    connection = database.open_live(plan.database, plan.live_header, busy_timeout)
    try:
        return contents.readable_rows(connection)
    finally:
        connection.close()


def _readable_rows(path):
    """Of a file that nobody may be disturbed by: no lock is taken and no sidecar is read."""
    try:
        connection = database.connect(path, immutable=True)
    except sqlite3.Error:
        return {}
    try:
        # Else SQLite would refuse all of a file that is shorter than its header says. Nothing can be written here.
        connection.execute("PRAGMA writable_schema=ON")
        return contents.readable_rows(connection)
    finally:
        connection.close()


def rows(now, then):
    """[{table, now, then}] of all tables of either side; None where there is no such table or it cannot be read."""
    return [{"table": name, "now": now.get(name), "then": then.get(name)} for name in sorted({*now, *then})]


def seconds_expected(steps):
    """About how long the restore will take, from what its rehearsal took: the copy, its checks, the pre-restore backup
    with its own, the writing, and the last comparison.
    """
    took = {row["name"]: row["seconds"] for row in steps if row["status"] == "ok"}
    copy, check = took.get("stage", 0.0), took.get("verify", 0.0)
    return round(2 * copy + 2 * check + took.get("compare_live", copy) + took.get("compare", 0.0), 1)
