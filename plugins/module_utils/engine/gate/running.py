# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What became of the operations that came through the gate: one small file for each, so that it can be asked for after
the API, or whoever asked, has gone and come back.

``.state/NAME.operations/ID.json``. While an operation runs its process holds the lock of that file. A crash leaves one
that says ``running`` without a lock: it is shown as ``interrupted``. The audit log is the record; these files are for
polling, so they are not synced, and only the newest are kept.
"""

from __future__ import annotations

import contextlib
import json
import os
import re

from .. import clock, errors, files, lock
from . import vocabulary

_KEPT = 200
_LONGEST = 4 * 1024 * 1024
# Nothing else is read, or removed: the application may have made the directory a link to another.
_FILE = re.compile(vocabulary.REQUEST_ID.pattern + r"\.json")
_STATUSES = ("running", "succeeded", "failed")


def directory(target):
    return os.path.join(target.state_dir, f"{target.name}.operations")


class Running:
    """The file of an operation that runs. Where it cannot be written the operation goes on without."""

    def __init__(self, target, request, facts):
        self._target = target
        self._request = request
        self._known = {"id": request, "status": "running", "started_at": clock.iso(clock.now()), **facts}
        self._descriptor: int | None = None
        # The first backup of a name makes the directory; its file comes when it has ended.
        if os.path.isdir(target.backup_dir):
            with contextlib.suppress(OSError):
                self._begin()

    def _path(self):
        return os.path.join(directory(self._target), f"{self._request}.json")

    def _begin(self):
        files.make_directory(self._target.state_dir)
        files.make_directory(directory(self._target))
        _forget(directory(self._target))
        self._descriptor = lock.open_locked(self._path(), 0)
        if self._descriptor is not None:
            files.truncate_open(self._descriptor)
            files.write_all(self._descriptor, _encoded(self._known))

    def ended(self, **facts):
        """Keep how it ended: ``result`` or ``error``. The lock goes last, so that no reader sees neither."""
        done = {**self._known, "finished_at": clock.iso(clock.now()), **facts}
        try:
            if os.path.isdir(self._target.backup_dir):
                with contextlib.suppress(OSError):
                    files.make_directory(self._target.state_dir)
                    files.make_directory(directory(self._target))
                    files.write_atomically(self._path(), _encoded(done))
        finally:
            if self._descriptor is not None:
                os.close(self._descriptor)


def _encoded(known):
    return json.dumps(known, ensure_ascii=True).encode("ascii")


def _forget(place):
    """The ids sort by time."""
    for name in sorted(_names(place))[: -_KEPT + 1]:
        with contextlib.suppress(OSError):
            files.remove(os.path.join(place, name))


def shown(target):
    """All that are known, oldest first: {id, status (running, succeeded, failed, interrupted), started_at, ...}."""
    place = directory(target)
    found = []
    for name in sorted(_names(place))[-_KEPT:]:
        path = os.path.join(place, name)
        with contextlib.suppress(OSError, ValueError, RecursionError):
            known = _read(path)
            if known.get("status") == "running" and not lock.is_held(path):
                # Between the look at the text and that at the lock it may have ended.
                known = _read(path)
                known["status"] = "interrupted" if known.get("status") == "running" else known["status"]
            found.append(known)
    return found


def _read(path):
    descriptor = files.open_regular(path)
    with os.fdopen(descriptor, "rb") as source:
        known = json.loads(source.read(_LONGEST))
    if not _is_ours(known, os.path.basename(path)):
        raise ValueError("not as it was written here")
    return known


def _is_ours(known, name):
    """Whether it has the form of what `Running` writes: the directory is the application's, which may write as well."""
    request = name[: -len(".json")]
    if not isinstance(known, dict) or known.get("id") != request:
        return False
    by, error = known.get("by", {}), known.get("error")
    if not isinstance(by, dict) or not isinstance(known.get("result", {}), dict):
        return False
    texts = [known.get("operation"), *by.values()]
    if known.get("file") is not None:
        texts.append(known["file"])
    if "error" in known:
        if not isinstance(error, dict) or not isinstance(error.get("details"), dict):
            return False
        texts += [error.get(key) for key in ("error_code", "cause", "hint")]
    times = [known.get("started_at"), *([known["finished_at"]] if "finished_at" in known else [])]
    return (
        known.get("status") in _STATUSES
        and all(isinstance(text, str) for text in texts)
        and all(_is_time(text) for text in times)
    )


def _is_time(text):
    try:
        clock.parse(text)
    except (ValueError, TypeError, AttributeError):
        return False
    return True


def _names(place):
    try:
        return [name for name in os.listdir(place) if _FILE.fullmatch(name)]
    except OSError:  # Whatever the application has made of its directory: the audit log tells what ran.
        return []


def failure(error):
    """An error of the engine as plain data: what is wrong and the next step apart from the path that it names."""
    return {
        "error_code": error.error_code,
        "exit_code": error.exit_code,
        "cause": error.cause,
        "hint": error.hint,
        "path": error.path,
        "details": {key: value for key, value in error.details.items() if _plain(value)},
    }


def _plain(value):
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def defect():
    """What is answered for an error that is a defect: nothing of it but that the journal has it."""
    hint = "The service's journal has the traceback (journalctl); please report it."
    return failure(errors.BackupError("an unexpected error", hint=hint))
