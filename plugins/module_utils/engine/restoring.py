# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The restore operations: test, rehearse what is planned, restore. `restore` (the package) has their phases."""

from __future__ import annotations

import contextlib
import os
from typing import NamedTuple

from . import catalog, clock, errors, files, manifest, snapshot, verify
from . import session as room
from .restore import apply as apply_room
from .restore import plan as plan_room
from .restore import rehearse
from .restore.steps import Steps


class Wish(NamedTuple):
    """What the caller asks of a restore."""

    backup: str
    force: bool
    pre_backup: bool
    rollback: bool
    strategy: str


def _entry(session, wish, steps):
    with steps.step("resolve") as row:
        entry = catalog.resolve(wish.backup, session.target.backup_dir, session.target.name)
        row["detail"] = f"{entry.file}, {entry.status}"
        session.tell(file=entry.file, bytes=entry.stored_bytes)
        if entry.status == "invalid":
            raise errors.BackupInvalid("; ".join(entry.problems) or "its last verification failed", path=entry.path)
        for problem in entry.problems:
            session.warnings.append(f"{entry.file}: {problem}")
    return entry


def _rpo(entry):
    return None if entry.created_at is None else round(clock.seconds_between(entry.created_at, clock.now()), 3)


def _answer(session, entry, steps, **fields):
    result = {
        "changed": False,
        "recoverable": True,
        "backup": entry.view(),
        "steps": steps.rows,
        "pre_restore_backup": None,
        "rolled_back": False,
        "rto_seconds": steps.seconds,
        "rpo_seconds": _rpo(entry),
        "plan": None,
        "recovered": None,
        "warnings": session.warnings,
    }
    result.update(fields)
    session.tell(rto_seconds=result["rto_seconds"], rpo_seconds=result["rpo_seconds"])
    return result


@contextlib.contextmanager
def _counted():
    """The Steps of an operation; an error that leaves it tells how far it came and what that says of the backup."""
    steps = Steps()
    try:
        yield steps
    except errors.BackupError as error:
        done = {row["name"]: row["status"] for row in steps.rows}
        proved = True if done.get("verify") == "ok" else None
        refused = isinstance(error, errors.BackupInvalid) or done.get("compare") == "failed"
        error.details.setdefault("recoverable", False if refused else proved)
        error.details.setdefault("rolled_back", False)
        error.details.setdefault("steps", steps.rows)
        raise


def test(session, wish):
    """A full restore into a scratch place; the live database is not looked at."""
    with _counted() as steps:
        return _test(session, wish, steps)


def _test(session, wish, steps):
    entry = _entry(session, wish, steps)
    _rehearse(session, entry, steps)
    return _answer(session, entry, steps)


def _rehearse(session, entry, steps, also=None):
    """Rehearse, and record in the backup's manifest how it went: health judges the age of the newest test."""
    settings = session.settings
    outcome: str | None = None
    try:
        rehearse.rehearse(
            entry,
            session.target,
            steps,
            level=settings["verify"],
            assertions=tuple(settings["assertions"]),
            progress=session.progress,
            also=also,
        )
        outcome = "ok"
    except errors.BackupInvalid:
        outcome = "failed"  # Anything else, such as a full disk or an interrupt, says nothing about the backup.
        raise
    except errors.Unverifiable:
        outcome = "unverifiable"
        raise
    finally:
        if entry.manifest is not None and outcome is not None:
            test_record = {"checked_at": clock.iso(clock.now()), "status": outcome, "seconds": steps.seconds}
            _record_test(session, entry, test_record)


def _record_test(session, entry, test_record):
    try:
        manifest.update(manifest.path_for(entry.path), restore_test=test_record)
    except (OSError, errors.BackupError) as error:
        session.warnings.append(f"the restore test could not be recorded in the manifest: {error}")


def _planned(session, wish, entry, steps):
    target = session.target
    with steps.step("plan") as row:
        directory = os.path.dirname(target.database)
        if not os.path.isdir(directory):
            raise errors.DatabaseNotFound(
                "the directory of the database does not exist",
                path=directory,
                hint="Create it, with its owner and mode.",
            )
        plan = plan_room.plan(
            entry,
            target.database,
            strategy=wish.strategy,
            pre_backup=wish.pre_backup,
            busy_timeout=session.settings["busy_timeout"],
            now=clock.now(),
        )
        row["detail"] = f"{plan.strategy}: {plan.reason}"
        if plan.live != "absent" and not wish.force:
            raise errors.NotConfirmed(
                "the database exists and would be replaced", path=target.database, plan=plan.as_dict()
            )
    return plan


def rehearse_planned(session, wish):
    """Check mode: plan the restore as it would run, rehearse it, and tell whether it would change anything."""
    with _counted() as steps:
        return _rehearse_planned(session, wish, steps)


def _rehearse_planned(session, wish, steps):
    entry = _entry(session, wish, steps)
    plan = _planned(session, wish, entry, steps)
    same = []

    def look(directory, staged):
        if plan.pre_backup and plan.live == "sound" and files.size(plan.database):
            same.append(_live_equals(session, plan, directory, staged, steps))

    _rehearse(session, entry, steps, also=look)
    return _answer(session, entry, steps, changed=not any(same), plan=plan.as_dict())


def _live_equals(session, plan, directory, staged, steps):
    """Whether the live database has the backup's content already: then a restore changes nothing."""
    with steps.step("compare_live") as row:
        files.require_space(directory, files.size(plan.database), "the comparison with the live database")
        path = os.path.join(directory, "live.db")
        files.create_new(path)
        snapshot.take(plan.database, path, busy_timeout=session.settings["busy_timeout"])
        equal = files.sha256(path) == staged.content_sha256
        row["detail"] = "the live database already has this content" if equal else "the live content differs"
    return equal


def restore(session, wish):
    """The restore itself, after one that was interrupted has been settled."""
    with _counted() as steps:
        return _restore(session, wish, steps)


def _restore(session, wish, steps):
    verify.check_level(session.settings["verify"])
    if not os.path.isdir(os.path.dirname(session.target.database)):
        _planned(session, wish, _entry(session, wish, steps), steps)
    with room.restore_journal(session) as (log, recovered):
        try:
            entry = _entry(session, wish, steps)
            plan = _planned(session, wish, entry, steps)
        except errors.BackupError:
            log.finish()
            raise
        done = apply_room.apply(
            apply_room.Restore(
                plan=plan,
                target=session.target,
                level=session.settings["verify"],
                assertions=tuple(session.settings["assertions"]),
                rollback=wish.rollback,
                may_replace=wish.strategy == "auto",
                log=log,
                steps=steps,
                progress=session.progress,
            )
        )
    kept = done.kept
    return _answer(
        session,
        entry,
        steps,
        changed=done.changed,
        pre_restore_backup=kept.shown if kept else None,
        plan=plan.as_dict(),
        recovered=recovered,
    )
