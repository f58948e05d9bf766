# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The settings of a database: what they are, what holds where nothing is said, and how one layer goes over another."""

from __future__ import annotations

from . import errors

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
    "timezone": None,
    "method": "auto",
    "verify": "full",
    "compression": "none",
    "assertions": [],
    "busy_timeout": 30.0,
    "disk_limit_percent": 80,
    "pre_restore_keep_days": 30,
    "auto_cleanup": True,
    "rpo_objective": None,
    "rto_objective": None,
    "drill_check": None,
    "retention": RETENTION,
    "health": HEALTH,
}
GROUPS = ("retention", "health")
OWN_KEYS = {"name", "path", "backup_dir"}
_TYPES = {
    "schedule": (str, type(None)),
    "timezone": (str, type(None)),
    "method": (str,),
    "verify": (str,),
    "compression": (str,),
    "assertions": (list,),
    "busy_timeout": (int, float),
    "disk_limit_percent": (int, float),
    "pre_restore_keep_days": (int, float),
    "auto_cleanup": (bool,),
    "rpo_objective": (int, float, type(None)),
    "rto_objective": (int, float, type(None)),
    "drill_check": (list, type(None)),
    "backup_dir": (str,),
    "name": (str,),
    "path": (str,),
}


def application_block(block):
    """The application's own words for the same things."""
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


def from_environment(environment):
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


def check_keys(settings, where):
    for key, value in settings.items():
        if key in GROUPS:
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
    check = settings.get("drill_check")
    if check is not None and not (check and all(isinstance(word, str) for word in check)):
        raise errors.ConfigError("'drill_check' is no command as a list of words", path=where)


def layer(below, above, where):
    """``above`` over ``below``, group by group."""
    check_keys(above, where)
    merged = {**below, **above}
    for group in GROUPS:
        merged[group] = {**below[group], **above.get(group, {})}
    return merged


def with_options(settings, options):
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
