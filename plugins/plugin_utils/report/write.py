# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A report on the controller's disk: a directory of its own, which appears when all that belongs into it is there."""

from __future__ import annotations

import json
import os

from ansible_collections.digitalme.backup.plugins.module_utils.engine import errors, files

LATEST = "latest"


def check(directory, key):
    """Make the directory if need be, and see that a report can be written into it. Raises the engine's errors."""
    try:
        files.make_directory(directory, mode=0o755)
        probe = os.path.join(directory, f".probe.{os.getpid()}{files.PARTIAL}")
        files.write_new(probe, b"")
        files.remove(probe)
    except OSError as error:
        translated = errors.from_os_error(error, directory)
        translated.hint = "Name a directory that can be written; no host has been asked."
        raise translated from error


def write(report, directory, key=None):
    """Write the report's files: {directory, json}. A crash leaves a hidden directory, which is taken for no report."""
    final = os.path.join(directory, report["id"])
    working = os.path.join(directory, f".{report['id']}{files.PARTIAL}")
    files.remove_tree(working)
    files.make_directory(working, mode=0o755)
    text = json.dumps(report, indent=1, ensure_ascii=True) + "\n"
    files.write_new(os.path.join(working, "drill.json"), text.encode("ascii"), mode=0o644)
    files.sync_directory(working)
    files.publish(working, final)
    files.replace_link(report["id"], os.path.join(directory, LATEST))
    return {"directory": final, "json": os.path.join(final, "drill.json")}
