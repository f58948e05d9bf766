# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The modules together, as a playbook uses them, over a database that another process is writing to."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import sqlite3

import pytest
import sample_app
import yaml
from engine import audit

HERE = pathlib.Path(__file__).resolve().parent
PLAYBOOK = HERE / "ten_lines.yml"


def changes(played):
    assert played.status == 0, played.output
    return {task.action.rpartition(".")[2]: task.changed for task in played.tasks}


def test_ten_lines_back_up_expire_check_and_restore_under_load(controller, shop, writing):
    run = {"database": shop["database"], "backups": shop["backup_dir"]}
    unchanged = {"sqlite_backup": False, "backup_validate": False, "backup_retention": False, "backup_health": False}
    with writing(shop["database"]):
        first = controller.run(PLAYBOOK, **run)
        assert changes(first) == {**unchanged, "sqlite_backup": True, "sqlite_restore": True}
        sample_app.check(shop["database"])
        assert changes(controller.run(PLAYBOOK, **run)) == {**unchanged, "sqlite_restore": True}
        sample_app.check(shop["database"])
    backup = first.tasks[0].result["backup"]["path"]
    assert sample_app.check(shop["database"])["ledger"] >= sample_app.check(backup)["ledger"]
    assert changes(controller.run(PLAYBOOK, **run)) == {**unchanged, "sqlite_restore": True}
    assert sample_app.check(shop["database"]) == sample_app.check(backup)
    assert changes(controller.run(PLAYBOOK, **run)) == {**unchanged, "sqlite_restore": False}


def test_ten_lines_are_ten_lines_of_modules_only():
    lines = PLAYBOOK.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 10
    assert [line.split()[1] for line in lines if line.startswith("    - ")] == [
        "digitalme.backup.sqlite_backup:",
        "digitalme.backup.backup_validate:",
        "digitalme.backup.backup_retention:",
        "digitalme.backup.backup_health:",
        "digitalme.backup.sqlite_restore:",
    ]


def test_every_operation_leaves_its_line_in_the_audit_log(controller, shop):
    backup_dir = pathlib.Path(shop["backup_dir"])
    tasks = [
        {"sqlite_backup": {"database": shop["database"]}, "check_mode": True},
        {"sqlite_backup": {"database": shop["database"]}},
        {"sqlite_restore": {"database": shop["database"]}, "ignore_errors": True},
        {"sqlite_restore": {"test": True}},
        {"backup_info": {}},
    ]
    played = controller.play(tasks, defaults={"backup_dir": shop["backup_dir"], "name": "shop"})
    assert [task.state for task in played.tasks] == ["ok", "ok", "failed", "ok", "ok"], played.output
    log = backup_dir / ".state" / "audit.jsonl"
    lines = list(audit.read(str(log)))
    seen = [(line["operation"], line["outcome"], line["by"]["via"]) for line in lines]
    assert seen == [
        ("backup", "ok", "ansible"),
        ("restore", "not_confirmed", "ansible"),
        ("restore_test", "ok", "ansible"),
    ]
    assert audit.check(str(log))["intact"]
    assert not (controller.place / "home" / ".local").exists()


@pytest.mark.parametrize(
    ("sql", "expect"),
    [
        ("SELECT 12", 12),
        ("SELECT 12", "12"),
        ("SELECT 1.5", 1.5),
        ("SELECT 'text'", "text"),
        ("SELECT count(*) > 0 FROM accounts", True),
        ("SELECT 0", False),
        ("SELECT 7", None),
        ("PRAGMA user_version", 0),
        ("SELECT count(*) FROM accounts", "{{ 1000 + 1000 }}"),
        ("SELECT x'0aff'", "0aff"),
    ],
)
def test_expectation_of_each_type_is_met(expected, sql, expect):
    assert {"sql": sql, "passed": True}.items() <= expected[0][repr((sql, expect))].items()


@pytest.mark.parametrize(
    ("sql", "expect"),
    [
        ("SELECT 12", 13),
        ("SELECT 'text'", "Text"),
        ("SELECT 0", None),
        ("SELECT NULL", None),
        ("SELECT 2", True),
        ("SELECT 1 WHERE 0", False),
        ("DELETE FROM accounts", None),
    ],
)
def test_expectation_that_is_not_met_is_told(expected, sql, expect):
    assert {"sql": sql, "passed": False}.items() <= expected[1][repr((sql, expect))].items()


