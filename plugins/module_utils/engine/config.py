# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host's configuration file, the environment variables that override it, and what holds when neither says.

Precedence: the call's own values, then the environment, then the database's entry, then ``defaults``, then the
application's ``Backup`` block, then `settings.DEFAULTS`.
"""

from __future__ import annotations

import errno
import os
from typing import NamedTuple

from . import catalog, errors, files, jsontext
from . import settings as room

PATH = "/etc/digitalme-backup/config.json"
AUDIT_LOG = "/var/log/digitalme-backup/audit.jsonl"
BACKUP_ROOT = "/var/backups/digitalme"
if os.name == "nt":
    from . import windows

    PATH, AUDIT_LOG, BACKUP_ROOT = windows.places(os.environ)
NOTIFICATIONS = "notifications.json"
# A thousand databases with all their settings have less.
LARGEST = 16 * 1024 * 1024


class Config(NamedTuple):
    """``databases`` are the entries as given, ``defaults`` the settings below them, ``path`` the file or None.

    ``metrics_dir`` is the node exporter's directory of text files, or None.
    """

    path: str | None
    databases: tuple
    defaults: dict
    audit_log: str | None
    metrics_dir: str | None
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
    """The configuration of this host. Without a ``path`` the default file is read where there is one; a Config in its
    place is the answer.

    Raises ConfigError that names the file and the key.
    """
    if isinstance(path, Config):
        return path
    environment = os.environ if environment is None else environment
    asked, where = _place(path, environment)
    warnings = []
    try:
        document = _decode(files.read_small(where, LARGEST, follow=True), where)
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
        if error.errno == errno.EINVAL:  # A FIFO, a device, a directory, or more than a configuration can be.
            raise errors.ConfigError(f"it cannot be read ({error.strerror})", path=where) from error
        raise errors.from_os_error(error, where) from error
    return _configuration(document, where, environment, warnings)


def of_nothing(environment=None):
    """The Config of a call that no file concerns."""
    return _configuration({}, None, os.environ if environment is None else environment, ())


def _configuration(document, where, environment, warnings):
    defaults = room.layer(room.DEFAULTS, room.application_block(_object(document, "Backup", where)), where)
    defaults = room.layer(defaults, _object(document, "defaults", where), where)
    defaults = room.layer(defaults, room.from_environment(environment), "environment")
    entries = tuple(_entry(entry, where) for entry in _list(document, "databases", where))
    _refuse_twice(entries, where)
    if not entries and environment.get("BACKUP_DATABASE"):
        entries = (_entry({"path": environment["BACKUP_DATABASE"]}, "environment"),)
    audit_log = _place_of(document, "audit_log", where) or (AUDIT_LOG if where == PATH else None)
    return Config(where, entries, defaults, audit_log, _place_of(document, "metrics_dir", where), tuple(warnings))


def _place(path, environment):
    """(the configuration file that was asked for or None, the one to read)."""
    asked = path or environment.get("DIGITALME_BACKUP_CONFIG")
    return asked, asked or PATH


def audit_log_without(path=None, environment=None):
    """Where a refusal is recorded when the configuration cannot be read: the host's log, if it is the host's file."""
    _asked, where = _place(path, os.environ if environment is None else environment)
    return AUDIT_LOG if where == PATH and os.path.exists(AUDIT_LOG) else None


def notifications_path(path=None, environment=None):
    """Where the notifications are configured: a file of its own beside the configuration, so that a configuration that
    cannot be read is still told of.
    """
    _asked, where = _place(path, os.environ if environment is None else environment)
    return os.path.join(os.path.dirname(where), NOTIFICATIONS)


def _place_of(document, key, where):
    value = document.get(key)
    if value is not None and not (isinstance(value, str) and os.path.isabs(value)):
        raise errors.ConfigError(f"'{key}' is no absolute path", path=where)
    return value


def _decode(raw, where):
    try:
        document = jsontext.decode(raw, jsontext.refuse)
    except ValueError as error:
        raise errors.ConfigError(f"it is not valid JSON ({error})", path=where) from error
    if not isinstance(document, dict):
        raise errors.ConfigError("it is not a JSON object", path=where)
    return document


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


def _entry(entry, where):
    if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
        raise errors.ConfigError("each of 'databases' is an object with at least a 'path'", path=where)
    room.check_keys(entry, where)
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


def target(
    config,
    *,
    database=None,
    backup_dir=None,
    name=None,
    environment=None,
    need_database=True,
    any_name=False,
    **options,
):
    """The Target that a call means; ``options`` are its own settings (None: not given). With ``any_name`` the first
    configured one serves where nothing is said and all have one audit log.

    Raises UsageError where it cannot be told which database or directory is meant.
    """
    environment = os.environ if environment is None else environment
    # Where there is one database, the environment's directory is its directory, and tells no name.
    asked = backup_dir or (environment.get("BACKUP_DIRECTORY") if len(config.databases) != 1 else None)
    backup_dir = backup_dir or environment.get("BACKUP_DIRECTORY") or None
    wanted = environment.get("BACKUP_DATABASE")
    if database is None and name is None and wanted and (backup_dir is None or need_database):
        named = {entry["name"] for entry in config.databases}
        database, name = (None, wanted) if wanted in named else (wanted, None)
    if any_name and config.audit_log and config.databases and not (name or asked):
        name = config.databases[0]["name"]
    entry = _find(config, database, name, asked, need_database)
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
    settings = room.layer(config.defaults, {k: v for k, v in entry.items() if k not in room.OWN_KEYS}, config.path)
    settings = room.layer(settings, room.from_environment(environment), "environment")
    settings = room.with_options(settings, options)
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
