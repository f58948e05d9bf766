# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Verify stored backups again, record what was found, and adopt those that have no manifest."""

from __future__ import annotations

import os

from . import catalog, clock, compress, database, errors, files, manifest, ownership, store, unpacking


def validate(session, references, adopt, record):
    """{changed, backups} for the references (None: all of the name). Raises when one of them is not sound."""
    target = session.target
    entries = catalog.scan(target.backup_dir, target.name)
    if references:
        entries = [catalog.resolve(reference, target.backup_dir, target.name, entries) for reference in references]
    rows = [_one(session, entry, adopt, record) for entry in entries]
    counts: dict = {}
    for row in rows:
        counts[row["status"]] = counts.get(row["status"], 0) + 1
    session.tell(counts=counts)
    _raise_for(target, rows)
    return {"changed": any(row["changed"] for row in rows), "backups": rows}


def _raise_for(target, rows):
    for kind, statuses in (
        (errors.BackupInvalid, ("corrupt", "failed", "missing")),
        (errors.Unverifiable, ("unverifiable",)),
    ):
        bad = [row for row in rows if row["status"] in statuses]
        if bad:
            first = bad[0]
            causes = "; ".join(f"{row['check']}: {row['message']}" for row in first["errors"]) or first["status"]
            raise kind(
                f"{len(bad)} of {len(rows)} backups did not pass; {first['file']}: {causes}",
                path=target.backup_dir,
                backups=rows,
                changed=any(row["changed"] for row in rows),
            )


def _one(session, entry, adopt, record):
    if entry.status == "missing" or (entry.status == "invalid" and entry.manifest is None):
        # There is no file to look at: it has gone, or it is a link or a directory.
        status = "missing" if entry.status == "missing" else "failed"
        return _row(entry, status, [{"check": "file", "message": entry.problems[0]}], 0.0)
    settings = session.settings
    try:
        found = examine(session, entry, settings["verify"], tuple(settings["assertions"]))
    except OSError as error:
        # One that cannot be read, or unpacked, does not keep the others from being looked at; nor is that a verdict.
        cause = errors.from_os_error(error, entry.path).cause
        return _row(entry, "failed", [{"check": "read", "message": cause}], 0.0)
    verification = found["verification"]
    row = _row(entry, verification["status"], verification["errors"], verification["duration_seconds"])
    row.update(level=verification["level"], warnings=verification["warnings"])
    if not _is_verdict(verification):
        return row
    if entry.manifest is not None:
        before = entry.manifest["verification"]
        row["changed"] = (before.get("status"), before.get("level")) != (verification["status"], verification["level"])
        if record:
            _record(session, entry, verification)
    elif adopt and verification["status"] != "corrupt" and found["header"] is not None:
        row["changed"] = row["adopted"] = True
        if record:
            _adopt(session, entry, found)
    if entry.manifest is None and not row["adopted"]:
        why = "; ".join(entry.problems)
        session.warnings.append(f"{entry.file}: its bytes could be compared with nothing: {why}")
    return row


def _is_verdict(verification):
    """Whether the result is worth recording: level none looks at nothing, and a failed assertion may be a wrong one."""
    checks = {found["check"] for found in verification["errors"]}
    return verification["status"] != "none" and not (verification["status"] == "failed" and checks == {"assertion"})


def _record(session, entry, verification):
    try:
        manifest.update(manifest.path_for(entry.path), verification=verification)
    except OSError as error:  # Read-only media can be verified, too.
        session.warnings.append(f"the result could not be recorded in the manifest of {entry.file}: {error}")


def _row(entry, status, found, seconds):
    return {
        "file": entry.file,
        "path": entry.path,
        "status": status,
        "level": None,
        "errors": found,
        "warnings": [],
        "seconds": seconds,
        "adopted": False,
        "changed": False,
    }


def examine(session, entry, level, assertions):
    """{verification, tables, schema_sha256, content_sha256, size_bytes, sha256} of a stored backup, as it is now."""
    checked_at, started = clock.now(), clock.monotonic()
    scratch = None
    try:
        path = entry.path
        if compress.by_suffix(entry.file) == "none":
            unpacked = unpacking.unpack(entry, None, session.progress)
        else:
            scratch = store.scratch_dir(session.target)
            files.remove_tree(scratch)
            files.make_directory(scratch)
            path = os.path.join(scratch, "content.db")
            unpacked = unpacking.unpack(entry, path, session.progress, durable=False)
        findings = unpacking.examine(entry, level, assertions, path, session.progress)
        facts = {
            "tables": findings.tables,
            "schema_sha256": findings.schema_sha256,
            "content_sha256": unpacked.content_sha256,
            "size_bytes": unpacked.size,
            "header": _header(path),
        }
    except errors.BackupInvalid as error:
        from .findings import Findings

        findings = Findings(level)
        findings.add("corrupt", "sha256", error.cause)
        facts = {}
    finally:
        if scratch is not None:
            files.remove_tree(scratch)
    return {"verification": findings.as_dict(checked_at, clock.monotonic() - started), **facts}


def _header(path):
    """The header of the content; None where it has none that can be read (it is encrypted, or was not looked at)."""
    try:
        return database.check_file(path)
    except errors.BackupError:
        return None


def _adopt(session, entry, found):
    """Write the manifest that a backup made by hand or by an older script lacks.

    Its time is that of its file name; where that tells none, the file's mtime is the best that is left, and the
    manifest says so.
    """
    ownership.close_to_others(entry.path)
    guessed = entry.created_at is None
    moment = _mtime(entry.path) if guessed else entry.created_at
    header = found["header"]
    document = {
        "schema_version": manifest.SCHEMA_VERSION,
        "file": entry.file,
        "name": entry.name,
        "host": manifest.host(),
        "created_at": clock.iso(moment),
        "duration_seconds": 0.0,
        "method": "adopted",
        "method_reason": "made by other means; its time is that of its " + ("mtime" if guessed else "file name"),
        "trigger": "manual",
        "pinned": False,
        "annotations": {"adopted_at": clock.iso(clock.now())},
        "source": {
            "path": None,
            "journal_mode": header.journal_mode,
            "page_size": header.page_size,
            "page_count": found["size_bytes"] // header.page_size,
            "encoding": header.encoding,
            "application_id": header.application_id,
            "user_version": header.user_version,
            "auto_vacuum": header.auto_vacuum,
            "schema_sha256": found["schema_sha256"],
            "tables": found["tables"],
        },
        "size_bytes": found["size_bytes"],
        "stored_bytes": entry.stored_bytes,
        "compression": compress.by_suffix(entry.file),
        "sha256": files.sha256(entry.path),
        "content_sha256": found["content_sha256"],
        "verification": found["verification"],
        "tool": manifest.tool(),
    }
    path = manifest.path_for(entry.path)
    if files.exists(path):
        files.replace(path, path + ".replaced")  # It was of no use, but it is not ours to throw away.
    files.write_atomically(path, manifest.encode(document))


def _mtime(path):
    import datetime

    return datetime.datetime.fromtimestamp(os.stat(path).st_mtime, clock.UTC)
