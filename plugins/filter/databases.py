# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host's databases are, from the list that an operator writes. The engine says what is a valid one."""

from __future__ import annotations

import os

from ansible.errors import AnsibleFilterError
from ansible_collections.digitalme.backup.plugins.module_utils.engine import catalog, cron, errors, settings

# What a role needs to know of a database and the engine does not; beside them `application`, of the role `restore`.
_OF_THE_ROLE = {"user": str, "group": str, "container": str, "container_engine": str}
_UNIT_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.-")


def databases(given, root="/var/backups/digitalme", defaults=None, schedule=None, timezone=None):
    """Each database with its name, path, backup directory, schedule and unit, from a list of paths and mappings."""
    try:
        common = settings.layer(settings.DEFAULTS, dict(defaults or {}), "digitalme_backup_defaults")
        common["schedule"] = common["schedule"] or schedule or None
        common["timezone"] = common["timezone"] or timezone or None
        found = [_one(row, root, common) for row in _listed(given)]
    except errors.BackupError as error:
        raise AnsibleFilterError(f"digitalme_backup_databases: {error.message}") from error
    seen: dict = {}
    for row in found:
        if row["name"] in seen:
            raise AnsibleFilterError(
                f"digitalme_backup_databases: the name '{row['name']}' is used twice ({seen[row['name']]} and "
                f"{row['path']}); give one of them another 'name'"
            )
        seen[row["name"]] = row["path"]
    return found


def _listed(given):
    if isinstance(given, (str, bytes)) or not hasattr(given, "__iter__"):
        raise AnsibleFilterError("digitalme_backup_databases is no list")
    return given


def _one(row, root, common):
    row = {"path": row} if isinstance(row, str) else row
    if not hasattr(row, "items") or not isinstance(row.get("path"), str):
        raise AnsibleFilterError(f"digitalme_backup_databases: each is a path, or a mapping with a 'path', not {row!r}")
    row = dict(row)
    ours = {key: row.pop(key, None) for key in _OF_THE_ROLE}
    application = row.pop("application", None)
    for key, value in ours.items():
        if value is not None and not isinstance(value, (str, int)):
            raise AnsibleFilterError(f"digitalme_backup_databases: '{key}' of {row['path']} is no name")
    settings.check_keys(row, "digitalme_backup_databases")
    if not os.path.isabs(row["path"]):
        raise errors.ConfigError("the path of a database is to be absolute", path=row["path"])
    row.setdefault("name", catalog.default_name(row["path"]))
    catalog.check_name(row["name"])
    row.setdefault("backup_dir", common.get("backup_dir") or os.path.join(root, row["name"]))
    expression = row.get("schedule", common["schedule"])
    zone = row.get("timezone", common["timezone"])
    if expression:
        cron.parse(expression, zone)
    return {
        "name": row["name"],
        "path": os.path.normpath(row["path"]),
        "backup_dir": row["backup_dir"],
        "schedule": expression,
        "timezone": zone,
        "unit": "digitalme-backup-" + unit_name(row["name"]),
        "settings": {**row, "path": os.path.normpath(row["path"])},
        "application": application,
        **ours,
    }


def unit_name(text):
    """A name as a part of a systemd unit's name: what may not stand there is written as ``\\xNN``."""
    return "".join(
        char if char in _UNIT_CHARACTERS else "".join(f"\\x{byte:02x}" for byte in char.encode()) for char in text
    )


def unit_word(text, command=True):
    """A text as one word of a unit's setting: systemd expands nothing in it. Only in a ``command`` is $ special."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return '"' + (escaped.replace("$", "$$") if command else escaped) + '"'


def owned(found, files, directories, user, group):
    """The databases with the user and group that back them up: given, else those of the file, else of its directory.

    ``files`` and ``directories`` are the results of stat over the databases' paths and over their directories.
    """
    return [
        {
            **row,
            **_owner(row, _stat(file) or _stat(directory), user, group),
            "present": bool(_stat(file)),
        }
        for row, file, directory in zip(found, files, directories)
    ]


def _stat(result):
    facts = result.get("stat") or {}
    return facts if facts.get("exists") else None


def _owner(row, facts, user, group):
    if facts is None:
        facts = {"pw_name": user, "gr_name": group}
    # A database in a container's volume can belong to a number that has no name on the host.
    return {
        "user": str(row["user"] or facts.get("pw_name") or facts["uid"]),
        "group": str(row["group"] or facts.get("gr_name") or facts["gid"]),
    }


def host_path(mounts, path):
    """Where a path of a container lies on the host, from the mounts that ``inspect`` shows."""
    best = None
    for mount in mounts:
        inside = os.path.normpath(mount["Destination"])
        if (path == inside or path.startswith(inside.rstrip("/") + "/")) and (
            best is None or len(inside) > len(best[0])
        ):
            best = (inside, mount["Source"])
    if best is None:
        raise AnsibleFilterError(
            f"{path} lies on no volume of the container: it would go with the container; put it on a volume first"
        )
    return os.path.normpath(best[1] + path[len(best[0].rstrip("/")) :])


class FilterModule:
    """The filters of this file."""

    def filters(self):
        """Names and functions."""
        return {
            "databases": databases,
            "unit_name": unit_name,
            "unit_word": unit_word,
            "owned": owned,
            "host_path": host_path,
        }
