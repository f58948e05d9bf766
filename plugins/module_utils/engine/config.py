# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host's configuration file, the environment variables that override it, and what holds when neither says.

Precedence: the call's own values, then the environment, then the database's entry, then ``defaults``, then the
application's ``Backup`` block, then `DEFAULTS`.
"""

from __future__ import annotations

import json
import os
from typing import NamedTuple

from . import catalog, errors, files

PATH = "/etc/digitalme-backup/config.json"
AUDIT_LOG = "/var/log/digitalme-backup/audit.jsonl"
BACKUP_ROOT = "/var/backups/digitalme"

RETENTION = {
    "keep_days": 7,
    "max_files": 30,
    "keep_last": 0,
    "keep_hourly": 0,
    "keep_daily": 0,
    "keep_weekly": 0,
    "keep_monthly": 0,
    "keep_yearly": 0,
    "min_keep": 1,
    "max_age": 172800,
    "max_remove_percent": 50,
}
HEALTH = {
    "max_age": 93600,
    "max_verified_age": 93600,
    "max_restore_test_age": 2678400,
    "min_backups": 1,
    "max_shrink_percent": 50,
}
DEFAULTS: dict = {
    "schedule": None,
    "method": "auto",
    "verify": "full",
    "compression": "none",
    "assertions": [],
    "busy_timeout": 30.0,
    "disk_limit_percent": 80,
    "pre_restore_keep_days": 30,
    "auto_cleanup": True,
    "retention": RETENTION,
    "health": HEALTH,
}
_GROUPS = ("retention", "health")
_OWN_KEYS = {"name", "path", "backup_dir"}
_TYPES = {
    "schedule": (str, type(None)),
    "method": (str,),
    "verify": (str,),
    "compression": (str,),
    "assertions": (list,),
    "busy_timeout": (int, float),
    "disk_limit_percent": (int, float),
    "pre_restore_keep_days": (int, float),
    "auto_cleanup": (bool,),
    "backup_dir": (str,),
    "name": (str,),
    "path": (str,),
}


class Config(NamedTuple):
    """``databases`` are the entries as given, ``defaults`` the settings below them, ``path`` the file or None."""

    path: str | None
    databases: tuple
    defaults: dict
    audit_log: str | None
    warnings: tuple


class Target(NamedTuple):
    """What an operation is about: a name, its database (None where it needs none), backup directory and settings."""

    name: str
    database: str | None
    backup_dir: str
    settings: dict
    audit_log: str

    @property
    def state_dir(self):
        return os.path.join(self.backup_dir, catalog.STATE)

    @property
    def lock_path(self):
        return os.path.join(self.state_dir, f"{self.name}.lock")


def load(path=None, environment=None):
    """The configuration of this host. Without a ``path`` the default file is read where there is one.

    Raises ConfigError that names the file and the key.
    """
    environment = os.environ if environment is None else environment
    asked = path or environment.get("DIGITALME_BACKUP_CONFIG")
    where = asked or PATH
    warnings = []
    try:
        with open(where, "rb") as source:
            document = _decode(source.read(), where)
    except FileNotFoundError:
        if asked:
            raise errors.ConfigError("there is no such configuration file", path=where) from None
        where, document = None, {}
    except PermissionError as error:
        if asked:
            raise errors.from_os_error(error, where) from error
        warnings.append(f"{where} cannot be read by this user and was ignored")
        where, document = None, {}
    except OSError as error:
        raise errors.from_os_error(error, where) from error
    defaults = _layer(DEFAULTS, _application_block(document, where), where)
    defaults = _layer(defaults, _object(document, "defaults", where), where)
    defaults = _layer(defaults, _from_environment(environment), "environment")
    entries = tuple(_entry(entry, where) for entry in _list(document, "databases", where))
    _refuse_twice(entries, where)
    audit_log = document.get("audit_log") or (AUDIT_LOG if where == PATH else None)
    if not isinstance(audit_log, (str, type(None))):
        raise errors.ConfigError("'audit_log' is of the wrong type", path=where)
    return Config(where, entries, defaults, audit_log, tuple(warnings))


def _decode(raw, where):
    try:
        document = json.loads(raw, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise errors.ConfigError(f"it is not valid JSON ({error})", path=where) from error
    if not isinstance(document, dict):
        raise errors.ConfigError("it is not a JSON object", path=where)
    return document


def _refuse_constant(text):
    raise ValueError(f"{text} is no number of JSON")


def _object(document, key, where):
    value = document.get(key, {})
    if not isinstance(value, dict):
        raise errors.ConfigError(f"'{key}' is not an object", path=where)
    return value


def _list(document, key, where):
    value = document.get(key, [])
    if not isinstance(value, list):
        raise errors.ConfigError(f"'{key}' is not a list", path=where)
    return value


def _application_block(document, where):
    """The application's own words for the same things."""
    block = _object(document, "Backup", where)
    settings: dict = {"retention": {}}
    if "BackupSchedule" in block:
        settings["schedule"] = block["BackupSchedule"]
    if block.get("AutoBackup") is False:
        settings["schedule"] = None
    if "AutoCleanup" in block:
        settings["auto_cleanup"] = block["AutoCleanup"]
    if "BackupDirectory" in block:
        settings["backup_dir"] = block["BackupDirectory"]
    for theirs, ours in (("RetentionDays", "keep_days"), ("MaxBackups", "max_files")):
        if theirs in block:
            settings["retention"][ours] = block[theirs]
    return settings


