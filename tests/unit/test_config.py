# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json
import os

import pytest
from engine import config, errors, settings


@pytest.fixture
def write(tmp_path):
    """write(document) -> path of a configuration file; bytes are written as they are."""

    def put(document):
        path = tmp_path / "config.json"
        path.write_bytes(document if isinstance(document, bytes) else json.dumps(document).encode())
        return str(path)

    return put


def _target(path=None, environment=None, **call):
    environment = environment or {}
    return config.target(config.load(path, environment), environment=environment, **call)


# --- precedence ------------------------------------------------------------------------------------------------------

LAYERS = ("application", "defaults", "entry", "environment", "call")
# setting: (where it is found, the built-in value, its value in each layer that can have it)
SETTINGS = {
    "keep_days": (7, {"application": 11, "defaults": 12, "entry": 13, "environment": 14, "call": 15}),
    "max_files": (30, {"application": 11, "defaults": 12, "entry": 13, "environment": 14, "call": 15}),
    "min_keep": (1, {"defaults": 12, "entry": 13, "call": 15}),
    "max_age": (93600, {"defaults": 12, "entry": 13, "call": 15}),
    "schedule": (
        None,
        {"application": "1 * * * *", "defaults": "2 * * * *", "entry": "3 * * * *", "environment": "4 * * * *"},
    ),
    "auto_cleanup": (True, {"application": False, "defaults": True, "entry": False}),
    "verify": ("full", {"defaults": "quick", "entry": "none", "call": "full"}),
    "compression": ("none", {"defaults": "gzip", "entry": "zstd", "call": "none"}),
    "busy_timeout": (30.0, {"defaults": 1, "entry": 2.5, "call": 0}),
    "disk_limit_percent": (80, {"defaults": 81, "entry": 82, "call": 83}),
    "backup_dir": (
        config.BACKUP_ROOT + "/app",
        {
            "application": "/b/application",
            "defaults": "/b/defaults",
            "entry": "/b/entry",
            "environment": "/b/env",
            "call": "/b/call",
        },
    ),
}
_GROUP = {"keep_days": "retention", "max_files": "retention", "min_keep": "retention", "max_age": "health"}
_APPLICATION = {
    "keep_days": "RetentionDays",
    "max_files": "MaxBackups",
    "schedule": "BackupSchedule",
    "auto_cleanup": "AutoCleanup",
    "backup_dir": "BackupDirectory",
}
_ENVIRONMENT = {
    "keep_days": "BACKUP_RETENTION_DAYS",
    "max_files": "BACKUP_MAX_FILES",
    "schedule": "BACKUP_SCHEDULE",
    "backup_dir": "BACKUP_DIRECTORY",
}


def _cases():
    for setting, (_built_in, values) in SETTINGS.items():
        for count in range(len(values) + 1):
            yield setting, [layer for layer in LAYERS if layer in values][:count]


@pytest.mark.parametrize(
    "setting, layers", list(_cases()), ids=lambda value: value if isinstance(value, str) else "+".join(value)
)
def test_setting_comes_from_the_highest_layer_that_has_it(write, setting, layers):
    built_in, values = SETTINGS[setting]
    group = _GROUP.get(setting)
    document = {"Backup": {}, "defaults": {}, "databases": [{"name": "app", "path": "/srv/app.db"}]}
    environment, call = {}, {}
    for layer in layers:
        value = values[layer]
        if layer == "application":
            document["Backup"][_APPLICATION[setting]] = value
        elif layer == "environment":
            environment[_ENVIRONMENT[setting]] = str(value)
        elif layer == "call":
            call[f"{group}.{setting}" if group else setting] = value
        else:
            place = document["defaults"] if layer == "defaults" else document["databases"][0]
            place.update({group: {setting: value}} if group else {setting: value})
    target = _target(write(document), environment, name="app", **call)
    if setting == "backup_dir":
        found = target.backup_dir
    else:
        found = (target.settings[group] if group else target.settings)[setting]
    assert found == (values[layers[-1]] if layers else built_in)


