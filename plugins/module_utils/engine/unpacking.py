# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bring the content of a stored backup out, and check it against its manifest."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from . import compress, copying, errors, files, verify

# What a compressed file without a manifest may expand to; more is taken for a bomb.
LIKELY_RATIO = 20


def staged(progress, stage):
    """A progress callback of two numbers from one that is also told the stage."""
    if progress is None:
        return None

    def report(done, total):
        progress(stage, done, total)

    return report


class Unpacked(NamedTuple):
    """A backup's content in a file of its own: how many bytes, their SHA-256, and whether they match the manifest."""

    size: int
    content_sha256: str
    trusted: bool


def unpack(entry, path, progress=None, *, durable=True):
    """Copy or expand a stored backup into the new file ``path``; raises BackupInvalid when it is not what it was.

    With ``path`` None the bytes are only read and compared.
    """
    known = entry.manifest or {}
    method = compress.by_suffix(entry.file)
    if method == "none":
        return _copied(entry, known, path, progress, durable)
    stored, content = hashlib.sha256(), hashlib.sha256()
    report = staged(progress, "stage")
    most = entry.stored_bytes * LIKELY_RATIO if known.get("size_bytes") is None else known["size_bytes"]
    try:
        size = compress.expand(
            entry.path, path, method, stored=stored, content=content, durable=durable, limit=most, progress=report
        )
        _require_match(entry, known, stored.hexdigest(), content.hexdigest())
    except errors.BackupInvalid:
        # Bytes that do not match tell more than a decompressor that stumbles over them.
        if path is not None:
            files.remove(path)
        raise
    return Unpacked(size, content.hexdigest(), bool(known))


def _copied(entry, known, path, progress, durable):
    """`unpack` of a file that is not compressed: the filesystem shares its blocks with the copy where it can."""
    report = staged(progress, "stage")
    if path is None:
        size, digest = entry.stored_bytes, files.sha256(entry.path, report)
    else:
        size, digest = copying.copy(entry.path, path, hashing=True, durable=durable, progress=report)
    try:
        _require_match(entry, known, digest, digest)
    except errors.BackupInvalid:
        if path is not None:
            files.remove(path)
        raise
    return Unpacked(size, digest, bool(known))


def _require_match(entry, known, stored, content):
    for key, digest in (("sha256", stored), ("content_sha256", content)):
        if known.get(key) is not None and known[key] != digest:
            raise errors.BackupInvalid(
                "its bytes are not those that were backed up: the SHA-256 differs from its manifest's", path=entry.path
            )


def examine(entry, level, assertions, path, progress=None):
    """Findings about a backup whose content was unpacked to ``path``, against its manifest."""
    known = entry.manifest or {}
    return verify.verify(
        path,
        level,
        source=known.get("source"),
        assertions=assertions,
        trusted=bool(known.get("sha256")),
        progress=staged(progress, "verify"),
    )
