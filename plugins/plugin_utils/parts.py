# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What each host has answered, as one file for each on the controller: no result has to stay in its memory.

A part is {part_version, host, asked_at, answered_at, outcome, error_code, cause, next_step, result}; ``outcome`` is
answered, unreachable, timed_out or failed, and ``result`` what the module returned, or None.
"""

from __future__ import annotations

import json
import os
import urllib.parse

from ansible_collections.digitalme.backup.plugins.module_utils.engine import errors, files

VERSION = 1
_SUFFIX = ".json"


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