def test_layers_of_a_group_are_merged_key_by_key(write):
    document = {
        "Backup": {"RetentionDays": 11},
        "defaults": {"retention": {"max_files": 12}},
        "databases": [{"path": "/srv/app.db", "retention": {"keep_weekly": 13}}],
    }
    retention = _target(write(document), {}, **{"retention.min_keep": 14}).settings["retention"]
    assert retention == {**settings.RETENTION, "keep_days": 11, "max_files": 12, "keep_weekly": 13, "min_keep": 14}


def test_what_the_call_leaves_open_is_no_value():
    target = _target(None, database="/srv/app.db", busy_timeout=None, **{"retention.keep_days": None})
    assert target.settings["busy_timeout"] == 30.0 and target.settings["retention"]["keep_days"] == 7


def test_defaults_are_never_changed_by_a_call(write):
    before = json.dumps(settings.DEFAULTS, sort_keys=True)
    _target(
        write({"databases": [{"path": "/srv/app.db", "retention": {"keep_days": 1}}]}), **{"retention.max_files": 1}
    )
    assert json.dumps(settings.DEFAULTS, sort_keys=True) == before


# --- the application's own block -------------------------------------------------------------------------------------


def test_application_block_is_read_among_the_applications_other_settings(write):
    document = {
        "Logging": {"LogLevel": "Debug"},
        "ConnectionStrings": [],
        "Backup": {
            "AutoBackup": True,
            "BackupSchedule": "0 3 * * *",
            "RetentionDays": 14,
            "MaxBackups": 60,
            "AutoCleanup": False,
            "BackupDirectory": "/srv/backups",
            "SomethingElse": 1,
        },
    }
    target = _target(write(document), database="/srv/app.db")
    assert target.backup_dir == "/srv/backups"
    assert (target.settings["schedule"], target.settings["auto_cleanup"]) == ("0 3 * * *", False)
    assert (target.settings["retention"]["keep_days"], target.settings["retention"]["max_files"]) == (14, 60)


def test_auto_backup_switched_off_means_no_schedule(write):
    document = {"Backup": {"AutoBackup": False, "BackupSchedule": "0 3 * * *"}}
    assert config.load(write(document), {}).defaults["schedule"] is None


# --- bad input -------------------------------------------------------------------------------------------------------

