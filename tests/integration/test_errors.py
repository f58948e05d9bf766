# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A module that fails says so with a code, file, cause and next step, and never with a traceback."""

from __future__ import annotations

import json
import pathlib
import shutil
import sqlite3
import subprocess
import sys

import pytest
from engine import errors

# Placeholders such as {live} are filled in by the fixture `failures`.
CASES = {
    "missing database": ("sqlite_backup", {"database": "{live}/none.db"}, "database_not_found", "{live}/none.db"),
    "directory": ("sqlite_backup", {"database": "{live}"}, "database_not_a_file", "{live}"),
    "empty file": ("sqlite_backup", {"database": "{live}/empty.db"}, "database_empty", "{live}/empty.db"),
    "not a database": ("sqlite_backup", {"database": "{live}/text.db"}, "not_a_database", "{live}/text.db"),
    "own directory": ("sqlite_backup", {"database": "{db}", "backup_dir": "{live}"}, "backup_dir_invalid", "{live}"),
    "directory is a file": (
        "sqlite_backup",
        {"database": "{db}", "backup_dir": "{live}/text.db"},
        "backup_dir_invalid",
        "{live}/text.db",
    ),
    "name that climbs": ("sqlite_backup", {"database": "{db}", "name": "../x"}, "name_invalid", "../x"),
    "full disk": ("sqlite_backup", {"database": "{db}", "disk_limit_percent": 0}, "no_space", "disk_limit_percent 0"),
    "locked": ("sqlite_backup", {"database": "{locked}", "busy_timeout": 0.3}, "database_busy", "{locked}"),
    "assertion of a backup": (
        "sqlite_backup",
        {"database": "{db}", "assertions": [{"sql": "SELECT count(*) FROM t", "expect": 7}]},
        "verification_failed",
        "got 200, expected 7",
    ),
    "no database given": ("sqlite_backup", {"backup_dir": "{dir}"}, "usage", "database"),
    "existing database": ("sqlite_restore", {"database": "{db}"}, "not_confirmed", "{db}"),
    "stale approval": ("sqlite_restore", {"database": "{db}", "confirm": "0123"}, "not_confirmed", "another plan"),
    "nothing to undo": (
        "sqlite_restore",
        {"database": "{db}", "undo": True},
        "backup_not_found",
        "no restore has kept",
    ),
    "two ways at once": ("sqlite_restore", {"database": "{db}", "undo": True, "resume": True}, "usage", "only one"),
    "no such backup": ("sqlite_restore", {"database": "{db}", "backup": "none.db"}, "backup_not_found", "none.db"),
    "tampered backup": (
        "sqlite_restore",
        {"database": "{db}", "backup": "{tampered}", "force": True},
        "backup_invalid",
        "SHA-256",
    ),
    "held file": (
        "sqlite_restore",
        {"database": "{held}", "force": True, "strategy": "replace"},
        "in_use",
        "{held}",
    ),
    "assertion of a restore": (
        "sqlite_restore",
        {"database": "{db}", "force": True, "assertions": [{"sql": "SELECT 0"}]},
        "backup_invalid",
        "SELECT 0",
    ),
    "retention brake": (
        "backup_retention",
        {"keep_days": 0, "keep_last": 1, "max_age": 0, "max_remove_percent": 10},
        "retention_brake",
        "max_remove_percent",
    ),
    "invalid backup": ("backup_validate", {"backups": ["{tampered}"]}, "backup_invalid", "{tampered}"),
    "old backups": ("backup_health", {"max_age": 60}, "unhealthy", "newest_backup"),
    "not a time": ("backup_info", {"since": "last night"}, "usage", "last night"),
    "no backups": ("backup_info", {"backup_dir": "{live}/none", "name": "none"}, None, None),
}
REFUSED_WITH_STEPS = {
    "existing database": ["resolve", "plan"],
    "no such backup": ["resolve"],
    "tampered backup": ["resolve", "plan", "space", "stage"],
}


