# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An action that runs its module on the host and keeps what came of it in a file on the controller."""

from __future__ import annotations

import os

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible_collections.digitalme.backup.plugins.module_utils.engine import clock, errors
from ansible_collections.digitalme.backup.plugins.plugin_utils import parts

_UNREACHABLE = "Check that the host is up, its address, and the key; then drill it again by itself (--limit)."
_TIMED_OUT = (
    "See what hangs there (load, disks, a stopped process), or give it more time; then drill it again by itself."
)
_BROKEN = "Run the task on this host alone with -vvv: it ended before it could say what was wrong."


class AskingAction(ActionBase):
    """``MODULE`` is run with the task's arguments, without its ``OWN``. With ``parts`` its result goes into that
    directory; the task then returns a summary and does not fail, so that every host has its place in the report.
    """

    MODULE = ""
    OWN: tuple = ("parts",)
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp=None, task_vars=None):
        """Run it; a host that cannot be reached is noted, too, before Ansible hears of it."""
        result = super().run(tmp, task_vars)
        arguments = {key: value for key, value in self._task.args.items() if key not in self.OWN}
        directory = self._task.args.get("parts")
        if directory is None:
            result.update(self._execute_module(self.MODULE, arguments, task_vars=task_vars))
            return result
        part = {"host": task_vars["inventory_hostname"], "asked_at": clock.iso(clock.now())}
        try:
            part.update(_answered(self.ask({**arguments, "fail_on": "never"}, task_vars)))
        except AnsibleConnectionFailure as error:
            part.update(_none("unreachable", "unreachable", _one_line(error), _UNREACHABLE))
            raise
        except BaseException as error:
            # The task's own `timeout` comes as this; Ansible has made no other way to hear of it.
            if type(error).__name__ != "TaskTimeoutError":
                part.update(_none("failed", "failed", _one_line(error), _BROKEN))
                raise
            limit = f"it had not answered after {self._task.timeout} s"
            part.update(_none("timed_out", "time_limit", limit, _TIMED_OUT))
        finally:
            part["answered_at"] = clock.iso(clock.now())
            parts.write(os.fspath(directory), part)
        return {**result, "changed": False, "outcome": part["outcome"], "counts": _counts(part["result"])}

    def ask(self, arguments, task_vars):
        """What the module says on the host."""
        return self._execute_module(self.MODULE, arguments, task_vars=task_vars)


def _answered(answer):
    if answer.get("unreachable"):
        return _none("unreachable", "unreachable", _one_line(answer.get("msg")), _UNREACHABLE)
    if answer.get("failed") and "databases" not in answer:
        # A message of ours ends with its next step; what else is said is Ansible's or Python's.
        code = answer.get("error_code")
        kind = errors.CODES.get(code)
        cause = _one_line(answer.get("msg") or answer.get("module_stderr") or "the module said nothing")
        hint = kind.hint if kind else _BROKEN
        return _none("failed", code or "failed", cause.removesuffix(hint).rstrip(" ."), hint)
    kept = {key: value for key, value in answer.items() if not key.startswith(("_ansible", "invocation"))}
    return {"outcome": "answered", "error_code": None, "cause": None, "next_step": None, "result": kept}


def _none(outcome, error_code, cause, next_step):
    return {"outcome": outcome, "error_code": error_code, "cause": cause, "next_step": next_step, "result": None}


def _one_line(said):
    return " ".join(str(said).split())[:2000]


def _counts(result):
    counts: dict = {}
    for row in (result or {}).get("databases", ()):
        counts[row["status"]] = counts.get(row["status"], 0) + 1
    return counts