DATABASE = {"name": "app", "path": "/srv/app.db"}
BAD = {
    "empty": (b"", "not valid JSON"),
    "text": (b"backup: yes", "not valid JSON"),
    "cut-short": (b'{"databases": [', "not valid JSON"),
    "not-utf8": (b'{"a": "\xff"}', "not valid JSON"),
    "too-deep": (b"[" * 100_000, "not valid JSON"),
    "beyond-all-numbers": (b'{"defaults": {"busy_timeout": 1e999}}', "not valid JSON"),
    "nan": (b'{"defaults": {"busy_timeout": NaN}}', "not valid JSON"),
    "infinity": (b'{"defaults": {"busy_timeout": -Infinity}}', "not valid JSON"),
    "list": ([], "not a JSON object"),
    "databases-object": ({"databases": {}}, "'databases' is not a list"),
    "database-text": ({"databases": ["/srv/app.db"]}, "at least a 'path'"),
    "database-without-path": ({"databases": [{"name": "app"}]}, "at least a 'path'"),
    "path-number": ({"databases": [{"path": 5}]}, "at least a 'path'"),
    "unknown-setting": ({"databases": [{**DATABASE, "retain": 5}]}, "no setting 'retain'"),
    "unknown-default": ({"defaults": {"keep_days": 5}}, "no setting 'keep_days'"),
    "unknown-in-group": ({"defaults": {"retention": {"days": 5}}}, "'retention' has no setting 'days'"),
    "group-number": ({"defaults": {"retention": 5}}, "'retention' is not an object"),
    "group-text": ({"databases": [{**DATABASE, "health": {"max_age": "1 d"}}]}, "'health.max_age' is not a number"),
    "group-true": ({"defaults": {"retention": {"keep_days": True}}}, "'retention.keep_days' is not a number"),
    "group-null": ({"defaults": {"retention": {"keep_days": None}}}, "'retention.keep_days' is not a number"),
    "schedule-number": ({"defaults": {"schedule": 5}}, "'schedule' is of the wrong type"),
    "verify-null": ({"defaults": {"verify": None}}, "'verify' is of the wrong type"),
    "timeout-text": ({"defaults": {"busy_timeout": "30"}}, "'busy_timeout' is of the wrong type"),
    "timeout-true": ({"defaults": {"busy_timeout": True}}, "'busy_timeout' is of the wrong type"),
    "cleanup-number": ({"defaults": {"auto_cleanup": 1}}, "'auto_cleanup' is of the wrong type"),
    "assertions-text": ({"defaults": {"assertions": "SELECT 1"}}, "'assertions' is of the wrong type"),
    "name-number": ({"databases": [{**DATABASE, "name": 5}]}, "'name' is of the wrong type"),
    "directory-list": ({"databases": [{**DATABASE, "backup_dir": []}]}, "'backup_dir' is of the wrong type"),
    "defaults-list": ({"defaults": []}, "'defaults' is not an object"),
    "application-list": ({"Backup": []}, "'Backup' is not an object"),
    "application-days": ({"Backup": {"RetentionDays": "7"}}, "'retention.keep_days' is not a number"),
    "application-cleanup": ({"Backup": {"AutoCleanup": "yes"}}, "'auto_cleanup' is of the wrong type"),
    "application-directory": ({"Backup": {"BackupDirectory": 5}}, "'backup_dir' is of the wrong type"),
    "twice": ({"databases": [DATABASE, {"path": "/other/app.db"}]}, "'app' is used twice"),
    "audit-log-number": ({"audit_log": 5}, "'audit_log' is no absolute path"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_configuration_is_refused_and_names_file_and_key(write, case):
    document, cause = BAD[case]
    path = write(document)
    with pytest.raises(errors.ConfigError) as caught:
        config.load(path, {})
    assert cause in caught.value.cause and caught.value.path == path


@pytest.mark.parametrize("name", ["a/b", "..", "", "-x", "app_20261122_020000"])
def test_name_that_cannot_be_used_is_refused_in_configuration_and_call(write, name):
    with pytest.raises(errors.NameInvalid):
        config.load(write({"databases": [{"name": name, "path": "/srv/app.db"}]}), {})
    with pytest.raises(errors.NameInvalid):
        _target(None, database="/srv/app.db", name=name)


@pytest.mark.parametrize("variable", ["BACKUP_RETENTION_DAYS", "BACKUP_MAX_FILES"])
@pytest.mark.parametrize("text", ["many", "7.5", "7 days"])
def test_environment_variable_that_is_no_number_is_named(variable, text):
    with pytest.raises(errors.ConfigError) as caught:
        config.load(None, {variable: text})
    assert variable in caught.value.message and text in caught.value.message


def test_empty_environment_variables_say_nothing(write):
    environment = dict.fromkeys([*_ENVIRONMENT.values(), "BACKUP_DATABASE", "DIGITALME_BACKUP_CONFIG"], "")
    target = _target(None, environment, database="/srv/app.db")
    assert target.settings["retention"] == settings.RETENTION and target.backup_dir == config.BACKUP_ROOT + "/app"


# --- where it is read from -------------------------------------------------------------------------------------------


def test_host_without_configuration_has_the_defaults():
    loaded = config.load(None, {})
    assert (loaded.path, loaded.databases, loaded.audit_log, loaded.warnings) == (None, (), None, ())
    assert loaded.defaults == settings.DEFAULTS


def test_file_that_was_asked_for_must_be_there(tmp_path):
    missing = str(tmp_path / "missing.json")
    for path, environment in ((missing, {}), (None, {"DIGITALME_BACKUP_CONFIG": missing})):
        with pytest.raises(errors.ConfigError) as caught:
            config.load(path, environment)
        assert caught.value.path == missing


def test_file_of_the_environment_is_read_and_that_of_the_call_goes_before(write, tmp_path):
    path = write({"databases": [{"path": "/srv/one.db"}]})
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"databases": [{"path": "/srv/two.db"}]}))
    assert config.load(None, {"DIGITALME_BACKUP_CONFIG": path}).databases[0]["name"] == "one"
    assert config.load(str(other), {"DIGITALME_BACKUP_CONFIG": path}).databases[0]["name"] == "two"


