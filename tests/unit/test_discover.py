# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json
import os
import random
import types

import pytest
from engine import catalog, config, discover, errors, manifest, operations


@pytest.fixture
def place(tmp_path):
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


@pytest.fixture
def configured(tmp_path):
    """configured(entry, ...) -> the configuration that has these databases."""

    def write(*entries, **others):
        path = tmp_path / "config.json"
        path.write_text(json.dumps({"databases": entries, **others}), encoding="ascii")
        return config.load(str(path), environment={})

    return write


@pytest.fixture
def look(place, configured):
    """look(entry, ...) -> the result for a host with this configuration."""
    return lambda *entries, **options: discover.discover(configured(*entries), [str(place)], **options)


def _protected(result):
    return {os.path.basename(row["path"]): row["name"] for row in result["databases"]}


# --- what is told of a database --------------------------------------------------------------------------------------


def test_row_says_what_the_file_is(place, make_db, look):
    path = make_db(place / "app.db", sql="PRAGMA application_id = -5")
    os.chmod(path, 0o640)
    os.utime(path, (0, 1_700_000_000.5))
    (row,) = look()["databases"]
    facts = os.stat(path)
    assert row == {
        "path": path,
        "size_bytes": facts.st_size,
        "owner": discover._owner(facts.st_uid),
        "group": discover._group(facts.st_gid),
        "uid": facts.st_uid,
        "gid": facts.st_gid,
        "mode": "0640",
        "journal_mode": "rollback",
        "page_size": 4096,
        "application_id": -5,
        "modified_at": "2023-11-14T22:13:20.500Z",
        "has_sidecars": False,
        "in_use_by": [],
        "protected": False,
        "name": None,
    }


def test_row_of_a_wal_database_in_use_names_who_uses_it(place, make_db, look, holding):
    used = make_db(place / "used.db", journal_mode="wal")
    make_db(place / "idle.db", journal_mode="wal")
    with holding(used, "INSERT INTO t (word) VALUES ('new')") as process:
        os.utime(used, (0, 0))
        os.utime(used + "-wal", (0, 1_700_000_000))
        idle, row = look()["databases"]
    assert (row["journal_mode"], row["has_sidecars"]) == ("wal", True)
    assert row["modified_at"] == "2023-11-14T22:13:20.000Z"
    assert [user["pid"] for user in row["in_use_by"]] == [process.pid]
    assert row["in_use_by"][0]["command"].startswith("python")
    assert (idle["journal_mode"], idle["has_sidecars"], idle["in_use_by"]) == ("wal", False, [])


def test_this_process_itself_is_no_user(place, make_db, look):
    with open(make_db(place / "app.db"), "rb"):
        assert look()["databases"][0]["in_use_by"] == []


def test_owner_without_a_name_is_none():
    assert discover._owner(2_000_000_001) is None and discover._group(2_000_000_001) is None
    assert (discover._owner(0), discover._group(0)) == ("root", "root")


def test_time_out_of_the_calendar_is_none():
    assert discover._modified_at(types.SimpleNamespace(st_mtime=1e13), "/nowhere") is None


def test_time_is_that_of_the_file_where_its_log_is_older(place, make_db, look):
    path = make_db(place / "app.db")
    (place / "app.db-wal").touch()
    os.utime(path, (0, 1_700_000_000))
    os.utime(path + "-wal", (0, 1_600_000_000))
    assert look()["databases"][0]["modified_at"] == "2023-11-14T22:13:20.000Z"


def test_result_is_plain_data_and_changes_nothing(place, make_db, look):
    make_db(place / "b.db")
    make_db(place / "a.db")
    before = sorted(os.listdir(place))
    result = look()
    assert json.loads(json.dumps(result)) == result
    assert result["changed"] is False
    assert result["unprotected"] == [str(place / "a.db"), str(place / "b.db")]
    assert result["roots"] == [{"path": str(place), "problem": None}]
    assert (result["files_seen"], result["truncated"], result["warnings"]) == (2, False, [])
    assert result["skipped_mounts"] == []
    # Ansible has a meaning of its own for these.
    assert not {"skipped", "failed", "unreachable", "results", "invocation"} & set(result)
    assert result["seconds"] >= 0
    assert sorted(os.listdir(place)) == before


# --- what is protected -----------------------------------------------------------------------------------------------


def test_database_is_protected_by_its_path_a_link_or_another_name(place, tmp_path, make_db, look):
    for name in ("path.db", "linked.db", "hard.db", "open.db"):
        make_db(place / name)
    (tmp_path / "link.db").symlink_to(place / "linked.db")
    os.link(place / "hard.db", tmp_path / "other.db")
    result = look(
        {"path": str(place / "path.db"), "name": "shop"},
        {"path": str(tmp_path / "link.db")},
        {"path": str(tmp_path / "other.db")},
        {"path": str(place / "missing.db")},
    )
    assert _protected(result) == {"path.db": "shop", "linked.db": "link", "hard.db": "other", "open.db": None}
    assert result["unprotected"] == [str(place / "open.db")]
    assert result["protected_count"] == 3


