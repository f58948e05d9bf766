# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The steps by which backups travel to another machine: each is one call on the sending or the receiving side."""

from __future__ import annotations

from .. import errors
from .. import session as room
from . import call

STEPS = ("have", "offer", "read", "accept", "receive", "finish")
# Each end has one line in its audit log; the steps between leave one only when they fail.
_RECORDED = {
    "have": "receive",
    "offer": "send",
    "read": "send",
    "accept": "receive",
    "receive": "receive",
    "finish": "receive",
}
_QUIET = ("have", "read", "accept", "receive")


def transfer(
    *,
    step,
    backup_dir,
    name,
    backups=None,
    newest=0,
    unverified=False,
    pre_restore=False,
    there=None,
    manifests=None,
    file=None,
    offset=0,
    part_bytes=0,
    part=None,
    caller=None,
    check=False,
    progress=None,
):
    """One step of a transfer: `transfer` (the room) tells what each does and raises.

    have: {rows}; offer (what is to be sent: ``backups``, ``newest``, ``unverified``, ``pre_restore``; not what is
    ``there``): {rows, problems, there}; read (a ``part`` of a ``file``: ``offset``, ``part_bytes``): {bytes}; accept
    (the ``manifests``): {rows}; receive (a ``part`` at ``offset`` of the backup of the one manifest): {bytes}; finish
    (those that have arrived): {rows}.
    """
    if step not in STEPS:
        raise errors.UsageError(f"there is no step '{errors.excerpt(step)}'; there are: {', '.join(STEPS)}")
    given = call.about(None, None, backup_dir, name, need_database=False)
    quiet = step in _QUIET
    with room.operation(_RECORDED[step], given, caller=caller, progress=progress, silent=check, quiet=quiet) as session:
        from .. import transfer as travelling

        target = session.target
        if step == "have":
            room.check_backup_dir(target)
            return session.result(changed=False, rows=travelling.have(target))
        if step == "offer":
            wanted = {"backups": backups, "newest": newest, "unverified": unverified, "pre_restore": pre_restore}
            rows, problems, known = travelling.offer(target, {**wanted, "there": there})
            session.tell(counts={"offered": len(rows), "damaged": len(problems), "there": len(known)})
            return session.result(changed=False, rows=rows, problems=problems, there=known)
        if step == "read":
            return session.result(changed=False, bytes=travelling.read_part(target, file, offset, part_bytes, part))
        if step == "accept":
            return _accept(session, travelling, manifests, check)
        if step == "receive":
            with room.exclusive(session, create=True):
                return session.result(changed=True, bytes=travelling.receive_part(target, manifests[0], offset, part))
        return _finish(session, travelling, manifests)


def _accept(session, travelling, manifests, check):
    """Tell what is wanted. A backup that is refused stands in the audit log."""
    if not check:
        travelling.tidy(session.target, manifests)
    rows = travelling.accept(session.target, manifests)
    refused = [row["file"] for row in rows if row["state"] == "conflict"]
    if refused:
        session.quiet = False
        session.tell(counts={"refused": len(refused)}, backup=", ".join(refused))
    return session.result(changed=False, rows=rows)


def _finish(session, travelling, manifests):
    """Publish what has arrived; one that cannot be does not keep the others from it."""
    rows = []
    with room.exclusive(session, create=True):
        for text in manifests:
            try:
                travelling.finish(session.target, text)
                rows.append({"problem": None})
            except errors.BackupError as error:
                rows.append({"problem": error.message})
            except OSError as error:
                rows.append({"problem": errors.from_os_error(error, session.target.backup_dir).message})
    received = sum(row["problem"] is None for row in rows)
    session.tell(counts={"received": received, "refused": len(rows) - received})
    return session.result(changed=received > 0, rows=rows)