def filled(value, places):
    if isinstance(value, str):
        return value.format(**places) if "{" in value else value
    if isinstance(value, dict):
        return {key: filled(item, places) for key, item in value.items()}
    return [filled(item, places) for item in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def places(tmp_path_factory, make_db, backup_ago):
    """A database with four backups, one of which was tampered with; others that are locked, held, empty or none."""
    live, backup_dir = tmp_path_factory.mktemp("live"), tmp_path_factory.mktemp("backups")
    database = make_db(live / "shop.db")
    made = [backup_ago(hours, database, backup_dir) for hours in (26, 3, 2, 1)]
    tampered = pathlib.Path(made[1]["path"])
    content = bytearray(tampered.read_bytes())
    content[-100] ^= 1
    tampered.write_bytes(content)
    (live / "empty.db").write_bytes(b"")
    (live / "text.db").write_bytes(b"This is no database, and it is longer than a header of SQLite would be.\n" * 9)
    shutil.copy(database, live / "locked.db")
    shutil.copy(database, live / "held.db")
    return {
        "live": str(live),
        "dir": str(backup_dir),
        "db": database,
        "tampered": tampered.name,
        "locked": str(live / "locked.db"),
        "held": str(live / "held.db"),
    }


@pytest.fixture(scope="module")
def failures(make_controller, places):
    """{case: its task}, from one play in which every task may fail."""
    tasks = [
        {"name": name, module: filled(arguments, places), "ignore_errors": True}
        for name, (module, arguments, _code, _text) in CASES.items()
    ]
    code = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('PRAGMA journal_mode=delete'); c.execute('BEGIN EXCLUSIVE')\n"
        "held = sqlite3.connect(sys.argv[2]); held.execute('SELECT count(*) FROM t').fetchall()\n"
        "print('ready', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, places["locked"], places["held"]]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"ready\n"
        defaults = {"backup_dir": places["dir"], "name": "shop"}
        before = pathlib.Path(places["db"]).read_bytes()
        played = make_controller().play(tasks, defaults=defaults)
        assert pathlib.Path(places["db"]).read_bytes() == before, "a refused operation changed the database"
        holder.stdin.close()
    return played


@pytest.mark.parametrize("case", [name for name, row in CASES.items() if row[2]])
def test_failure_has_its_code_and_says_what_to_do(failures, places, case):
    _module, _arguments, code, text = CASES[case]
    task = failures[case]
    assert task.state == "failed"
    assert task.result["error_code"] == code, task
    assert filled(text, places) in task.result["msg"] + json.dumps(task.result.get("checks", "")), task
    assert task.result["msg"].endswith(".")
    assert len(task.result["msg"]) > len(errors.CODES[code].hint) // 2


@pytest.mark.parametrize("case", CASES)
def test_failure_is_no_traceback(failures, case):
    shown = json.dumps(failures[case].result)
    for sign in ("Traceback", "module_stderr", "MODULE FAILURE", "deprecat"):
        assert sign not in shown


def test_output_of_the_failures_has_no_traceback(failures):
    assert "Traceback" not in failures.output
    assert "PLAY RECAP" in failures.output


@pytest.mark.parametrize("case", REFUSED_WITH_STEPS)
def test_restore_that_is_refused_tells_its_steps(failures, case):
    result = failures[case].result
    assert [row["name"] for row in result["steps"]] == REFUSED_WITH_STEPS[case]
    assert [row["status"] for row in result["steps"]][-1] == "failed"
    assert all(row["status"] == "ok" for row in result["steps"][:-1])
    assert result["rolled_back"] is False


def test_restore_says_whether_the_backup_is_to_blame(failures):
    assert failures["tampered backup"].result["recoverable"] is False
    assert failures["existing database"].result["recoverable"] is None


def test_held_file_names_its_processes(failures):
    processes = failures["held file"].result["processes"]
    assert processes
    assert all(str(row["pid"]) in failures["held file"].result["msg"] for row in processes)


def test_failed_judgement_tells_what_it_found(failures):
    health = failures["old backups"].result
    assert health["status"] == "unhealthy"
    assert {"newest_backup": "unhealthy"}.items() <= {row["name"]: row["status"] for row in health["checks"]}.items()
    assert health["statistics"]["total_backups"] == 4
    assert [row["status"] for row in failures["invalid backup"].result["backups"]] == ["corrupt"]


def test_brake_shows_what_it_kept_from_happening(failures, places):
    result = failures["retention brake"].result
    assert len(result["would_remove"]) > 0
    assert all((pathlib.Path(places["dir"]) / row["file"]).exists() for row in result["would_remove"])


def test_failed_copy_is_quarantined_and_never_listed(failures, places):
    kept = list(pathlib.Path(places["dir"]).glob("*.quarantined"))
    assert len(kept) == 1, "the copy that failed the assertion is kept aside"
    assert sqlite3.connect(kept[0]).execute("SELECT count(*) FROM t").fetchone() == (200,)


def test_nothing_to_list_is_no_failure(failures):
    task = failures["no backups"]
    assert (task.state, task.result["backups"], task.result["total"]) == ("ok", [], 0)


def test_wrong_arguments_are_told_by_ansible(controller, shop):
    tasks = [
        {"name": "choice", "sqlite_backup": {"method": "magic"}, "ignore_errors": True},
        {"name": "option", "sqlite_restore": {"databse": "x"}, "ignore_errors": True},
        {"name": "suboption", "sqlite_backup": {"assertions": [{"expect": 1}]}, "ignore_errors": True},
        {"name": "type", "backup_retention": {"keep_days": "many"}, "ignore_errors": True},
    ]
    played = controller.play(tasks, defaults=shop_dir(shop))
    texts = {task.name: task.result["msg"] for task in played.tasks}
    assert "auto, online, vacuum" in texts["choice"]
    assert "databse" in texts["option"]
    assert "sql found in assertions" in texts["suboption"]
    assert "keep_days" in texts["type"]
    assert all(task.state == "failed" for task in played.tasks)


def shop_dir(shop):
    return {"backup_dir": shop["backup_dir"]}