@pytest.fixture(scope="module")
def expected(make_controller, tmp_path_factory, request):
    """Two dictionaries {(sql, expect): the assertion as the manifest records it}: of those that hold, and do not."""
    database = tmp_path_factory.mktemp("live") / "shop.db"
    sample_app.create(str(database), mib=0)
    rows = [
        mark.args[1]
        for test in (test_expectation_of_each_type_is_met, test_expectation_that_is_not_met_is_told)
        for mark in test.pytestmark
        if mark.name == "parametrize"
    ]
    tasks = [
        {
            "sqlite_backup": {
                "database": str(database),
                "backup_dir": str(tmp_path_factory.mktemp("backups")),
                "assertions": [
                    {"sql": sql, **({} if expect is None else {"expect": expect})} for sql, expect in chosen
                ],
            },
            "ignore_errors": True,
        }
        for chosen in rows
    ]
    played = make_controller().play(tasks)
    assert [task.state for task in played.tasks] == ["ok", "failed"], played.output
    assert played.tasks[1].result["error_code"] == "verification_failed"
    found = [task.result["backup"]["verification"]["assertions"] for task in played.tasks[:1]]
    found.append(played.tasks[1].result["verification"]["assertions"])
    return [dict(zip(map(repr, chosen), recorded)) for chosen, recorded in zip(rows, found)]


def test_health_fails_from_the_asked_status_on(controller, shop, backup_ago):
    backup_ago(100, shop["database"], shop["backup_dir"], name="shop")
    healthy = {"max_age": 0, "max_verified_age": 0}
    degraded = {**healthy, "min_backups": 2}
    cases = {
        f"{status} {fail_on}": (options, fail_on)
        for status, options in (("healthy", healthy), ("degraded", degraded), ("unhealthy", {}))
        for fail_on in ("never", "degraded", "unhealthy")
    }
    tasks = [
        {"name": name, "backup_health": {**options, "fail_on": fail_on}, "ignore_errors": True}
        for name, (options, fail_on) in cases.items()
    ]
    played = controller.play(tasks, defaults={"backup_dir": shop["backup_dir"], "name": "shop"})
    for name in cases:
        assert played[name].result["status"] == name.split()[0], played[name]
    failed = {task.name for task in played.tasks if task.state == "failed"}
    assert failed == {"degraded degraded", "unhealthy degraded", "unhealthy unhealthy"}
    assert {played[name].result["error_code"] for name in failed} == {"unhealthy"}


def test_health_fails_on_unhealthy_by_default(controller, tmp_path):
    played = controller.play([{"backup_health": {"backup_dir": str(tmp_path / "none"), "name": "none"}}])
    assert played.status != 0
    assert played.tasks[0].result["status"] == "unhealthy"


NAMES = [
    "with space",
    "quo'te",
    'double"quote',
    "new\nline",
    "ümläut 数",
    "{{ braces }}",
    "-dash",
    "percent %41 ?x#y&z=1",
]


@pytest.mark.parametrize("directory", NAMES)
def test_paths_of_any_kind_pass_through_the_modules(strange, directory):
    backed_up, restored, listed = strange[directory]
    assert backed_up["backup"]["path"].startswith(listed["backup_dir"])
    assert os.path.dirname(backed_up["backup"]["path"]).endswith("backups of " + directory)
    assert restored["changed"] is True
    assert restored["plan"]["strategy"] == "in_place"
    regular = [row["file"] for row in listed["backups"] if row["kind"] == "regular"]
    assert regular == [backed_up["backup"]["file"], restored["backup"]["file"]]


