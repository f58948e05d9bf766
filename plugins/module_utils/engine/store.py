# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Make one backup: snapshot, verify, hash, compress, publish.

The order on disk, and what a crash after each step leaves (X is the backup's final name):

1. ``.X.partial`` is created empty: the name is taken, nothing is listed.
2. The snapshot is in it, fsynced: still not listed.
3. The directory is fsynced, the manifest ``X.json`` written and fsynced, the directory again: not listed either.
4. ``.X.partial`` is renamed to ``X`` and the directory fsynced: the backup exists.

After a crash before 4 the next run of the name removes the manifest first, then the partial file. Names that are not
fsynced in between may be kept in any order: a manifest alone would tell of a loss.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import NamedTuple

from . import catalog, clock, compress, database, errors, files, lock, manifest, snapshot, space, together, verify
from .unpacking import staged

SCRATCH = "scratch"
DRILL = "drill"
_RAW = "-raw"


class Order(NamedTuple):
    """What kind of backup is wanted; the settings of `settings.DEFAULTS` that matter to making one."""

    kind: str = "regular"
    trigger: str = "manual"
    method: str = "auto"
    level: str = "full"
    assertions: tuple = ()
    compression: str = "none"
    busy_timeout: float = 30.0
    pinned: bool = False
    pinned_until: str | None = None
    annotations: dict | None = None
    unless_equal_to: str | None = None
    newest: catalog.Entry | None = None


class Made(NamedTuple):
    """``manifest`` of what was made and the ``path`` it lies at: None when it equalled ``unless_equal_to``."""

    manifest: dict
    path: str | None


def clean(target):
    """Remove what earlier runs of this name left unfinished; returns the names. Call it under the name's lock."""
    removed = []
    left = catalog.leftovers(target.backup_dir, target.name)
    for hidden in (False, True):  # The partial file, by which the rest is known, goes last.
        group = [name for name in left if name.startswith(".") == hidden]
        files.remove_durably(*(os.path.join(target.backup_dir, name) for name in group))
        removed += group
    scratch, drill = scratch_dir(target), drill_dir(target)
    found = [path for path in (scratch, drill) if os.path.isdir(path)]
    if scratch in found:
        files.remove_tree(scratch)
    if drill in found:  # Under the lock of drills: one that begins in this moment waits for it.
        lock.when_free(drill_lock(target), files.remove_tree, drill)
    removed += [os.path.join(catalog.STATE, os.path.basename(path)) for path in found if not files.exists(path)]
    return removed


def scratch_dir(target):
    """Where restore tests of this name unpack; only there under the name's lock."""
    return os.path.join(target.state_dir, f"{SCRATCH}-{target.name}")


def drill_dir(target, elsewhere=None):
    """Where drills of this name unpack, in ``elsewhere`` if given; only there under the drill's own lock."""
    if elsewhere is None:
        return os.path.join(target.state_dir, f"{DRILL}-{target.name}")
    # Two hosts' databases of one name can be drilled on a third host.
    where = hashlib.sha256(os.fsencode(target.backup_dir)).hexdigest()[:8]
    return os.path.join(elsewhere, f".digitalme-backup-{DRILL}-{target.name}-{where}")


def drill_lock(target, elsewhere=None):
    return drill_dir(target, elsewhere) + ".lock"


def space_needed(target, compression="none"):
    """An upper bound of the bytes that a backup of the live database takes while it is made."""
    return database.content_bytes(target.database) * (1 if compression == "none" else 2)


def make(target, order, progress=None):
    """Make a backup of the live database as ordered. Call it under the name's lock, with the directory there.

    Raises what the snapshot raises, NoSpace, and VerificationFailed (the copy is then kept as ``X.quarantined``).
    A backup that cannot be judged here is published with the status ``unverifiable``.
    """
    compress.require(order.compression)
    verify.check_level(order.level)
    started, moment = clock.monotonic(), clock.now()
    header = database.check_file(target.database)
    snapshot.choose(order.method, header, target.database)
    space.require_space(target.backup_dir, space_needed(target, order.compression), "the backup")
    file = catalog.new_file_name(target.backup_dir, target.name, moment, order.kind, order.compression)
    path = os.path.join(target.backup_dir, file)
    working = os.path.join(target.backup_dir, catalog.partial(file))
    raw = working if order.compression == "none" else working + _RAW
    files.create_new(working)
    try:
        if raw != working:
            files.create_new(raw)
        report = staged(progress, "copy")
        taken = snapshot.take(
            target.database, raw, order.method, busy_timeout=order.busy_timeout, progress=report, hashing=True
        )
        with contextlib.ExitStack() as beside:
            beside.callback(taken.digest.close)
            packing = None
            if raw != working and not order.unless_equal_to:
                packing = _begin_packing(raw, working, order.compression)
                beside.callback(packing.close)
            document = _describe(target, order, file, moment, taken, raw, progress)
            if order.unless_equal_to and document["content_sha256"] == order.unless_equal_to:
                _discard(raw, working)
                return Made(document, None)
            if raw != working:
                packing = packing or _begin_packing(raw, working, order.compression)
                beside.callback(packing.close)
                _packed(packing, working, order.compression, document, progress)
                files.remove(raw)
        document["duration_seconds"] = round(clock.monotonic() - started, 3)
        files.sync_directory(target.backup_dir)
        if document["verification"]["status"] in ("corrupt", "failed"):
            path = _quarantine(path, working, document)
            raise _failed(target, path, document)
        manifest.write_new(manifest.path_for(path), document)
        files.sync_directory(target.backup_dir)
        files.publish(working, path)
    except BaseException:
        manifest.remove_if_alone(path)
        _discard(raw, working)
        raise
    return Made(document, path)


def _discard(*paths):
    for path in dict.fromkeys(paths):
        files.remove(path)


def _describe(target, order, file, moment, taken, raw, progress):
    """The manifest of the snapshot in the file ``raw``."""
    checked_at, before = clock.now(), clock.monotonic()
    findings = verify.verify(
        raw,
        order.level,
        assertions=order.assertions,
        written_by=taken.header.sqlite_version,
        progress=staged(progress, "verify"),
    )
    seconds = clock.monotonic() - before
    size = os.stat(raw).st_size
    digest = taken.digest.hexdigest(staged(progress, "hash"))
    document = {
        "schema_version": manifest.SCHEMA_VERSION,
        "file": file,
        "name": target.name,
        "host": manifest.host(),
        "created_at": clock.iso(moment),
        "duration_seconds": 0.0,
        "method": taken.method,
        "method_reason": taken.reason,
        "snapshot_seconds": round(taken.seconds, 3),
        "trigger": order.trigger,
        "pinned": order.pinned,
        "annotations": dict(order.annotations or {}),
        "source": _source(target, taken, database.check_file(raw), findings, size),
        "size_bytes": size,
        "stored_bytes": size,
        "compression": order.compression,
        "sha256": digest,
        "content_sha256": digest,
        "verification": findings.as_dict(checked_at, seconds),
        "tool": manifest.tool(),
    }
    ahead = order.newest and clock.ahead(order.newest.created_at, moment)
    more = {"pinned_until": order.pinned_until, "made_after": order.newest.file if ahead else None}
    return {**document, **{key: value for key, value in more.items() if value}}


def _source(target, taken, copied, findings, size):
    """What the manifest says of the database itself; ``copied`` is the header of its snapshot."""
    live = os.stat(target.database)
    return {
        "path": target.database,
        "size_bytes": taken.source_bytes,
        "journal_mode": taken.header.journal_mode,
        "page_size": copied.page_size,
        "page_count": size // copied.page_size,
        "encoding": copied.encoding,
        "application_id": copied.application_id,
        "user_version": copied.user_version,
        "auto_vacuum": copied.auto_vacuum,
        "schema_sha256": findings.schema_sha256,
        "tables": findings.tables,
        "uid": live.st_uid,
        "gid": live.st_gid,
        "mode": f"{live.st_mode & 0o7777:04o}",
    }


def _begin_packing(raw, working, method):
    """Begin to compress, beside what else is done with the raw copy. A crash leaves both, or only the raw one."""

    def pack(report):
        stored = hashlib.sha256()
        files.remove(working)
        size = compress.compress(raw, working, method, hasher=stored, progress=report)
        return size, stored.hexdigest()

    return together.Aside(pack)


def _packed(packing, working, method, document, progress):
    """Wait for what was begun, and prove that the stored bytes give the content back."""
    report = staged(progress, "compress")
    document["stored_bytes"], document["sha256"] = packing.result(report and (lambda: report(0, 0)))
    again, content = hashlib.sha256(), hashlib.sha256()
    compress.expand(working, None, method, stored=again, content=content, limit=document["size_bytes"])
    if (again.hexdigest(), content.hexdigest()) != (document["sha256"], document["content_sha256"]):
        raise errors.IoError("what was compressed does not read back and expand to the same bytes", path=working)


def _quarantine(path, working, document):
    """Keep the failed copy aside, with what was found. Listed nowhere; a crash in between leaves a partial file."""
    aside = path + files.QUARANTINED
    document["file"] = os.path.basename(aside)
    try:
        files.write_atomically(manifest.path_for(aside), manifest.encode(document))
        files.replace(working, aside)
    except BaseException:
        manifest.remove_if_alone(aside)
        raise
    return aside


def _failed(target, aside, document):
    rows = document["verification"]["errors"]
    hint = None
    if document["verification"]["status"] == "failed":
        hint = (
            "The copy is sound but not as asserted: look at the assertion, then at the data; the copy was kept aside."
        )
    causes = "; ".join(f"{row['check']}: {row['message']}" for row in rows[:3])
    return errors.VerificationFailed(
        f"the copy of the database did not pass its verification ({causes})",
        path=target.database,
        hint=hint,
        quarantined=aside,
        verification=document["verification"],
    )
