# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pathlib
import shutil
import subprocess

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.digitalme.backup.plugins.filter import databases, fleet, transfer

FILTERS = pathlib.Path(databases.__file__).parent


def test_path_is_enough_for_a_database():
    (row,) = databases.databases(["/srv/shop/shop.db"], schedule="0 2 * * *")
    assert row["name"] == "shop" and row["backup_dir"] == "/var/backups/digitalme/shop"
    assert row["schedule"] == "0 2 * * *" and row["unit"] == "digitalme-backup-shop"
    assert row["settings"] == {"path": "/srv/shop/shop.db", "name": "shop", "backup_dir": row["backup_dir"]}


def test_what_a_database_says_goes_before_the_defaults_and_those_before_the_common_schedule():
    given = [{"path": "/a.db", "schedule": "1 1 * * *"}, "/b.db"]
    rows = databases.databases(given, defaults={"schedule": "2 2 * * *", "timezone": "UTC"}, schedule="3 3 * * *")
    assert [(row["schedule"], row["timezone"]) for row in rows] == [("1 1 * * *", "UTC"), ("2 2 * * *", "UTC")]
    assert databases.databases([{"path": "/a.db", "schedule": None}], schedule="3 3 * * *")[0]["schedule"] is None


def test_what_only_the_roles_need_does_not_reach_the_configuration():
    (row,) = databases.databases([{"path": "/data/a.db", "container": "shop", "user": "shop", "group": "shop"}])
    assert row["container"] == "shop" and row["user"] == "shop"
    assert set(row["settings"]) == {"path", "name", "backup_dir"}


@pytest.mark.parametrize(
    ("given", "cause"),
    [
        (["/a/app.db", "/b/app.db"], "the name 'app' is used twice (/a/app.db and /b/app.db)"),
        (["/a/app.db", "/a/app.db"], "the name 'app' is used twice"),
        ([{"path": "/a.db", "schedule": "often"}], "is not a cron expression"),
        ([{"path": "/a.db", "schedule": "0 2 * * *", "timezone": "Mars/Olympus"}], "Mars/Olympus"),
        ([{"path": "/a.db", "colour": "red"}], "there is no setting 'colour'"),
        ([{"path": "/a.db", "name": "a/b"}], "name"),
        ([{"name": "a"}], "with a 'path'"),
        (["app.db"], "is to be absolute"),
        ("/a.db", "is no list"),
        ([7], "with a 'path'"),
        ([{"path": "/a.db", "schedule": "0 2 * * *\n* * * * * root id"}], "cannot be printed"),
        ([{"path": "/a.db", "schedule": 5}], "'schedule' is of the wrong type"),
    ],
)
def test_bad_list_is_refused_with_its_cause(given, cause):
    with pytest.raises(AnsibleFilterError) as caught:
        databases.databases(given)
    assert cause in str(caught.value)


def test_unit_names_are_those_of_systemd_escape_but_for_the_dash():
    """systemd-escape writes a dash as \\x2d, because it stands for a slash; in a name of ours it is only a dash."""
    assert shutil.which("systemd-escape"), "the package systemd is needed"
    for text in ("shop", "my shop", "50%", "a\"b'c", "übung", "a:b_c.d", "x@y"):
        done = subprocess.run(["systemd-escape", "--", text], capture_output=True, text=True, check=True)
        assert databases.unit_name(text) == done.stdout.strip()
    assert databases.unit_name("my-shop") == "my-shop"


def test_unit_word_is_expanded_by_nothing():
    assert databases.unit_word('50% "off" $HOME \\x') == '"50%% \\"off\\" $$HOME \\\\x"'
    assert databases.unit_word("/srv/$x", command=False) == '"/srv/$x"'


def test_owner_is_the_given_one_then_the_files_then_the_directorys_then_ours():
    found = databases.databases(["/a/a.db", "/b/b.db", "/c/c.db", {"path": "/d/d.db", "user": "given", "group": 5}])
    there = {"stat": {"exists": True, "pw_name": "file", "gr_name": "files", "uid": 7, "gid": 8}}
    nameless = {"stat": {"exists": True, "uid": 100998, "gid": 100999}}
    nothing = {"stat": {"exists": False}}
    rows = databases.owned(found, [there, nothing, nothing, there], [there, nameless, nothing, there], "ours", "us")
    assert [(row["user"], row["group"], row["present"]) for row in rows] == [
        ("file", "files", True),
        ("100998", "100999", False),
        ("ours", "us", False),
        ("given", "5", True),
    ]


