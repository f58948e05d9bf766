# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Each state of a module four times: check, run, check again, run again. Check mode changes nothing and never lies."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import sqlite3

import pytest

ROUNDS = ("check", "run", "check again", "run again")


@pytest.fixture
def world(tmp_path, make_db):
    """A directory to watch with the database live/shop.db and a place for its backups."""
    top = tmp_path / "world"
    (top / "live").mkdir(parents=True)
    (top / "backups").mkdir(mode=0o700)
    make_db(top / "live" / "shop.db")
    return top


@pytest.fixture
def four(controller, four_times, world):
    """four(module, arguments) -> the tasks of the four rounds and the tree before them."""

    def run(module, **arguments):
        defaults = {"backup_dir": str(world / "backups"), "name": "shop"}
        first = [{"name": "before", "ansible.builtin.debug": {"msg": ""}}]
        played = controller.play(first + four_times(module, arguments), defaults=defaults, watch=world)
        assert played.status == 0, played.output
        return played["before"], *(played[name] for name in ROUNDS)

    return run


def require_states(rounds, changed):
    """The rounds' ``changed``; and the disk changes in the second at most, and only if it says so."""
    before, check, run, check_again, run_again = rounds
    assert [task.changed for task in rounds[1:]] == changed
    assert check.tree == before.tree, "check mode changed the disk"
    assert (run.tree != check.tree) == changed[1]
    assert check_again.tree == run.tree == run_again.tree, "the second run changed the disk"


def read_json(path):
    return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))


def append_row(database, word):
    connection = sqlite3.connect(database)
    connection.execute("INSERT INTO t (word) VALUES (?)", (word,))
    connection.commit()
    connection.close()


@pytest.mark.parametrize("skip", [{"skip_if_unchanged": True}, {"skip_if_younger_than": 3600}])
def test_backup_is_made_once(four, world, skip):
    rounds = four("sqlite_backup", database=str(world / "live" / "shop.db"), **skip)
    require_states(rounds, [True, True, False, False])
    _before, check, run, check_again, run_again = rounds
    assert check.result["plan"]["method"] == "clone"
    assert check.result["backup"] is None
    assert check.diff == ("", f"{world}/backups/{check.result['plan']['file']}\n")
    assert run.diff == ("", run.result["backup"]["path"] + "\n")
    file = run.result["backup"]["file"]
    for again in (check_again, run_again):
        assert file in again.result["skipped_reason"]
        assert again.diff == ("", "")


def test_backup_without_a_condition_is_made_each_time(four, world):
    rounds = four("sqlite_backup", database=str(world / "live" / "shop.db"))
    assert [task.changed for task in rounds[1:]] == [True] * 4
    assert rounds[2].tree == rounds[3].tree != rounds[4].tree
    assert rounds[4].result["backup"]["file"] != rounds[2].result["backup"]["file"]


def test_backup_of_changed_content_is_made_again(controller, world):
    database, backup_dir = str(world / "live" / "shop.db"), str(world / "backups")
    make = {"sqlite_backup": {"database": database, "backup_dir": backup_dir, "skip_if_unchanged": True}}
    assert controller.play([make]).tasks[0].changed
    append_row(database, "new")
    tasks = [{**make, "check_mode": True}, make, make]
    assert [task.changed for task in controller.play(tasks).tasks] == [True, True, False]


@pytest.fixture
def backed_up(world, backup_ago):
    """Path of a backup of the database, to whose live content a row was added since."""
    made = backup_ago(2, world / "live" / "shop.db", world / "backups")
    append_row(world / "live" / "shop.db", "after the backup")
    return made["path"]


def words(database):
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    found = [row[0] for row in connection.execute("SELECT word FROM t ORDER BY id")]
    connection.close()
    return found


def without_manifests(tree):
    """The tree without the manifests that are there already: a restore test or a verification notes its time there."""
    return {name: value for name, value in tree.items() if not name.endswith(".json")}


def test_restore_brings_content_back_once(four, world, backed_up):
    database = str(world / "live" / "shop.db")
    manifest = read_json(backed_up + ".json")
    rounds = four("sqlite_restore", database=database, force=True)
    for task in rounds:
        task.tree = without_manifests(task.tree)
    require_states(rounds, [True, True, False, False])
    _before, check, run, check_again, run_again = rounds
    assert words(database) == [f"word {number:06d}" for number in range(200)]
    assert check.diff == run.diff
    assert check.diff == (
        f"{database}: sound\n",
        f"{database}: the content of {backed_up}, {manifest['created_at']}, in_place\n",
    )
    assert check_again.diff == run_again.diff == ("", "")
    seen = {key: check.result["plan"].pop(key) for key in ("rows", "seconds_expected", "planned_at")}
    assert seen["rows"] == [{"table": "t", "now": 201, "then": 200}]
    assert {**check.result["plan"], "rpo_seconds": 0} == {**run.result["plan"], "rpo_seconds": 0}
    kept = run.result["pre_restore_backup"]
    assert words(kept)[-1] == "after the backup"
    assert check.result["pre_restore_backup"] is None
    assert all(task.result["recoverable"] is True for task in rounds[1:])
    now = read_json(backed_up + ".json")
    assert now.pop("restore_test")["status"] == "ok"
    assert now == manifest


