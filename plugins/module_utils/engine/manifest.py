# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The JSON file beside a backup: what it is, where it came from, how it was verified."""

from __future__ import annotations

import errno
import json
import os
import re
import sys

from . import __version__, clock, errors, files, jsontext

SCHEMA_VERSION = 1
SUFFIX = ".json"
# A manifest grows with the number of tables, about 60 bytes each; what is larger than this was not written by us.
LARGEST = 16 * 1024 * 1024

_REQUIRED = {
    "schema_version": int,
    "file": str,
    "name": str,
    "created_at": str,
    "stored_bytes": int,
    "sha256": str,
    "verification": dict,
    "source": dict,
}
_OPTIONAL = {
    "host": str,
    "size_bytes": int,
    "content_sha256": str,
    "compression": str,
    "trigger": str,
    "pinned": bool,
    "annotations": dict,
    "method": str,
}
_OF_VERIFICATION = {"status": str, "errors": list}
_OF_SOURCE = {"uid": int, "gid": int, "mode": str}
# What a file, a table and SQLite's own counters can reach.
_MOST = 2**63 - 1
# The one after it would be -1 for chown(2): let the owner be.
_LARGEST_ID = 2**32 - 2
_MODE = re.compile(r"[0-7]{1,4}")


def path_for(backup_path):
    return backup_path + SUFFIX


def tool():
    """Which program made it: for the day when a version turns out to have been wrong."""
    import sqlite3

    return {
        "version": __version__,
        "python": ".".join(str(part) for part in sys.version_info[:3]),
        "sqlite": sqlite3.sqlite_version,
    }


def host():
    """The name of this host, as the system has it."""
    if hasattr(os, "uname"):
        return os.uname().nodename
    import socket

    return socket.gethostname()


def encode(manifest):
    """Bytes of the manifest. ASCII, so that undecodable bytes in a path survive as escapes."""
    return json.dumps(manifest, indent=2, sort_keys=False, ensure_ascii=True).encode("ascii") + b"\n"


def load(path):
    """The manifest in the file, checked. Raises BackupInvalid, which says what is wrong; unknown keys are kept."""
    return decode(_read(path), path)


def read(backup_path):
    """The bytes of a backup's manifest as they are. Raises BackupInvalid for what cannot be one."""
    return _read(path_for(backup_path))


def _read(path):
    try:
        return files.read_small(path, LARGEST)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _invalid(path, "it is not a regular file") from error
        if error.errno == errno.EINVAL:
            raise _invalid(path, f"it is {error.strerror}") from error
        raise errors.from_os_error(error, path) from error


def decode(raw, path):
    try:
        # One odd number makes no backup unusable, but nor is it told again.
        manifest = jsontext.decode(raw, lambda _text: None)
    except ValueError as error:
        raise _invalid(path, f"it is not valid JSON ({error})") from error
    if not isinstance(manifest, dict):
        raise _invalid(path, "it is not a JSON object")
    version = manifest.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool):
        raise _invalid(path, "it has no schema_version, so it is not a manifest of ours")
    if version > SCHEMA_VERSION:
        raise _invalid(path, f"its schema_version {version} is newer than {SCHEMA_VERSION}: upgrade digitalme.backup")
    for key, kind in _REQUIRED.items():
        if key not in manifest:
            raise _invalid(path, f"it lacks '{key}'")
        _require_kind(manifest, key, kind, path)
    parts = ((manifest, _OPTIONAL), (manifest["verification"], _OF_VERIFICATION), (manifest["source"], _OF_SOURCE))
    for holder, optional in parts:
        for key, kind in optional.items():
            if holder.get(key) is not None:
                _require_kind(holder, key, kind, path)
    _require_source(manifest["source"], path)
    try:
        clock.parse(manifest["created_at"])
    except ValueError as error:
        raise _invalid(path, f"its created_at is not a time ({manifest['created_at']!r})") from error
    return manifest


def _require_kind(manifest, key, kind, path):
    value = manifest[key]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _invalid(path, f"its '{key}' is not of type {kind.__name__}")
    if kind is int and not 0 <= value <= _MOST:
        raise _invalid(path, f"its '{key}' is out of range")


def _require_source(source, path):
    tables = source.get("tables")
    if tables is not None and not (isinstance(tables, dict) and all(isinstance(rows, int) for rows in tables.values())):
        raise _invalid(path, "its source's tables are not row counts")
    for key in ("uid", "gid"):
        if (source.get(key) or 0) > _LARGEST_ID:
            raise _invalid(path, f"its source's '{key}' is out of range")
    if source.get("mode") is not None and not _MODE.fullmatch(source["mode"]):
        raise _invalid(path, "its source's 'mode' is no file mode")


def _invalid(path, cause):
    return errors.BackupInvalid(
        f"the manifest cannot be used: {cause}",
        path=path,
        hint="Its backup is listed as unverified; adopt it again (command 'validate --adopt') or choose another.",
    )


def write_new(path, manifest):
    """Create the manifest under its final name, durable.

    A crash half way leaves a part of it beside a backup that is still named ``.partial``: the next run removes both.
    """
    files.write_new(path, encode(manifest))


def remove_if_alone(backup_path):
    """Remove the manifest of a file that did not get its final name, durable: its partial file may go after it."""
    if not files.exists(backup_path):
        files.remove_durably(path_for(backup_path))


def update(path, **changes):
    """Replace keys of a manifest on disk at once (old or new, whole); everything else in it is kept. Returns it."""
    current = load(path)
    current.update(changes)
    files.write_atomically(path, encode(current), mode=os.stat(path).st_mode & 0o777)
    return current
