# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The only file that knows both Ansible and the engine. Private to the collection.

It turns a module's parameters into one call of the engine's operations, its result into ``exit_json`` and its errors
into ``fail_json``, and renders the diff.
"""

from __future__ import annotations

import sys

from ansible.module_utils.basic import AnsibleModule

from .engine import errors, operations

OLDEST_PYTHON = (3, 9)
ASSERTIONS = {
    "type": "list",
    "elements": "dict",
    "options": {"sql": {"type": "str", "required": True}, "expect": {"type": "raw"}},
}
VERIFY = {"type": "str", "choices": ["none", "quick", "full"]}


def common():
    """Argument spec of what every module takes."""
    return {"backup_dir": {"type": "path"}, "name": {"type": "str"}}


def run(argument_spec, operation, *, checks=True, diff=None, without=(), **fixed):
    """Run the module: one call of ``operations.<operation>`` with its parameters and the ``fixed`` arguments.

    ``checks`` says whether the operation itself knows check mode (one that changes nothing does not need to).
    ``diff(result)`` gives (before, after) lines. ``without`` names the parameters that are none of the operation's.
    """
    module = AnsibleModule(argument_spec=argument_spec, supports_check_mode=True)
    if sys.version_info < OLDEST_PYTHON:
        found = sys.version.split()[0]
        module.fail_json(
            error_code="usage", msg=f"this host has Python {found}; 3.9 or newer is needed ({sys.executable})"
        )
    params = {key: value for key, value in module.params.items() if key not in without}
    arguments = {**params, **fixed, "caller": {"via": "ansible"}}
    if checks:
        arguments["check"] = module.check_mode
    try:
        result = getattr(operations, operation)(**arguments)
    except errors.BackupError as error:
        result = error.as_result()
        _warn(module, result)
        _add_diff(module, result, diff)
        module.fail_json(**printable(result))
    _warn(module, result)
    _add_diff(module, result, diff)
    module.exit_json(**printable(result))


def controller_only(argument_spec):
    """The module of an action that works on the controller: it is never run on a host."""
    module = AnsibleModule(argument_spec=argument_spec, supports_check_mode=True)
    module.fail_json(error_code="usage", msg="this runs on the controller, by the action of the same name")


def _warn(module, result):
    for text in result.pop("warnings", []):
        module.warn(errors.show(text))


def _add_diff(module, result, diff):
    if diff is None or not getattr(module, "_diff", False):
        return
    sides = diff(result)
    if sides is not None:
        before, after = ("".join(f"{errors.show(line)}\n" for line in lines) for lines in sides)
        result["diff"] = {"before": before, "after": after}


def printable(value):
    """The value with undecodable bytes escaped: Ansible's transport takes no lone surrogates."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {printable(key): printable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [printable(item) for item in value]
    return value


# --- what each module's diff shows -----------------------------------------------------------------------------------


def backup_diff(result):
    """A backup is added; in check mode under the name that it would have now."""
    if not result.get("changed"):
        return [], []
    plan = result.get("plan")
    if plan:
        return [], [f"{plan['backup_dir']}/{plan['file']}"]
    return [], [result["backup"]["path"]]


def retention_diff(result):
    """The directory before and after: what goes stands only before, with its reasons."""
    if "removed" not in result:
        return None
    rows = [(row["file"], "", row) for row in result["kept"]]
    rows += [(row["file"], f"  # {'; '.join(row['reasons'])}", row) for row in result["removed"]]
    rows.sort(key=lambda row: row[0])
    return [file + reason for file, reason, _row in rows], sorted(row["file"] for row in result["kept"])


def restore_diff(result):
    """What stands in the database's place, before and after."""
    plan = result.get("plan")
    if not plan or not result.get("changed"):
        return [], []
    before = f"{plan['database']}: {plan['live']}" + (f" ({plan['live_cause']})" if plan["live_cause"] else "")
    created = plan["backup_created_at"]
    return [before], [f"{plan['database']}: the content of {plan['backup']}, {created}, {plan['strategy']}"]


def run_diff(result):
    """The backups that come and those that go, of all databases."""
    before, after = [], []
    for row in result.get("databases", []):
        before += row["removed"]
        after += [row["backup"]["path"]] if row["backup"] else []
    return before, after


def install_diff(result):
    """What is written, or taken away."""
    if result.get("state") == "absent":
        return result["changes"], []
    return [], result.get("changes", [])


def validate_diff(result):
    """The recorded verdicts that change."""
    changed = [row for row in result.get("backups", []) if row.get("changed")]
    return [f"{row['file']}: recorded otherwise" for row in changed], [
        f"{row['file']}: {row['status']}" for row in changed
    ]
