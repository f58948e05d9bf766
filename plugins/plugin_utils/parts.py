# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What each host has answered, as one file for each on the controller: no result has to stay in its memory.

A part is {part_version, host, asked_at, answered_at, outcome, error_code, cause, next_step, result}; ``outcome`` is
answered, unreachable, timed_out or failed, and ``result`` what the module returned, or None.
"""

from __future__ import annotations

import json
import os
import socket
import urllib.parse

from ansible_collections.digitalme.backup.plugins.module_utils.engine import errors, files

VERSION = 1
_SUFFIX = ".json"
_PLACE = ".parts"
_OWNER = ".owner"


def begin(directory, identity):
    """Make the place for the parts of a run, and return it; what runs that were killed have left there is removed."""
    for name in os.listdir(directory):
        if name.startswith(".") and name.endswith(_PLACE) and _is_left(os.path.join(directory, name)):
            files.remove_tree(os.path.join(directory, name))
    place = os.path.join(directory, f".{identity}{_PLACE}")
    files.make_directory(place)
    # The process that runs the playbook: this one is only its worker.
    owner = {"controller": socket.gethostname(), "pid": os.getppid()}
    files.write_new(os.path.join(place, _OWNER), json.dumps(owner).encode("ascii"))
    return place


def _is_left(place):
    """Whether the run that made it is over. One of another controller may go on: it is left alone."""
    try:
        with open(os.path.join(place, _OWNER), "rb") as source:
            owner = json.load(source)
        if owner["controller"] != socket.gethostname():
            return False
        os.kill(int(owner["pid"]), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return False


def write(directory, part):
    """Put the part of a host into the directory; one of the same host that is there is replaced. Raises OSError."""
    name = urllib.parse.quote(part["host"], safe="") + _SUFFIX
    text = json.dumps({"part_version": VERSION, **part}, ensure_ascii=True)
    files.write_atomically(os.path.join(directory, name), text.encode("ascii"))


def read(directory, expected):
    """The part of each of the expected hosts, in their order; one that is not there, or no part, says so.

    One after the other: those of a large fleet are never all in memory.
    """
    for host in expected:
        yield _read(os.path.join(directory, urllib.parse.quote(host, safe="") + _SUFFIX), host)


def _read(path, host):
    try:
        with open(path, "rb") as source:
            part = json.load(source)
    except FileNotFoundError:
        return lacking(
            host, "no_answer", "nothing was heard of it", "Look at the task's output: it did not come so far."
        )
    except (OSError, ValueError, RecursionError) as error:
        return lacking(host, "io_error", f"{errors.show(path)} cannot be read ({error})", "Run it again.")
    if not isinstance(part, dict) or part.get("part_version") != VERSION:
        return lacking(host, "io_error", f"{errors.show(path)} is of another version", "Run it again with one version.")
    return part


def lacking(host, error_code, cause, next_step):
    """The part of a host that has not answered."""
    told = {"error_code": error_code, "cause": cause, "next_step": next_step}
    return {"host": host, "outcome": "failed", "asked_at": None, "answered_at": None, "result": None, **told}