def _from_environment(environment):
    settings: dict = {"retention": {}}
    if environment.get("BACKUP_SCHEDULE"):
        settings["schedule"] = environment["BACKUP_SCHEDULE"]
    if environment.get("BACKUP_DIRECTORY"):
        settings["backup_dir"] = environment["BACKUP_DIRECTORY"]
    for variable, ours in (("BACKUP_RETENTION_DAYS", "keep_days"), ("BACKUP_MAX_FILES", "max_files")):
        text = environment.get(variable)
        if text:
            try:
                settings["retention"][ours] = int(text)
            except ValueError:
                raise errors.ConfigError(f"the environment variable {variable} is no whole number: '{text}'") from None
    return settings


def _entry(entry, where):
    if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
        raise errors.ConfigError("each of 'databases' is an object with at least a 'path'", path=where)
    _check_keys(entry, where)
    entry = dict(entry)
    if "name" in entry:
        catalog.check_name(entry["name"])
    else:
        entry["name"] = catalog.default_name(entry["path"])
    return entry


def _refuse_twice(entries, where):
    seen = set()
    for entry in entries:
        if entry["name"] in seen:
            raise errors.ConfigError(f"the name '{entry['name']}' is used twice", path=where)
        seen.add(entry["name"])


def _check_keys(settings, where):
    for key, value in settings.items():
        if key in _GROUPS:
            if not isinstance(value, dict):
                raise errors.ConfigError(f"'{key}' is not an object", path=where)
            for inner, number in value.items():
                if inner not in DEFAULTS[key]:
                    raise errors.ConfigError(f"'{key}' has no setting '{inner}'", path=where)
                if isinstance(number, bool) or not isinstance(number, (int, float)):
                    raise errors.ConfigError(f"'{key}.{inner}' is not a number", path=where)
        elif key not in _TYPES:
            raise errors.ConfigError(f"there is no setting '{key}'", path=where)
        elif not isinstance(value, _TYPES[key]) or (isinstance(value, bool) and bool not in _TYPES[key]):
            raise errors.ConfigError(f"'{key}' is of the wrong type", path=where)


def _layer(below, above, where):
    """``above`` over ``below``, group by group."""
    _check_keys(above, where)
    merged = {**below, **above}
    for group in _GROUPS:
        merged[group] = {**below[group], **above.get(group, {})}
    return merged


def target(config, *, database=None, backup_dir=None, name=None, environment=None, need_database=True, **options):
    """The Target that a call means; ``options`` are its own settings (None: not given).

    Raises UsageError where it cannot be told which database or directory is meant.
    """
    environment = os.environ if environment is None else environment
    backup_dir = backup_dir or environment.get("BACKUP_DIRECTORY") or None
    wanted = environment.get("BACKUP_DATABASE")
    if database is None and name is None and wanted and (backup_dir is None or need_database):
        named = {entry["name"] for entry in config.databases}
        database, name = (None, wanted) if wanted in named else (wanted, None)
    entry = _find(config, database, name, backup_dir, need_database)
    if not (entry or database or name or need_database):
        name = _name_for(None, backup_dir)  # A name that the directory tells has its configured settings, too.
        entry = _find(config, None, name, backup_dir, need_database)
    if name is not None:
        catalog.check_name(name)
    database = database if database is not None else entry.get("path")
    if database is None and need_database:
        raise errors.UsageError("no database is given", hint="Give its path with the option 'database'.")
    if database is not None:
        database = files.resolve(database)
    name = name or entry.get("name") or _name_for(database, backup_dir)
    settings = _layer(config.defaults, {k: v for k, v in entry.items() if k not in _OWN_KEYS}, config.path)
    settings = _layer(settings, _from_environment(environment), "environment")
    settings = _with_options(settings, options)
    directory = backup_dir or entry.get("backup_dir")
    directory = directory or config.defaults.get("backup_dir") or os.path.join(BACKUP_ROOT, name)
    directory = files.resolve(directory)
    audit_log = config.audit_log or os.path.join(directory, catalog.STATE, "audit.jsonl")
    return Target(name, database, directory, settings, audit_log)


def _find(config, database, name, backup_dir, need_database):
    if name is not None:
        return next((entry for entry in config.databases if entry["name"] == name), {})
    if database is not None:
        real = files.resolve(database)
        return next((entry for entry in config.databases if files.resolve(entry["path"]) == real), {})
    if backup_dir is None or need_database:
        if len(config.databases) == 1:
            return config.databases[0]
        if backup_dir is None:
            names = ", ".join(entry["name"] for entry in config.databases) or "none"
            raise errors.UsageError(
                f"it is not said which database is meant (configured: {names})",
                hint="Give 'name', or 'database' and 'backup_dir'.",
            )
    return {}


def _name_for(database, backup_dir):
    """The name of a call that gives none: the database's stem, or the only one that the directory has backups of."""
    if database is not None:
        return catalog.default_name(database)
    found = catalog.names(files.resolve(backup_dir))
    if len(found) == 1:
        return found[0]
    listed = ", ".join(errors.show(name) for name in found) or "none"
    raise errors.UsageError(
        f"the directory has backups of these names: {listed}",
        path=backup_dir,
        hint="Choose one with the option 'name'.",
    )


def _with_options(settings, options):
    """The call's own values on top; those of the retention and health groups find their group by themselves."""
    settings = {**settings, "retention": dict(settings["retention"]), "health": dict(settings["health"])}
    for key, value in options.items():
        if value is None:
            continue
        group, _dot, inner = key.partition(".")
        if inner:
            settings[group][inner] = value
        else:
            settings[key] = value
    return settings
