# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Do something to the disk just before the Nth time that the engine names a file below a directory, in a child process.

Python tells of each opening, renaming, listing and so on before it asks the system (its audit events), and of each
database before SQLite opens it. So what a process beside it could do between two looks is done at each of them in turn.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import traceback
import urllib.parse

NOBODY = 65534


def _path(event, arguments):
    """The path that an audit event names, or None."""
    if event == "sqlite3.connect":
        name = os.fsdecode(arguments[0])
        return urllib.parse.unquote(name[len("file:") :].split("?")[0]) if name.startswith("file:") else name
    if event == "open" or event.startswith(("os.", "shutil.")):
        first = arguments[0] if arguments else None
        return os.fsdecode(first) if isinstance(first, (str, bytes)) else None
    return None


def run(action, below, at, strike, user=None):
    """Call ``action`` in a child, and ``strike(path)`` before its Nth event below the directory (None: never).

    Returns {"struck": the event as text or None, "code": error code or "ok", "said": the error's text}. An exception of
    the action that is none of the engine's fails the test. ``user``: whose rights the child takes, as (uid, gid).
    """
    if user is not None:
        _import_all()  # What an ordinary user may read of the interpreter and the checkout is not the question.
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        answer = {"struck": None}
        try:
            if user is not None:
                os.setgroups([])
                os.setresgid(user[1], user[1], user[1])
                os.setresuid(user[0], user[0], user[0])
            _hook(os.fspath(below), at, strike, answer)
            answer.update(_call(action))
        except BaseException:
            answer["traceback"] = traceback.format_exc()
        with os.fdopen(writing, "w") as said:
            json.dump(answer, said)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as said:
        answer = json.load(said)
    os.waitpid(pid, 0)
    assert "traceback" not in answer, f"at {at} ({answer['struck']}):\n{answer['traceback']}"
    return answer


def _import_all():
    import _strptime  # noqa: F401
    import concurrent.futures.thread  # noqa: F401
    import importlib
    import pkgutil
    import pwd  # noqa: F401
    import shutil  # noqa: F401
    import tempfile  # noqa: F401
    import zlib  # noqa: F401

    import engine

    for found in pkgutil.walk_packages(engine.__path__, "engine."):
        if not found.name.endswith(("__main__", ".windows")):
            importlib.import_module(found.name)


def _call(action):
    from engine import errors

    try:
        action()
    except errors.BackupError as error:
        return {"code": error.error_code, "said": error.message}
    return {"code": "ok", "said": ""}


def _hook(below, at, strike, answer):
    seen, inside, last = 0, False, below

    def hook(event, arguments):
        nonlocal seen, inside, last
        if inside or answer["struck"]:
            return
        path = _path(event, arguments)
        if path is None:
            return
        path = last = os.path.join(last, path)  # A name alone is one in the directory that was opened just before.
        if not path.startswith(below + os.sep):
            return
        seen += 1
        if seen != at:
            return
        inside = True
        # A strike that the system refuses is one that nobody else could have done either.
        with contextlib.suppress(OSError):
            strike(path)
        inside = False
        answer["struck"] = f"{event} {path}"

    sys.addaudithook(hook)
