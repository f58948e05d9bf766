# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The restore operations: test, rehearse what is planned, restore. `restore` (the package) has their phases."""

from __future__ import annotations

import contextlib
import os
from typing import NamedTuple

from . import catalog, clock, errors, manifest, processes, verify
from . import session as room
from .restore import apply as apply_room
from .restore import origin, preview, rehearse
from .restore import plan as plan_room
from .restore.steps import Steps


class Wish(NamedTuple):
    """What the caller asks of a restore. ``confirm`` is the id of the plan that was confirmed, where one was."""

    backup: str
    force: bool = False
    pre_backup: bool = True
    rollback: bool = True
    strategy: str = "auto"
    confirm: str | None = None
    fall_back: bool = False
    other_database: bool = False


def _entry(session, wish, steps):
    with steps.step("resolve") as row:
        entries = catalog.scan(session.target.backup_dir, session.target.name)
        entry = catalog.resolve(wish.backup, session.target.backup_dir, session.target.name, entries)
        row["detail"] = f"{entry.file}, {entry.status}"
        session.tell(file=entry.file, bytes=entry.stored_bytes)
        if entry.status == "invalid":
            raise errors.BackupInvalid("; ".join(entry.problems) or "its last verification failed", path=entry.path)
        for problem in entry.problems:
            session.warnings.append(f"{entry.file}: {problem}")
        for newer in _passed_over(wish.backup, entries, entry):
            why = "; ".join(newer.problems) or newer.status
            session.warnings.append(f"{newer.file} is newer than {entry.file} and was passed over ({why})")
    return entry


def _passed_over(reference, entries, found):
    """The backups that ``latest`` or a time would have meant in place of the entry ``found``, were they verified."""
    until = None
    if reference not in catalog.LATEST:
        try:
            until = clock.parse(reference)
        except ValueError:
            return []  # It names one.
    newer = [entry for entry in entries if entry.created_at and entry.created_at > found.created_at]
    wanted = [entry for entry in newer if entry.kind == "regular" and not entry.verified]
    return [entry for entry in wanted if until is None or entry.created_at <= until]


def _falling_back(session, wish, steps, attempt):
    """What ``attempt(entry)`` returns for the backup that is meant; where that is damaged and the wish says so, for the
    newest verified one before it that is not.
    """
    try:
        entry = _entry(session, wish, steps)
        return attempt(entry)
    except errors.BackupInvalid as error:
        damaged, found = error, error.path
    for entry in _older(session, found) if wish.fall_back else ():
        session.warnings.append(f"{errors.show(found)} is damaged ({damaged.cause}): going back to {entry.file}")
        session.tell(file=entry.file, bytes=entry.stored_bytes)
        steps.skipped("fall_back", f"to {entry.file}, {entry.status}")
        try:
            return attempt(entry)
        except errors.BackupInvalid as error:
            damaged, found = error, entry.path
    raise damaged


def _older(session, path):
    """The verified backups before the damaged one at ``path``, newest first, each older than the one before it.

    The catalog is read once for all of them: many may be damaged, and each costs enough to look at.
    """
    entries = catalog.scan(session.target.backup_dir, session.target.name)
    before = next((entry.created_at for entry in entries if entry.path == path), None)
    for entry in entries:
        sound = entry.verified and entry.kind == "regular" and entry.path != path
        if sound and (before is None or entry.created_at < before):
            before = entry.created_at
            yield entry


def _rpo(entry):
    return None if entry.created_at is None else round(clock.seconds_between(entry.created_at, clock.now()), 3)


def answer(session, entry, steps, **fields):
    """The result that all restore operations have; ``entry`` is None where no backup was needed."""
    result = {
        "changed": False,
        "recoverable": True,
        "backup": entry.view() if entry else None,
        "steps": steps.rows,
        "pre_restore_backup": None,
        "rolled_back": False,
        "rto_seconds": steps.seconds,
        "rpo_seconds": _rpo(entry) if entry else None,
        "plan": None,
        "recovered": None,
        "warnings": session.warnings,
    }
    result.update(fields)
    if (result["rpo_seconds"] or 0) < 0:
        session.warnings.append(
            f"the backup is {-result['rpo_seconds']:.0f} s younger than this host's clock: one of the clocks is wrong"
        )
    session.tell(rto_seconds=result["rto_seconds"], rpo_seconds=result["rpo_seconds"])
    return result