def test_path_of_a_container_is_found_on_the_longest_mount():
    mounts = [
        {"Destination": "/data", "Source": "/volumes/data/_data"},
        {"Destination": "/data/deep", "Source": "/srv/deep"},
    ]
    assert databases.host_path(mounts, "/data/app.db") == "/volumes/data/_data/app.db"
    assert databases.host_path(mounts, "/data/deep/x/app.db") == "/srv/deep/x/app.db"
    assert databases.host_path([{"Destination": "/", "Source": "/root/fs"}], "/app.db") == "/root/fs/app.db"
    with pytest.raises(AnsibleFilterError, match="lies on no volume"):
        databases.host_path(mounts, "/database/app.db")


def test_rows_of_a_fleet_have_every_host():
    asked = {
        "good": {"state": {"databases": [{"name": "app", "status": "ok", "message": "healthy"}]}},
        "bad": {"state": {"databases": [{"name": "app", "status": "failed", "message": "no backup"}]}},
        "worn": {"state": {"databases": [{"name": "app", "status": "degraded", "message": "disk"}]}},
        "away": {"state": {"unreachable": True, "msg": "timed\n out"}},
        "bare": {"state": {"databases": []}},
        "unasked": {},
    }
    rows = fleet.fleet_rows([*asked, "unknown"], asked, "state")
    assert [(row["host"], row["state"], row["protected"]) for row in rows] == [
        ("good", "ok", True),
        ("bad", "failed", False),
        ("worn", "degraded", True),
        ("away", "unreachable", False),
        ("bare", "failed", False),
        ("unasked", "failed", False),
        ("unknown", "failed", False),
    ]
    assert rows[3]["what"] == "timed out"
    lines = fleet.fleet_table(rows)
    assert (
        lines[0].split() == ["host", "database", "state", "what"]
        and len({line.find("app") for line in lines[1:4]}) == 1
    )


def test_every_filter_has_its_page():
    named = {**databases.FilterModule().filters(), **fleet.FilterModule().filters()}
    for name in named:
        page = yaml.safe_load((FILTERS / f"{name}.yml").read_text("utf-8"))
        assert page["DOCUMENTATION"]["name"] == name and yaml.safe_load(page["EXAMPLES"])


def _leg(*rows, **more):
    return {
        "files": [{"file": file, "state": state, "bytes": size, "problem": None} for file, state, size in rows],
        **more,
    }


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        # There at the destination; brought on; damaged where it comes from.
        (
            _leg(("a", "there", 0), ("b", "sent", 5), ("c", "failed", 0), failed=True, msg="c is damaged"),
            _leg(("b", "sent", 5), bytes=5),
            ([("a", "there"), ("b", "sent"), ("c", "failed")], 5, "c is damaged"),
        ),
        # It had been in the station since a run that was killed.
        (_leg(("a", "there", 0), bytes=0), _leg(("a", "sent", 7), bytes=7), ([("a", "sent")], 7, None)),
        # Check mode: nothing is brought on.
        (_leg(("a", "sent", 5), bytes=5), {"skipped": True}, ([("a", "sent")], 5, None)),
        # What has reached the station alone is not where it should be.
        (
            _leg(("a", "there", 0), ("b", "sent", 5), bytes=5),
            {"failed": True, "msg": "the disk is full"},
            ([("a", "there"), ("b", "failed")], 0, "the disk is full"),
        ),
        (
            _leg(("b", "sent", 5), bytes=5),
            {"unreachable": True, "msg": "no route"},
            ([("b", "failed")], 0, "no route"),
        ),
        # It could not be asked at all.
        ({"unreachable": True, "msg": "no route"}, {}, (None, 0, "no route")),
    ],
)
def test_two_legs_of_a_transfer_say_what_is_at_the_destination(first, second, expected):
    row = transfer.transfer_row([first, second], {"name": "shop"})
    files, size, why = expected
    assert row["item"] == {"name": "shop"} and row["bytes"] == size
    assert (row["failed"], row.get("msg")) == (why is not None, why)
    found = [(one["file"], one["state"]) for one in row["files"]] if "files" in row else None
    assert found == files
