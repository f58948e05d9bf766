# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Unpack a backup beside the place where it is needed and prove it there, before anything live is touched.

Also what is kept of the live database before it is replaced.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from .. import catalog, clock, copying, database, errors, files, manifest, space, store, unpacking
from ..findings import Findings


class Staged(NamedTuple):
    """A checked copy: its path, what SQLite found, and what the live database must show after the restore."""

    path: str
    findings: Findings
    expected: dict
    content_sha256: str


def unpack(entry, path, progress=None, *, durable=False):
    """Copy or expand the backup to ``path``, comparing its bytes with the manifest. A crash leaves a partial file.

    ``durable`` is for what will take the place of the live file: its bytes go to the disk while they are copied, so
    that the fsync before the rename is short. A copy that is read and removed again is spared that.
    """
    files.remove(path)
    return unpacking.unpack(entry, path, progress, durable=durable)


def check(entry, path, unpacked, level, assertions, progress=None):
    """The Staged copy, when it passes; raises BackupInvalid or Unverifiable otherwise."""
    findings = unpacking.examine(entry, level, assertions, path, progress)
    require_sound(entry, findings)
    source = (entry.manifest or {}).get("source", {})
    expected = {
        "tables": source.get("tables") or findings.tables,
        "schema_sha256": source.get("schema_sha256") or findings.schema_sha256,
    }
    return Staged(path, findings, expected, unpacked.content_sha256)


def require_sound(entry, findings):
    """Raise BackupInvalid or Unverifiable with the causes when a verification was not passed."""
    if findings.status in ("corrupt", "failed"):
        raise errors.BackupInvalid(f"it did not pass its verification ({findings.summary()})", path=entry.path)
    if findings.status == "unverifiable":
        raise errors.Unverifiable(f"it cannot be verified here ({findings.summary()})", path=entry.path)


# --- what is kept of the old content ---------------------------------------------------------------------------------


class Kept(NamedTuple):
    """The old content: ``path`` of a file that ``in_place`` could write back (None for a raw copy), ``manifest``."""

    path: str | None
    shown: str
    manifest: dict
    detail: str


def keep_old(target, settings, live, progress=None):
    """Make the pre-restore backup, verified and durable; of a damaged database the best copy that can be had.

    A sound one gives an ordinary pre-restore backup. One that SQLite can copy but not find sound is kept page for page
    as ``.quarantined``. One that SQLite cannot read is copied byte for byte, with its sidecars.
    """
    moment = clock.now()
    until = clock.iso(clock.after(moment, settings["pre_restore_keep_days"] * 86400))
    order = store.Order(
        kind="pre_restore",
        trigger="pre_restore",
        level="full" if settings["verify"] == "full" else "quick",
        busy_timeout=settings["busy_timeout"],
        pinned=True,
        pinned_until=until,
    )
    if live == "sound" and files.size(target.database):
        try:
            made = store.make(target, order, progress)
            return Kept(made.path, made.path, made.manifest, made.manifest["verification"]["status"])
        except errors.VerificationFailed as error:
            aside = error.details["quarantined"]
            return Kept(
                aside, aside, manifest_of(aside), f"the old content is damaged, kept page for page: {error.cause}"
            )
        except (errors.DatabaseCorrupt, errors.NotADatabase, errors.Unverifiable):
            pass  # SQLite cannot read it all: keep the bytes.
    return _keep_raw(target, moment)


def manifest_of(path):
    return manifest.decode(manifest.read(path), manifest.path_for(path))


def _keep_raw(target, moment):
    """Copy the file and its sidecars byte for byte, each under the old one's suffix: they still belong together.

    The copies get their final names last (sidecars first, so that a main file never lies there without them), when
    their partial names are durable; a crash before leaves partial files, by which the next run knows what to remove.
    """
    size = sum(files.size(target.database + suffix) for suffix in ("", *database.SIDECARS))
    space.require_space(target.backup_dir, size, "the copy of the damaged database")
    stem = catalog.new_file_name(target.backup_dir, target.name, moment, "pre_restore")[: -len(".db")] + catalog.RAW
    final = os.path.join(target.backup_dir, stem)
    working = os.path.join(target.backup_dir, catalog.partial(stem))
    suffixes = [suffix for suffix in database.SIDECARS if files.exists(target.database + suffix)]
    sums = {}
    for suffix in (*suffixes, ""):
        files.remove(working + suffix)
        _size, digest = copying.copy(target.database + suffix, working + suffix, hashing=True)
        if files.sha256(target.database + suffix) != digest:
            raise errors.IoError("the copy is not what was read", path=working + suffix)
        sums[os.path.basename(final) + suffix] = digest
    files.sync_directory(target.backup_dir)
    for suffix in suffixes:
        files.publish(working + suffix, final + suffix)
    facts = {
        "file": os.path.basename(final),
        "name": target.name,
        "host": manifest.host(),
        "created_at": clock.iso(moment),
        "method": "raw",
        "trigger": "pre_restore",
        "source": {"path": target.database},
        "stored_bytes": files.size(target.database),
        "sha256_of": sums,
        "tool": manifest.tool(),
    }
    files.write_atomically(manifest.path_for(final), manifest.encode(facts))
    files.publish(working, final)
    return Kept(None, final, facts, "SQLite cannot read the old content: kept byte for byte, with its sidecar files")