@contextlib.contextmanager
def counted():
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
    with counted() as steps:

        def attempt(entry):
            _rehearse(session, entry, steps)
            return answer(session, entry, steps)

        return _falling_back(session, wish, steps, attempt)


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
        if outcome is not None:
            record_test(session, entry, outcome, steps.seconds)


def record_test(session, entry, outcome, seconds):
    """Write into the backup's manifest how its restore test went (ok, failed, unverifiable); a warning if it cannot be.

    Call it under the name's lock.
    """
    if entry.manifest is None:
        return
    test_record = {"checked_at": clock.iso(clock.now()), "status": outcome, "seconds": seconds}
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
        _require_confirmed(session, wish, plan)
        if not wish.other_database:
            origin.require_same(entry, plan, session.settings["busy_timeout"])
    return plan


def _described(session, plan):
    target = session.target
    return {"id": preview.identity(plan, target.backup_dir, target.name), **plan.as_dict()}


def _require_confirmed(session, wish, plan):
    if wish.confirm is not None:
        described = _described(session, plan)
        if wish.confirm != described["id"]:
            raise errors.NotConfirmed(
                f"what was confirmed ({errors.excerpt(wish.confirm)}) is another plan than this one "
                f"({described['id']}: {errors.show(plan.entry.file)})",
                path=plan.database,
                hint="Nothing was changed; look at the plan of now (--check, check mode) and confirm that.",
                plan=described,
            )
    elif plan.live != "absent" and not wish.force:
        raise errors.NotConfirmed(
            "the database exists and would be replaced", path=plan.database, plan=_described(session, plan)
        )


def rehearse_planned(session, wish):
    """Check mode: plan the restore as it would run, rehearse it, and tell what it would change."""
    with counted() as steps:
        return _falling_back(session, wish, steps, lambda entry: _rehearse_planned(session, wish, steps, entry))


def _rehearse_planned(session, wish, steps, entry):
    plan = _planned(session, wish, entry, steps)
    if plan.strategy == "replace" and plan.in_use_by:
        session.warnings.append(
            f"{errors.show(plan.database)} must be replaced, so these must be stopped before: "
            + processes.describe(plan.in_use_by)
        )
    looks = []

    def look(directory, staged):
        with steps.step("compare_live") as row:
            seen = preview.look(plan, directory, staged, session.settings["busy_timeout"])
            known = {True: "already has this content", False: "differs", None: "was not compared as a whole"}
            row["detail"] = f"the live content {known[seen.equal]}"
        looks.append((seen, staged.expected.get("tables") or {}))

    _rehearse(session, entry, steps, also=look)
    seen, then = looks[0]
    described = {
        **_described(session, plan),
        "rows": preview.rows(seen.tables, then),
        "seconds_expected": preview.seconds_expected(steps.rows),
        "planned_at": clock.iso(clock.now()),
    }
    return answer(session, entry, steps, changed=not (seen.equal and plan.pre_backup), plan=described)


def restore(session, wish):
    """The restore itself, after one that was interrupted has been settled."""
    with counted() as steps:
        verify.check_level(session.settings["verify"])
        room.settle_interrupted(session)
        return _falling_back(session, wish, steps, lambda entry: _restore(session, wish, steps, entry))


def bring_back(session, wish, steps, entry):
    """Restore what an earlier restore has kept. One that did not pass its verification then is not asked to now."""
    if not entry.verified:
        return _restore(session, wish, steps, entry, level="none", assertions=())
    return _restore(session, wish, steps, entry, assertions=())


def _restore(session, wish, steps, entry, level=None, assertions=None):
    if not os.path.isdir(os.path.dirname(session.target.database)):
        _planned(session, wish, entry, steps)
    with room.restore_journal(session) as log:
        try:
            plan = _planned(session, wish, entry, steps)
            described = _described(session, plan)
            if plan.strategy == "replace" and plan.live != "absent":
                plan_room.require_replaceable(plan.database, plan.reason)
        except errors.BackupError:
            log.finish()
            raise
        done = apply_room.apply(
            apply_room.Restore(
                plan=plan,
                target=session.target,
                level=level or session.settings["verify"],
                assertions=tuple(session.settings["assertions"] if assertions is None else assertions),
                rollback=wish.rollback,
                may_replace=wish.strategy in ("auto", "replace_if_free"),
                log=log,
                steps=steps,
                progress=session.progress,
            )
        )
    kept = done.kept
    return answer(
        session,
        entry,
        steps,
        changed=done.changed,
        pre_restore_backup=kept.shown if kept else None,
        plan=described,
        recovered=session.recovered,
    )
