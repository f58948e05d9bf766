# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The backup operation: what would be done, and doing it. `store` makes the backup."""

from __future__ import annotations

import contextlib
import os
from typing import NamedTuple

from . import catalog, clock, compress, database, errors, files, manifest, snapshot, space, store, verify
from . import session as room


class Wish(NamedTuple):
    """What the caller asks of a backup, beside the settings."""

    younger_than: float
    unless_unchanged: bool
    trigger: str
    pinned: bool
    annotations: dict | None


class Ready(NamedTuple):
    """A backup that can be made: its order, and which snapshot method was chosen why."""

    order: store.Order
    method: str
    reason: str


def ready(session, wish):
    """Check everything that makes a backup impossible, before a directory is made for it; the Ready to go on with."""
    settings = session.settings
    verify.check_level(settings["verify"])
    compress.require(settings["compression"])
    header = database.check_file(session.target.database)
    room.check_backup_dir(session.target)
    return Ready(_order(settings, wish), *snapshot.choose(settings["method"], header, session.target.database))


def _order(settings, wish):
    return store.Order(
        trigger=wish.trigger,
        method=settings["method"],
        level=settings["verify"],
        assertions=tuple(settings["assertions"]),
        compression=settings["compression"],
        busy_timeout=settings["busy_timeout"],
        pinned=wish.pinned,
        annotations=wish.annotations,
    )


def planned(session, wish, ready_to):
    """Check mode: what a run would do. Whether the content has changed can only be told by looking at all of it."""
    target, order = session.target, ready_to.order
    entries = catalog.scan(target.backup_dir, target.name)
    skipped = _too_young(entries, wish.younger_than)
    if not skipped:
        _require_limit(session, order)
    newest = catalog.newest_verified(entries)
    compare = not skipped and wish.unless_unchanged and newest is not None
    if compare and _content_now(session, order.method) == newest.manifest.get("content_sha256"):
        skipped = _unchanged(newest)
    plan = {"database": target.database, "backup_dir": target.backup_dir, "method": ready_to.method}
    plan["method_reason"] = ready_to.reason
    plan["file"] = catalog.new_file_name(target.backup_dir, target.name, clock.now(), compression=order.compression)
    return session.result(
        changed=not skipped, backup=None, skipped_reason=skipped, recovered=None, plan=None if skipped else plan
    )


def _content_now(session, method):
    """SHA-256 of what a snapshot of the live database would contain, taken in a scratch place."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="digitalme-backup-") as directory:
        path = os.path.join(directory, "now.db")
        space.require_space(directory, store.space_needed(session.target), "the comparison")
        files.create_new(path)
        timeout = session.settings["busy_timeout"]
        taken = snapshot.take(session.target.database, path, method, busy_timeout=timeout, hashing=True)
        with contextlib.closing(taken.digest):
            return taken.digest.hexdigest()


def make(session, wish, order):
    """The backup itself, after an interrupted restore of the database has been settled."""
    target = session.target
    room.settle_interrupted(session)
    entries = catalog.scan(target.backup_dir, target.name)
    skipped = _too_young(entries, wish.younger_than)
    if skipped:
        session.tell(skipped=skipped)
        return session.result(changed=False, backup=None, skipped_reason=skipped, recovered=session.recovered)
    _require_limit(session, order)
    _warn_of_two_hosts(session, entries)
    regular = [entry for entry in entries if entry.kind == "regular" and entry.created_at]
    order = order._replace(newest=regular[0] if regular else None)
    newest = catalog.newest_verified(entries)
    if wish.unless_unchanged and newest is not None:
        order = order._replace(unless_equal_to=newest.manifest.get("content_sha256"))
    made = store.make(target, order, session.progress)
    if made.path is None:
        skipped = _unchanged(newest)
        session.tell(skipped=skipped)
        return session.result(changed=False, backup=None, skipped_reason=skipped, recovered=session.recovered)
    session.tell(
        file=made.manifest["file"],
        bytes=made.manifest["stored_bytes"],
        method=made.manifest["method"],
        verification=made.manifest["verification"]["status"],
    )
    session.warnings.extend(made.manifest["verification"]["warnings"])
    if made.manifest.get("made_after"):
        session.warnings.append(
            f"{made.manifest['made_after']}, which was there before, is in the future: this clock was set back, or was "
            "ahead then; nothing expires until that is cleared up"
        )
    stored = {**made.manifest, "path": made.path}
    if made.manifest["verification"]["status"] == "unverifiable":
        causes = "; ".join(row["message"] for row in made.manifest["verification"]["errors"])
        raise errors.Unverifiable(
            f"the backup was stored, but cannot be verified here ({causes})", path=made.path, backup=stored
        )
    return session.result(changed=True, backup=stored, skipped_reason=None, recovered=session.recovered)


def _warn_of_two_hosts(session, entries):
    """Two databases under one name let each other's backups expire. One that has moved leaves no such order."""
    hosts = [entry.manifest.get("host") for entry in entries if entry.manifest and entry.kind == "regular"]
    if hosts and hosts[0] and hosts[0] != manifest.host() and manifest.host() in hosts:
        session.warnings.append(
            f"{errors.show(hosts[0])} has backed up under the name {session.target.name!r} since this host did: "
            "give each a name or a directory of its own, for retention takes them for one"
        )


def _too_young(entries, seconds):
    newest = catalog.newest_verified(entries)
    if not seconds or newest is None:
        return None
    age = clock.seconds_between(newest.created_at, clock.now())
    if 0 <= age < seconds:
        return f"{newest.file} is {age:.0f} s old, younger than {seconds:g} s"
    return None


def _unchanged(newest):
    return f"the content is that of {newest.file}"


def _require_limit(session, order):
    """Refuse a backup that would fill its filesystem beyond the limit."""
    limit = session.settings["disk_limit_percent"]
    where = session.target.backup_dir
    while not os.path.isdir(where):
        where = os.path.dirname(where)
    used, total = space.disk_use(where)
    needed = store.space_needed(session.target, order.compression)
    percent = 100 * (used + needed) / total if total else 100.0
    if percent > limit:
        raise errors.NoSpace(
            f"the backup would fill its filesystem to {percent:.1f} %, more than disk_limit_percent {limit:g}",
            path=where,
            needed_bytes=needed,
        )
