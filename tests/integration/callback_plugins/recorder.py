# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tells the tests what each task returned, and what lay on the disk just after it."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: recorder
type: aggregate
short_description: For the tests only
description: Writes each task's result to $RECORD, one JSON object a line, with what lies under $RECORD_TREE after it.
"""


def fingerprint(top):
    """{relative path: mode, owner and SHA-256} of all files and directories, without the audit log and the locks."""
    found = {}
    for directory, names, files in os.walk(os.fsencode(top)):
        if b".state" in names:
            names.remove(b".state")
        for name in names + files:
            path = pathlib.Path(os.fsdecode(os.path.join(directory, name)))
            facts = path.lstat()
            content = hashlib.sha256(path.read_bytes()).hexdigest() if name in files else "directory"
            shown = os.fsencode(path.relative_to(top)).decode("utf-8", "backslashreplace")
            found[shown] = f"{facts.st_mode:o} {facts.st_uid} {content}"
    return found


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "recorder"
    CALLBACK_NEEDS_ENABLED = True

    def _write(self, state, result):
        fields = getattr(result, "result", None) or result._result  # The second name is that of ansible-core 2.19.
        task = getattr(result, "task", None) or result._task
        line = {"task": task.get_name(), "action": task.action, "state": state, "result": fields}
        watched = os.environ.get("RECORD_TREE")
        if watched:
            line["tree"] = fingerprint(watched)
        with open(os.environ["RECORD"], "a", encoding="utf-8") as file:
            file.write(json.dumps(line, default=str) + "\n")

    def v2_runner_on_ok(self, result):
        self._write("ok", result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._write("failed", result)

    def v2_runner_on_skipped(self, result):
        self._write("skipped", result)

    def v2_runner_on_unreachable(self, result):
        self._write("unreachable", result)