def test_database_that_is_replaced_during_the_search_stays_protected(place, tmp_path, make_db, look, monkeypatch):
    make_db(place / "app.db")
    (tmp_path / "link.db").symlink_to(place / "app.db")
    real = discover.finding.find

    def find_late(*arguments, **options):
        os.replace(make_db(tmp_path / "restored.db"), place / "app.db")
        return real(*arguments, **options)

    monkeypatch.setattr(discover.finding, "find", find_late)
    assert _protected(look({"path": str(tmp_path / "link.db"), "name": "app"})) == {"app.db": "app"}


@pytest.mark.parametrize("name", ["a.db", "m.db", "z.db"])
def test_several_names_of_a_file_are_one_database_under_the_configured_one(place, make_db, look, name):
    make_db(place / "m.db")
    os.link(place / "m.db", place / "a.db")
    os.link(place / "m.db", place / "z.db")
    assert _protected(look()) == {"a.db": None}
    assert _protected(look({"path": str(place / name), "name": "n"})) == {name: "n"}


# --- what is a backup itself -----------------------------------------------------------------------------------------


def test_backups_are_counted_and_are_no_databases(place, make_db, look):
    make_db(place / "app.db")
    for directory in ("configured/.state", "elsewhere"):
        (place / directory).mkdir(parents=True)
    make_db(place / "configured" / "other_20261122_020000.db")
    make_db(place / "configured" / ".state" / "scratch")
    made = make_db(place / "elsewhere" / "app_20261122_020000.db")
    document = {
        "schema_version": 1,
        "file": os.path.basename(made),
        "name": "app",
        "created_at": "2026-11-22T02:00:00.000Z",
        "stored_bytes": 1,
        "sha256": "",
        "verification": {},
        "source": {},
    }
    manifest.write_new(manifest.path_for(made), document)
    make_db(place / ".app.db.restore.partial")
    make_db(place / ".app_20261122_020000.db.partial-raw")
    make_db(place / "app_20261122_030000.db.quarantined")
    result = look({"path": "/srv/other.db", "backup_dir": str(place / "configured")})
    assert result["unprotected"] == [str(place / "app.db")]
    assert len(result["databases"]) == 1
    assert result["backups_seen"] == 6


def test_default_backup_directory_of_a_configured_database_is_known(place, make_db, look, monkeypatch):
    monkeypatch.setattr(config, "BACKUP_ROOT", str(place / "root"))
    (place / "root" / "shop").mkdir(parents=True)
    make_db(place / "root" / "shop" / "by hand.db")
    assert look({"path": "/srv/shop.db"})["backups_seen"] == 1
    assert look({"path": "/srv/other.db"})["backups_seen"] == 0


@pytest.mark.parametrize(
    "beside", [b"{}", b"no JSON", b'{"schema_version": 1, "file": "another.db"}'], ids=["foreign", "text", "another"]
)
def test_database_with_a_foreign_json_beside_it_is_a_database(place, make_db, look, beside):
    path = make_db(place / "app.db")
    (place / "app.db.json").write_bytes(beside)
    assert look()["unprotected"] == [path]


def test_manifest_of_another_file_makes_no_backup(place, make_db, look, put_backup):
    path = make_db(place / "app.db")
    os.rename(manifest.path_for(put_backup()), manifest.path_for(path))
    assert look()["unprotected"] == [path]


def test_directory_whose_name_begins_like_the_backup_directory_is_none(place, make_db, look):
    (place / "backups-of-others").mkdir()
    path = make_db(place / "backups-of-others" / "app.db")
    assert look({"path": "/srv/x.db", "backup_dir": str(place / "backups")})["unprotected"] == [path]


def test_configured_database_counts_wherever_it_lies(place, make_db, look):
    path = make_db(place / "odd.quarantined")
    assert _protected(look({"path": path, "name": "odd"})) == {"odd.quarantined": "odd"}


# --- the arguments and what is to be warned of -----------------------------------------------------------------------


def test_options_reach_the_search(place, make_db, look):
    size = os.path.getsize(make_db(place / "app.db"))
    make_db(place / "left out.db")
    assert look(excludes=["left*"])["unprotected"] == [str(place / "app.db")]
    assert look(min_bytes=size + 1)["databases"] == []
    assert look(excludes=None, min_bytes=None, same_filesystem=True)["files_seen"] == 2


def test_root_that_is_missing_is_a_warning(place, configured):
    result = discover.discover(configured(), [str(place / "missing")])
    assert result["roots"] == [{"path": str(place / "missing"), "problem": "No such file or directory"}]
    assert result["warnings"] == [f"{place / 'missing'} was not searched: No such file or directory"]


