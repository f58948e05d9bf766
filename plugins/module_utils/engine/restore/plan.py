# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a restore will do, decided before anything is touched: the strategy, the room it needs, what it replaces.

* ``in_place``: SQLite itself writes the backup's pages into the live file in one transaction. Open connections and the
  inode stay valid, and a kill leaves SQLite's own journal, by which the next reader sees the old content, whole.
  It needs a live database that SQLite can open, and in WAL mode the same page size.
* ``replace``: a finished file is renamed over the live one. It works whatever the live file is, but a process that
  holds the old file would go on writing into an unlinked one, so nobody may hold it.

``auto`` writes in place wherever that is possible. ``replace_if_free`` is for callers that have stopped the
application: where nobody holds the file it is replaced, which writes every page once instead of twice.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from .. import catalog, clock, compress, database, errors, files, mounts, processes, unpacking

STRATEGIES = ("auto", "in_place", "replace", "replace_if_free")


class Plan(NamedTuple):
    """``live`` says what is there now: ``absent``, ``sound`` (SQLite opens it) or ``damaged``, with ``live_cause``."""

    entry: catalog.Entry
    database: str
    live: str
    live_cause: str | None
    live_header: object
    strategy: str
    reason: str
    content_bytes: int
    needed_bytes: int
    pre_backup: bool
    rpo_seconds: float | None
    in_use_by: list

    def as_dict(self):
        return {
            "backup": self.entry.path,
            "backup_created_at": None if self.entry.created_at is None else clock.iso(self.entry.created_at),
            "database": self.database,
            "live": self.live,
            "live_cause": self.live_cause,
            "strategy": self.strategy,
            "strategy_reason": self.reason,
            "content_bytes": self.content_bytes,
            "needed_bytes": self.needed_bytes,
            "pre_backup": self.pre_backup,
            "rpo_seconds": self.rpo_seconds,
            "in_use_by": self.in_use_by,
        }


def plan(entry, path, *, strategy, pre_backup, busy_timeout, now):
    """The Plan for restoring the catalog entry over the database at the real path ``path``.

    Reads only. Raises UsageError, DatabaseNotAFile, ReadOnly for a single file that is bind-mounted and cannot be
    opened, DatabaseBusy. Who holds the file is only told: they may be stopped before the plan is carried out.
    """
    if strategy not in STRATEGIES:
        raise errors.UsageError(f"unknown strategy '{strategy}'; there are: {', '.join(STRATEGIES)}")
    live, cause, header = judge_live(path, busy_timeout)
    page_size = _page_size(entry)
    chosen, reason = _choose(strategy, path, live, cause, header, page_size)
    content = content_bytes(entry)
    needed = content + (max(content, files.size(path)) if chosen == "in_place" else 0)
    rpo = None if entry.created_at is None else round(clock.seconds_between(entry.created_at, now), 3)
    wanted = pre_backup and live != "absent"
    found, _unseen = processes.holders(_all_files(path))
    return Plan(entry, path, live, cause, header, chosen, reason, content, needed, wanted, rpo, found)


def _all_files(path):
    return [path, *(path + suffix for suffix in database.SIDECARS)]


def judge_live(path, busy_timeout):
    """(``absent`` | ``sound`` | ``damaged``, cause, header)."""
    try:
        header = database.check_file(path)
    except errors.DatabaseNotFound:
        return "absent", None, None
    except errors.DatabaseEmpty:
        return "sound", "it is empty", None
    except (errors.NotADatabase, errors.DatabaseEncrypted) as error:
        return "damaged", error.cause, None
    size = os.stat(path).st_size
    if header.read_version > 2 or header.write_version > 2:
        return "damaged", f"its header tells the unknown format version {header.write_version}", header
    if header.sized and size < header.page_count * header.page_size and not files.size(path + "-wal"):
        return "damaged", f"it is truncated: {size} of {header.page_count * header.page_size} bytes", header
    try:
        connection = database.open_live(path, header, busy_timeout)
        try:
            connection.execute("PRAGMA page_count").fetchone()
        finally:
            connection.close()
    except (errors.DatabaseCorrupt, errors.NotADatabase, errors.IoError, errors.Unverifiable) as error:
        if database.CANNOT_OPEN in error.cause:
            raise  # There is no room or no right to make a file beside it; its content is not to blame.
        return "damaged", error.cause, header
    except database.sqlite3.Error as error:
        return "damaged", str(error), header
    return "sound", None, header


def _page_size(entry):
    source = (entry.manifest or {}).get("source", {})
    size = source.get("page_size")
    if isinstance(size, int):
        return size
    if compress.by_suffix(entry.file) == "none":
        return database.check_file(entry.path).page_size
    return None


def content_bytes(entry):
    """Bytes of the backup's content. A compressed one without a manifest is only estimated, generously."""
    known = (entry.manifest or {}).get("size_bytes")
    if isinstance(known, int):
        return known
    return entry.stored_bytes * (1 if compress.by_suffix(entry.file) == "none" else unpacking.LIKELY_RATIO)


def _choose(strategy, path, live, cause, header, page_size):
    why_not = why_not_in_place(live, cause, header, page_size)
    if strategy == "in_place" and why_not:
        raise errors.UsageError(
            f"{errors.show(path)} cannot be restored in place: {why_not}", hint="Use strategy auto or replace."
        )
    if strategy == "replace_if_free" and not why_not and _is_free(path):
        return "replace", "nobody holds the file, and to replace it is faster"
    if strategy != "replace" and not why_not:
        return "in_place", "SQLite can open the live database, so open connections stay valid"
    reason = why_not or "asked for"
    if live != "absent":
        _require_renamable(path, reason)
    return "replace", reason


def _is_free(path):
    """Whether the file can be replaced without anybody noticing: no holder, all processes seen, no second name."""
    found, unseen = processes.holders(_all_files(path))
    return not found and unseen == 0 and os.stat(path).st_nlink == 1 and not mounts.is_mount_point(path)


def why_not_in_place(live, cause, header, page_size):
    """What keeps SQLite from writing a content with that page size into the live database; None where nothing does."""
    if live == "absent":
        return "there is no database yet"
    if live == "damaged":
        return f"SQLite cannot open the live database ({cause})"
    if header is not None and header.journal_mode == "wal" and page_size not in (None, header.page_size):
        return f"its page size {header.page_size} differs from the backup's {page_size}, in WAL mode"
    return None


def require_replaceable(path, reason):
    """Raise ReadOnly for a mount point of its own, InUse while others hold the file."""
    _require_renamable(path, reason)
    require_free(path)


def _require_renamable(path, reason):
    if mounts.is_mount_point(path):
        raise errors.ReadOnly(
            f"the file must be replaced ({reason}), but it is a mount point of its own, which cannot be renamed over",
            path=path,
            hint="Restore it on the host, at the source of the mount, with the container stopped.",
        )


def require_free(path):
    """Raise InUse, naming the processes, when another process holds the database or a sidecar open."""
    found, _unseen = processes.holders(_all_files(path))
    if found:
        raise errors.InUse(
            f"the file must be replaced, and other processes hold it open: {processes.describe(found)}",
            path=path,
            processes=found,
        )