def test_directory_in_place_of_the_file_is_an_error_of_the_engine(tmp_path):
    with pytest.raises(errors.BackupError) as caught:
        config.load(str(tmp_path), {})
    assert caught.value.path == str(tmp_path)


def test_default_file_that_cannot_be_read_is_ignored_with_a_warning(open_place, monkeypatch, as_nobody):
    path = open_place / "config.json"
    path.write_text("{}")
    path.chmod(0o600)
    monkeypatch.setattr(config, "PATH", str(path))

    def look():
        loaded = config.load(None, {})
        try:
            config.load(str(path), {})
        except errors.BackupError as error:
            return [loaded.path, len(loaded.warnings), error.error_code]
        return [loaded.path, len(loaded.warnings), None]

    if os.geteuid() == 0:
        assert as_nobody(look) == [None, 1, "permission_denied"]


def test_audit_log_is_the_hosts_where_the_host_is_installed_and_else_beside_the_backups(write, tmp_path, monkeypatch):
    monkeypatch.setattr(config, "PATH", write({}))
    assert _target(None, database="/srv/app.db").audit_log == config.AUDIT_LOG
    assert _target(write({"audit_log": "/a/log"}), database="/srv/app.db").audit_log == "/a/log"
    monkeypatch.setattr(config, "PATH", str(tmp_path / "none"))
    assert _target(None, database="/srv/app.db", backup_dir="/b").audit_log == "/b/.state/audit.jsonl"