def test_what_cannot_be_read_is_told_with_an_example(open_place, make_db, as_nobody):
    os.chmod(make_db(open_place / "secret.db"), 0o600)

    def run():
        result = discover.discover(_nothing(), [str(open_place)])
        return [result["unreadable"], result["warnings"]]

    unreadable, warnings = as_nobody(run)
    example = {"path": str(open_place / "secret.db"), "reason": "Permission denied"}
    assert unreadable == {"count": 1, "examples": [example]}
    assert warnings == [f"1 files or directories could not be read, such as {example['path']} ({example['reason']})"]


def _nothing():
    return config.Config(None, (), {}, None, None, ())


def test_warnings_of_the_configuration_are_passed_on(place):
    configuration = _nothing()._replace(warnings=("it cannot be read",))
    assert discover.discover(configuration, [str(place)])["warnings"] == ["it cannot be read"]


def test_search_ends_at_its_limit_and_says_so(place, make_db, look, monkeypatch):
    for number in range(4):
        make_db(place / f"{number}.db", rows=0)
        os.link(place / f"{number}.db", place / f"{number} again.db")
    monkeypatch.setattr(discover, "LIMIT", 4)
    assert not look()["truncated"]
    monkeypatch.setattr(discover, "LIMIT", 3)
    result = look()
    assert result["truncated"] and len(result["databases"]) == 3
    assert "ended at 3 databases" in result["warnings"][0]


def test_operation_reads_the_configuration(place, tmp_path, make_db, configured):
    path = make_db(place / "app.db")
    configured({"path": path})
    result = operations.discover(roots=[str(place)], config_path=str(tmp_path / "config.json"), caller={"via": "cli"})
    assert _protected(result) == {"app.db": "app"}
    with pytest.raises(errors.UsageError):
        operations.discover(roots=["relative"])


# --- what is suggested -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "paths, taken, names",
    [
        (["/srv/app.db"], [], ["app"]),
        (["/srv/app.db"], ["app"], ["srv_app"]),
        (["/srv/app.db"], ["app", "srv_app", "srv_app_2"], ["srv_app_3"]),
        (["/a/db.sqlite3", "/b/db.sqlite3"], [], ["db", "b_db"]),
        (["/a/x/db", "/b/x/db", "/c/x/db"], [], ["db", "x_db", "x_db_2"]),
        (["/srv/.hidden.db", "/srv/-x.db", "/.x/..."], [], ["hidden", "x", "database"]),
        (["/srv/two\nlines.db", "/srv/a\\b.db"], [], ["two_lines", "a_b"]),
        (["/srv/app_20261122_020000.db", "/srv/x_pre_recovery"], [], ["app_20261122_020000_db", "x_pre_recovery_db"]),
        (["/srv/" + 60 * "ü" + ".db"], [], [45 * "ü"]),
        (["/srv/" + 20 * "a" + "." + 89 * "b" + ".db"], [], [89 * "b"]),
        (["/app.db", "/srv/app.db"], ["app"], ["_app", "srv_app"]),
    ],
)
def test_suggested_names_are_short_and_differ(paths, taken, names):
    assert discover.suggest(paths, taken) == [{"path": path, "name": name} for path, name in zip(paths, names)]


@pytest.mark.parametrize("seed", range(20))
def test_suggested_names_are_valid_and_differ_whatever_the_paths_are(seed):
    generator = random.Random(seed)
    letters = "ab.-_ /\n\\\u202eü\U0001f600" + "1" * 3
    parts = ["_pre_recovery", "_20261122_020000", "a" * 99, ".", "..", "app", ".db"]

    def text():
        choices = [generator.choice(letters) for _letter in range(generator.randrange(12))]
        return "".join([*choices, generator.choice(parts), generator.choice(["", ".db", ".sqlite3"])])

    paths = [f"/{text()}/{text()}" for _path in range(200)]
    taken = ["a", "app", "database", "database_2"]
    names = [row["name"] for row in discover.suggest(paths, taken)]
    for name in names:
        catalog.check_name(name)
    assert len({*names, *taken}) == len(paths) + len(taken)


def test_path_that_is_not_utf8_is_told_and_not_suggested(place, make_db, look):
    odd = os.fsdecode(os.fsencode(place) + b"/caf\xe9.db")
    os.rename(make_db(place / "x.db"), odd)
    make_db(place / "app.db")
    result = look()
    assert odd in result["unprotected"]
    assert result["suggested"] == {"databases": [{"path": str(place / "app.db"), "name": "app"}]}
    assert "1 paths are not valid UTF-8" in result["warnings"][0]


def test_configuration_with_what_is_suggested_protects_everything(place, make_db, look):
    for name in ("app.db", "x/app.db", "y/app.db", "y/two\nlines.db"):
        (place / name).parent.mkdir(exist_ok=True)
        make_db(place / name)
    first = {"path": str(place / "app.db")}
    added = look(first)["suggested"]["databases"]
    result = look(first, *added)
    assert (result["unprotected"], result["protected_count"]) == ([], 4)
    assert result["suggested"] == {"databases": []}
