# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What may be asked at the gate: the operations, and what each of their arguments may be."""

from __future__ import annotations

import re

from .. import catalog, errors

LONGEST_REQUEST = 64 * 1024
_LONGEST_TEXT = 255
_MOST_ANNOTATIONS = 20
_MOST = 1_000_000
# Made by the API for each request; a file of the state directory is named by it.
REQUEST_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{12}")


def _text(value):
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_TEXT


def _file(value):
    """A backup's file name, or the newest one's; what it means is looked up in the catalog, never joined to a path."""
    return _text(value) and "/" not in value and "\0" not in value


def _flag(value):
    return isinstance(value, bool)


def _count(value):
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST)


def _level(value):
    return value in (None, "quick", "full")


def _annotations(value):
    return isinstance(value, dict) and len(value) <= _MOST_ANNOTATIONS and all(map(_text, (*value, *value.values())))


def _version(value):
    return value is None or _text(value)


OPERATIONS = {
    "state": {"known": _version},
    "requirements": {"file": _file},
    "download": {"file": _file},
    "refused": {"request": _text, "outcome": _text, "status": _count, "times": _count},
    "backup": {"pinned": _flag, "annotations": _annotations},
    "validate": {"file": _file, "verify": _level},
    "test": {"file": _file},
    "restore": {"file": _file, "confirmed": _flag},
    "retention": {"keep_days": _count, "max_files": _count},
    "delete": {"file": _file},
}
# These run for a while, and are polled: what became of them is kept.
LONG = ("backup", "validate", "test", "restore", "retention", "delete")
_CALLER = ("subject", "address", "request")


def checked(request):
    """(operation, arguments, caller) of a decoded request; raises UsageError for anything that is not of the list."""
    if not isinstance(request, dict) or set(request) != {"operation", "arguments", "by"}:
        raise errors.UsageError("a request has 'operation', 'arguments' and 'by'")
    operation, arguments, by = request["operation"], request["arguments"], request["by"]
    known = OPERATIONS.get(operation) if isinstance(operation, str) else None
    if known is None:
        raise errors.UsageError(f"the gate knows no operation {errors.excerpt(operation)}")
    if not isinstance(arguments, dict) or set(arguments) != set(known):
        raise errors.UsageError(f"'{operation}' takes exactly: {', '.join(sorted(known))}")
    for key, is_right in known.items():
        if not is_right(arguments[key]):
            raise errors.UsageError(f"'{key}' of '{operation}' cannot be {errors.excerpt(repr(arguments[key]))}")
    if not isinstance(by, dict) or not set(by) <= set(_CALLER) or not all(map(_text, by.values())):
        raise errors.UsageError(f"'by' has texts: {', '.join(_CALLER)}")
    if "request" in by and not REQUEST_ID.fullmatch(by["request"]):
        raise errors.UsageError("the request's id is none")
    return operation, arguments, {"via": "api", **{key: by[key] for key in _CALLER if key in by}}


def file_of(reference, backup_dir, name):
    """The reference, if it is the newest or a file of this name's catalog; raises BackupNotFound.

    Where `catalog.resolve` also takes paths and times, the API's callers name what was listed to them.
    """
    if reference in catalog.LATEST:
        return reference
    if reference in catalog.listing(backup_dir) and catalog.ANY_BACKUP.fullmatch(reference):
        if catalog.belongs(reference, name):
            return reference
    elif any(entry.file == reference for entry in catalog.scan(backup_dir, name)):
        return reference  # Made by hand, or only its manifest is left.
    raise errors.BackupNotFound(f"'{errors.excerpt(reference)}' is no backup of '{name}'", path=backup_dir)