def test_lock_is_the_same_whatever_way_a_caller_came(write, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    configured = write({"databases": [{"name": "app", "path": "/srv/app.db", "backup_dir": str(tmp_path / "b")}]})
    paths = {
        _target(configured, name="app").lock_path,
        _target(configured, database="/srv/app.db").lock_path,
        _target(None, database="/srv/app.db", backup_dir=str(tmp_path / "link" / "b")).lock_path,
        _target(None, name="app", backup_dir=str(tmp_path / "b") + "/", need_database=False).lock_path,
    }
    assert paths == {str(tmp_path / "b" / ".state" / "app.lock")}


# --- which database is meant -----------------------------------------------------------------------------------------


@pytest.fixture
def two(write):
    document = [
        {"name": "one", "path": "/srv/one.db", "backup_dir": "/b/one", "retention": {"keep_days": 1}},
        {"path": "/srv/two.db", "retention": {"keep_days": 2}},
    ]
    return write({"databases": document})


def _which(target):
    return target.name, target.database, target.settings["retention"]["keep_days"]


@pytest.mark.parametrize(
    "call, environment, expected",
    [
        ({"name": "one"}, {}, ("one", "/srv/one.db", 1)),
        ({"name": "two"}, {}, ("two", "/srv/two.db", 2)),
        ({"database": "/srv/two.db"}, {}, ("two", "/srv/two.db", 2)),
        ({"database": "/srv/../srv/one.db"}, {}, ("one", "/srv/one.db", 1)),
        ({"database": "/srv/three.db"}, {}, ("three", "/srv/three.db", 7)),
        ({"name": "one", "database": "/other.db"}, {}, ("one", "/other.db", 1)),
        ({}, {"BACKUP_DATABASE": "two"}, ("two", "/srv/two.db", 2)),
        ({}, {"BACKUP_DATABASE": "/srv/two.db"}, ("two", "/srv/two.db", 2)),
        ({}, {"BACKUP_DATABASE": "/srv/three.db"}, ("three", "/srv/three.db", 7)),
        ({"backup_dir": "/elsewhere"}, {"BACKUP_DATABASE": "two"}, ("two", "/srv/two.db", 2)),
        ({"name": "one"}, {"BACKUP_DATABASE": "two"}, ("one", "/srv/one.db", 1)),
    ],
)
def test_call_finds_its_database_and_its_settings(two, call, environment, expected):
    assert _which(_target(two, environment, **call)) == expected


def test_only_database_need_not_be_named(write):
    path = write({"databases": [DATABASE]})
    assert _target(path).name == "app"
    assert _target(path, backup_dir="/b").database == "/srv/app.db"


@pytest.mark.parametrize("call", [{}, {"need_database": False}])
def test_one_of_several_must_be_named_and_they_are_listed(two, call):
    with pytest.raises(errors.UsageError) as caught:
        _target(two, **call)
    assert "one, two" in caught.value.message


@pytest.mark.parametrize("call", [{"name": "app"}, {"backup_dir": "/b"}])
def test_database_that_is_needed_and_not_given_is_asked_for(call):
    with pytest.raises(errors.UsageError):
        _target(None, **call)


def test_name_is_that_of_the_only_backups_in_the_directory(backup_dir, put_backup):
    put_backup(name="found")
    assert _target(None, backup_dir=str(backup_dir), need_database=False).name == "found"
    put_backup(name="another")
    with pytest.raises(errors.UsageError) as caught:
        _target(None, backup_dir=str(backup_dir), need_database=False)
    assert "another, found" in caught.value.message


def test_name_that_a_directory_tells_brings_its_configured_settings(two, backup_dir, put_backup):
    """Or a bare `retention --backup-dir` would expire by the built-in policy what the configuration wants kept."""
    put_backup(name="two")
    assert _which(_target(two, backup_dir=str(backup_dir), need_database=False)) == ("two", "/srv/two.db", 2)


def test_directory_without_backups_tells_no_name(backup_dir):
    with pytest.raises(errors.UsageError):
        _target(None, backup_dir=str(backup_dir), need_database=False)


def test_database_and_directory_are_resolved_once(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    target = _target(None, database=str(tmp_path / "link" / "app.db"), backup_dir=str(tmp_path / "link" / "b"))
    assert target.database == str(tmp_path / "real" / "app.db")
    assert target.backup_dir == str(tmp_path / "real" / "b")


def test_only_database_of_the_environment_is_meant_where_nothing_is_said(tmp_path):
    """As in a container: its directory has no backups yet, so the directory tells no name."""
    environment = {"BACKUP_DATABASE": "/data/app.db", "BACKUP_DIRECTORY": str(tmp_path)}
    target = _target(None, environment, need_database=False)
    assert (target.name, target.database, target.backup_dir) == ("app", "/data/app.db", str(tmp_path))


def test_notifications_lie_beside_the_configuration(write):
    path = write({})
    assert config.notifications_path(path) == os.path.join(os.path.dirname(path), "notifications.json")
    assert config.notifications_path(None, {}) == os.path.join(os.path.dirname(config.PATH), "notifications.json")


@pytest.mark.parametrize("key", ["metrics_dir", "audit_log"])
def test_places_of_the_host_are_absolute_paths(write, key):
    with pytest.raises(errors.ConfigError, match=f"'{key}' is no absolute path"):
        config.load(write({key: "some/where"}), {})
    assert getattr(config.load(write({key: "/some/where"}), {}), key) == "/some/where"


def test_audit_log_of_the_host_needs_no_name(write):
    """All configured databases have one log, so it does not matter whose it is."""
    rows = [{"name": "a", "path": "/srv/a.db"}, {"name": "b", "path": "/srv/b.db"}]
    with pytest.raises(errors.UsageError, match="which database is meant"):
        _target(write({"databases": rows, "audit_log": "/log"}), need_database=False)
    assert _target(write({"databases": rows, "audit_log": "/log"}), need_database=False, any_name=True).name == "a"
    with pytest.raises(errors.UsageError, match="which database is meant"):
        _target(write({"databases": rows}), need_database=False, any_name=True)
