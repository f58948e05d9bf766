# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How the application of a database is stopped, started and asked whether it is well, from what an operator writes."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError

_KINDS = ("systemd", "podman", "docker", "kubernetes", "commands")
_COMMON = {"check": str, "probe": dict, "timeout": (int, float)}
_KUBERNETES = {"deployment": str, "namespace": str, "kubectl": str, "host": str}
_COMMANDS = {"stop": str, "start": str}
_PROBE = {"url": str, "status": int, "contains": str, "validate_certs": bool, "command": str}
_TIMEOUT = 60


def application(given):
    """The application as the role `restore` works with it; ``{}`` and None mean that there is none to stop."""
    given = _mapping(given or {}, "application")
    kinds = [kind for kind in _KINDS if kind in given]
    if len(kinds) > 1:
        raise AnsibleFilterError(f"application: it is one of {', '.join(_KINDS)}, not {' and '.join(kinds)}")
    kind = kinds[0] if kinds else "none"
    _check({key: value for key, value in given.items() if key != kind}, _COMMON, "application")
    found = {
        "kind": kind,
        "names": [],
        "kubernetes": {},
        "commands": {},
        "check": given.get("check", ""),
        "probe": _probe(given.get("probe") or {}),
        "timeout": given.get("timeout", _TIMEOUT),
    }
    if found["timeout"] <= 0:
        raise AnsibleFilterError("application: 'timeout' is no positive number of seconds")
    if kind in ("kubernetes", "commands"):
        found[kind] = (_kubernetes if kind == "kubernetes" else _commands)(given[kind])
    elif kind != "none":
        found["names"] = _names(given[kind], kind)
    return found


def _mapping(value, where):
    if not hasattr(value, "items"):
        raise AnsibleFilterError(f"{where}: it is a mapping, not {value!r}")
    return dict(value)


def _check(given, known, where):
    for key, value in given.items():
        if key not in known:
            raise AnsibleFilterError(f"{where}: there is no '{key}'; there are: {', '.join(known)}")
        if known[key] is not dict and (not isinstance(value, known[key]) or (value is True and known[key] is not bool)):
            raise AnsibleFilterError(f"{where}: '{key}' is of the wrong type")


def _names(value, kind):
    names = [value] if isinstance(value, str) else list(value or [])
    if not names or not all(isinstance(name, str) and name and not name.startswith("-") for name in names):
        raise AnsibleFilterError(f"application: '{kind}' is a name, or a list of names, not {value!r}")
    return names


def _kubernetes(value):
    value = {"deployment": value} if isinstance(value, str) else _mapping(value, "application.kubernetes")
    _check(value, _KUBERNETES, "application.kubernetes")
    if not value.get("deployment"):
        raise AnsibleFilterError("application.kubernetes: 'deployment' is missing")
    return {"namespace": "default", "kubectl": "kubectl", "host": "", **value}


def _commands(value):
    value = _mapping(value, "application.commands")
    _check(value, _COMMANDS, "application.commands")
    for needed in _COMMANDS:
        if not value.get(needed):
            raise AnsibleFilterError(f"application.commands: '{needed}' is missing")
    return value


def _probe(value):
    value = _mapping(value, "application.probe")
    _check(value, _PROBE, "application.probe")
    if value and ("url" in value) == ("command" in value):
        raise AnsibleFilterError("application.probe: it has either a 'url' or a 'command'")
    if "command" in value and len(value) > 1:
        raise AnsibleFilterError("application.probe: a 'command' tells by its exit status, nothing else goes with it")
    return {"status": 200, "contains": "", "validate_certs": True, **value} if "url" in value else value


class FilterModule:
    """The filter of this file."""

    def filters(self):
        """Name and function."""
        return {"application": application}
