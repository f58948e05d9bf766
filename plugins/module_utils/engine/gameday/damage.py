# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Faults of the stored backup: a flipped byte, another one's manifest, no file at all, content without its key."""

from __future__ import annotations

import contextlib
import hashlib
import os

from .. import catalog, clock, errors, files, manifest
from . import content
from .judging import refused, require

_HEADER_BYTES = 100
_MOST_ENCIPHERED_BYTES = 1024 * 1024


def flipped_byte(scene):
    """One bit of one byte is turned over: anywhere in the pages, then in the header. Only the bytes tell of it."""
    size = files.size(scene.backup)
    header = min(_HEADER_BYTES, size)
    said = []
    for where, offset in (
        ("in a page", header + _random(size - header) if size > header else _random(size)),
        ("in the header", _random(header)),
    ):
        with _flipped(scene.backup, offset):
            said.append(f"byte {offset} {where}: {refused(errors.BackupInvalid, scene.test)}")
    return "; ".join(said)


def _random(below):
    return int.from_bytes(os.urandom(8), "big") % below


@contextlib.contextmanager
def _flipped(path, offset):
    """While the block runs; the same bit is turned back after it."""
    _flip(path, offset)
    try:
        yield
    finally:
        _flip(path, offset)


def _flip(path, offset):
    descriptor = os.open(path, files.IN_PLACE)
    try:
        os.lseek(descriptor, offset, os.SEEK_SET)
        (byte,) = os.read(descriptor, 1)
        os.lseek(descriptor, offset, os.SEEK_SET)
        files.write_all(descriptor, bytes([byte ^ 1]))
    finally:
        os.close(descriptor)


def foreign_manifest(scene, others):
    """The manifest of another backup lies beside the file: as it is, and made to look as if it belonged there.

    ``others`` are manifests of the real catalog; where none is of another content, a small database is backed up.
    """
    own = manifest.encode(scene.known)
    ours = ("file", "name", "stored_bytes", "size_bytes", "compression")
    with scene.work() as work:
        foreign = next((one for one in others if one["sha256"] != scene.known["sha256"]), None) or _made(scene, work)
        disguised = {**foreign, **{key: scene.known[key] for key in ours if key in scene.known}}
        try:
            files.write_atomically(scene.manifest, manifest.encode(foreign))
            said = refused(errors.BackupNotFound, scene.test)
            require(scene.listed() != "verified", "the list shows the backup as verified by another one's manifest")
            files.write_atomically(scene.manifest, manifest.encode(disguised))
            again = refused(errors.BackupInvalid, scene.test, scene.file)
        finally:
            files.write_atomically(scene.manifest, own)
    return f"that of {foreign['file']}: {said}; the same with this one's name and size in it: {again}"


def _made(scene, work):
    path, backups = os.path.join(work, "other.db"), os.path.join(work, "others")
    content.make(path, content.Form())
    return manifest.load(manifest.path_for(scene.back_up(path, backups, name="gameday")["backup"]["path"]))


def missing_backup(scene):
    """The file is gone and its manifest is left."""
    with scene.work() as work:
        aside = os.path.join(work, "aside")
        files.rename(scene.backup, aside)
        try:
            said = refused(errors.BackupNotFound, scene.test)
            named = refused(errors.BackupNotFound, scene.test, scene.file)
            listed = scene.listed()
            require(listed == "missing", f"the list shows it as {listed}")
            found = scene.doors.health(backup_dir=scene.backups, **scene.common)
            counted = next(check for check in found["checks"] if check["name"] == "count")
            require(found["status"] == "unhealthy" == counted["status"], f"health says {found['status']}")
        finally:
            files.rename(aside, scene.backup)
    return f"{said}; by its name: {named}; the list shows it as missing, health says unhealthy ({counted['message']})"


def missing_key(scene):
    """The content is enciphered, by an application whose key is gone; the manifest is right in every hash."""
    with scene.work() as work:
        backups = os.path.join(work, "backups")
        files.make_directory(backups)
        file = catalog.new_file_name(backups, scene.name, clock.parse(scene.known["created_at"]))
        page = scene.form.page_size
        raw = os.urandom(max(page, min(scene.form.size_bytes, _MOST_ENCIPHERED_BYTES) // page * page))
        digest = hashlib.sha256(raw).hexdigest()
        known = {
            **scene.known,
            "file": file,
            "size_bytes": len(raw),
            "stored_bytes": len(raw),
            "compression": "none",
            "sha256": digest,
            "content_sha256": digest,
        }
        path = os.path.join(backups, file)
        files.write_new(path, raw)
        files.write_new(manifest.path_for(path), manifest.encode(known))
        said = refused(errors.Unverifiable, scene.test, backup_dir=backups)
        again = refused(errors.Unverifiable, _validate, scene, backups)
    return f"the restore test says {said}, exit status {errors.Unverifiable.exit_code}; verified again: {again}"


def _validate(scene, backups):
    """Verify again what is stored there."""
    scene.doors.validate(backup_dir=files.Resolved(backups), **scene.common)