@pytest.fixture(scope="module")
def strange(make_controller, make_db, backup_ago, unsafe, tmp_path_factory):
    """{directory name: (backup, restore, info)} of a database whose path and backup directory have that name."""
    top = tmp_path_factory.mktemp("strange")
    tasks = []
    for number, directory in enumerate(NAMES):
        (top / directory).mkdir()
        database, backup_dir = make_db(top / directory / "shop.db"), str(top / f"backups of {directory}")
        old = backup_ago(1, database, backup_dir)
        with contextlib.closing(sqlite3.connect(database)) as connection, connection:
            connection.execute("INSERT INTO t (word) VALUES ('late')")
        listing = {"backup_dir": unsafe(backup_dir), "name": "shop"}
        place = {**listing, "database": unsafe(database)}
        tasks.append({"name": f"{number} backup", "sqlite_backup": place})
        tasks.append({"name": f"{number} restore", "sqlite_restore": {**place, "backup": old["file"], "force": True}})
        tasks.append({"name": f"{number} info", "backup_info": listing})
    played = make_controller().play(tasks)
    assert played.status == 0, played.output
    return {
        directory: tuple(played[f"{number} {step}"].result for step in ("backup", "restore", "info"))
        for number, directory in enumerate(NAMES)
    }


def test_undecodable_bytes_in_a_path_do_not_break_the_answer(controller, make_db, tmp_path):
    raw = os.fsencode(tmp_path) + b"/not\xffutf"
    os.mkdir(raw)
    make_db(os.fsdecode(raw + b"/shop.db"))
    os.symlink(raw, tmp_path / "link")
    played = controller.play(
        [
            {
                "sqlite_backup": {
                    "database": str(tmp_path / "link" / "shop.db"),
                    "backup_dir": str(tmp_path / "backups"),
                }
            },
            {
                "sqlite_restore": {
                    "database": str(tmp_path / "link" / "shop.db"),
                    "backup_dir": str(tmp_path / "backups"),
                },
                "ignore_errors": True,
            },
        ],
        "--diff",
    )
    made, refused = played.tasks
    assert made.state == "ok", played.output
    assert made.result["backup"]["source"]["path"].endswith("/not\\udcffutf/shop.db")
    assert refused.result["error_code"] == "not_confirmed"
    assert "\\udcff" in refused.result["msg"]
    json.dumps(refused.result).encode("utf-8")


def test_playbook_of_the_readme_does_what_it_says(controller, shop):
    """The first playbook that a reader pastes, with this test's paths in the place of its own; twice."""
    text = (HERE.parent.parent / "README.md").read_text(encoding="utf-8")
    playbook = text.partition("<!-- test: playbook -->\n```yaml\n")[2].partition("```")[0]
    assert "/srv/shop/shop.db" in playbook
    assert "/var/backups/shop" in playbook
    playbook = playbook.replace("/srv/shop/shop.db", shop["database"]).replace("/var/backups/shop", shop["backup_dir"])
    path = controller.place / "readme.yml"
    path.write_text(playbook, encoding="utf-8")
    first, second = changes(controller.run(path)), changes(controller.run(path))
    assert first == {**dict.fromkeys(first, False), "sqlite_backup": True}
    assert second == dict.fromkeys(first, False)
    assert len(first) == 4


ANSIBLES_OWN = {"changed", "diff", "invocation", "warnings", "failed", "deprecations", "exception"}


def test_results_have_the_keys_that_are_documented(controller, shop):
    database = {"database": shop["database"]}
    tasks = [
        {"sqlite_backup": database, "check_mode": True},
        {"sqlite_backup": database},
        {"sqlite_backup": {**database, "skip_if_unchanged": True}},
        {"sqlite_restore": {"test": True}},
        {"sqlite_restore": {**database, "force": True}},
        {"backup_retention": {}},
        {"backup_health": {}},
        {"backup_validate": {}},
        {"backup_info": {}},
    ]
    played = controller.play(tasks, defaults={"backup_dir": shop["backup_dir"], "name": "shop"})
    assert played.status == 0, played.output
    for task in played.tasks:
        module = task.action.rpartition(".")[2]
        source = (HERE.parent.parent / "plugins" / "modules" / f"{module}.py").read_text(encoding="utf-8")
        told = yaml.safe_load(source.partition('RETURN = r"""')[2].partition('"""')[0])
        keys = {key for key in task.result if not key.startswith("_ansible")} - ANSIBLES_OWN
        assert keys <= set(told), f"{module} returns what is not documented"
        always = {key for key, entry in told.items() if entry["returned"].startswith(("success", "always"))}
        assert always <= keys, f"{module} does not return what is documented"