def test_restore_creates_a_database_that_is_absent(four, world, backed_up):
    database = world / "live" / "shop.db"
    database.unlink()
    rounds = four("sqlite_restore", database=str(database), force=True)
    for task in rounds:
        task.tree = without_manifests(task.tree)
    require_states(rounds, [True, True, False, False])
    assert rounds[1].diff == rounds[2].diff
    assert rounds[1].diff[0] == f"{database}: absent\n"
    assert rounds[2].result["pre_restore_backup"] is None
    assert words(database) == [f"word {number:06d}" for number in range(200)]


def test_restore_test_is_never_a_change(four, world, backed_up):
    rounds = four("sqlite_restore", test=True)
    for task in rounds:
        task.tree = without_manifests(task.tree)
    require_states(rounds, [False] * 4)
    assert all(task.result["recoverable"] is True and task.diff == ("", "") for task in rounds[1:])


def test_retention_removes_once_and_says_why(four, world, backup_ago):
    database, backup_dir = world / "live" / "shop.db", world / "backups"
    files = [backup_ago(hours, database, backup_dir, name="shop")["file"] for hours in (96, 72, 48, 24)]
    rounds = four("backup_retention", keep_days=0, keep_last=2, max_age=0)
    require_states(rounds, [True, True, False, False])
    _before, check, run, check_again, run_again = rounds
    assert check.result["removed"] == run.result["removed"]
    assert [row["file"] for row in run.result["removed"]] == [files[1], files[0]]
    assert all(row["reasons"] for row in run.result["removed"] + run.result["kept"])
    assert check.result["freed_bytes"] == run.result["freed_bytes"] > 0
    assert check.diff == run.diff
    before, after = run.diff
    assert after == f"{files[2]}\n{files[3]}\n"
    reason = run.result["removed"][0]["reasons"][0]
    assert before.splitlines()[:2] == [f"{files[0]}  # {reason}", f"{files[1]}  # {reason}"]
    assert before.splitlines()[2:] == after.splitlines()
    assert check_again.diff[0] == check_again.diff[1]
    assert run_again.result["removed"] == []
    assert sorted(os.listdir(backup_dir))[1:] == sorted([*files[2:], *(f"{file}.json" for file in files[2:])])


def test_validate_adopts_a_foreign_backup_once(four, world, backup_ago):
    made = backup_ago(2, world / "live" / "shop.db", world / "backups")
    shutil.copy(made["path"], world / "backups" / "shop_20261101_020000.db")
    rounds = four("backup_validate", adopt=True)
    for task in rounds[3:]:
        assert set(task.tree) == set(rounds[2].tree)
    assert rounds[3].tree == rounds[2].tree, "check mode changed the disk"
    rounds[4].tree = rounds[2].tree  # The time of the same verdict is noted, and is no change.
    require_states(rounds, [True, True, False, False])
    adopted = [[row["file"] for row in task.result["backups"] if row["adopted"]] for task in rounds[1:]]
    assert adopted == [["shop_20261101_020000.db"]] * 2 + [[]] * 2
    assert rounds[1].diff == rounds[2].diff
    assert rounds[2].diff[1] == "shop_20261101_020000.db: ok\n"
    assert rounds[3].diff == ("", "")
    document = read_json(world / "backups" / "shop_20261101_020000.db.json")
    assert document["created_at"] == "2026-11-01T02:00:00.000Z"


def test_validate_records_another_level_once(controller, four_times, world, backup_ago):
    backup_ago(2, world / "live" / "shop.db", world / "backups", verify="none")
    tasks = four_times("backup_validate", {"backup_dir": str(world / "backups"), "verify": "full"})
    played = controller.play(tasks)
    assert [task.changed for task in played.tasks] == [True, True, False, False], played.output
    document = read_json(played["run"].result["backups"][0]["path"] + ".json")
    assert (document["verification"]["level"], document["verification"]["status"]) == ("full", "ok")


@pytest.mark.parametrize("module", ["backup_info", "backup_health"])
def test_looking_is_never_a_change(four, module, backed_up):
    arguments = {"fail_on": "never"} if module == "backup_health" else {}
    rounds = four(module, **arguments)
    require_states(rounds, [False] * 4)


def test_check_mode_of_the_whole_play_changes_nothing(controller, world):
    database = str(world / "live" / "shop.db")
    tasks = [
        {"name": "before", "ansible.builtin.debug": {"msg": ""}},
        {"sqlite_backup": {"database": database}},
        {"backup_info": {}},
    ]
    fresh = world / "not" / "yet"
    defaults = {"backup_dir": str(fresh), "name": "shop"}
    played = controller.play(tasks, "--check", "--diff", defaults=defaults, watch=world)
    assert played.status == 0, played.output
    assert played.tasks[1].changed
    assert played.tasks[2].tree == played["before"].tree
    assert not fresh.parent.exists()
    assert f"+{fresh}/shop_" in played.output
