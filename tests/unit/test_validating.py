# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import os
import pathlib
import shutil

import pytest
from engine import catalog, errors, files, manifest, operations, store, validating
from engine import session as session_room


@pytest.fixture
def target(database, make_target):
    return make_target(database)


@pytest.fixture
def check(target):
    """check(*references, adopt, record, **settings) -> (what `validate` returned or raised, {file: row})."""

    def run(*references, adopt=False, record=True, **settings):
        session = session_room.Session("validate", None, None)
        session.target = target._replace(settings={**target.settings, **settings})
        try:
            result = validating.validate(session, list(references) or None, adopt, record)
        except errors.BackupError as error:
            return error, {row["file"]: row for row in error.details["backups"]}
        return result, {row["file"]: row for row in result["backups"]}

    return run


@pytest.fixture
def make(target, set_clock):
    """make(day, **order) -> path of a real backup of that day of November 2026."""

    def put(day=22, **order):
        set_clock(f"2026-11-{day}T02:00:00Z")
        return store.make(target, store.Order(**order)).path

    return put


def _status(path):
    return manifest.load(manifest.path_for(path))["verification"]["status"]


def _flip(path):
    with open(path, "r+b") as file:
        file.seek(os.path.getsize(path) // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_sound_backup_is_ok_and_nothing_changes_but_the_time_of_its_check(make, check, compression, target):
    path = make(compression=compression)
    before = manifest.load(manifest.path_for(path))
    result, rows = check()
    assert result["changed"] is False
    assert [(row["status"], row["changed"], row["errors"]) for row in rows.values()] == [("ok", False, [])]
    after = manifest.load(manifest.path_for(path))
    assert {**after, "verification": None} == {**before, "verification": None}
    assert set(os.listdir(target.backup_dir)) - {catalog.STATE} == {
        os.path.basename(path),
        os.path.basename(path) + ".json",
    }
    assert not os.path.exists(store.scratch_dir(target))


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_damage_is_recorded_and_takes_the_backup_from_the_verified_once(make, check, scan, compression):
    good, bad = make(21), make(22, compression=compression)
    _flip(bad)
    error, rows = check()
    assert isinstance(error, errors.BackupInvalid) and os.path.basename(bad) in error.message
    assert rows[os.path.basename(bad)]["status"] == "corrupt" and rows[os.path.basename(bad)]["changed"]
    assert rows[os.path.basename(good)]["status"] == "ok"
    assert scan()[os.path.basename(bad)].status == "invalid" and scan()[os.path.basename(good)].verified
    again, rows = check()
    assert not rows[os.path.basename(bad)]["changed"] and again.details["changed"] is False


def test_backup_that_was_mended_is_verified_again(make, check, scan, tmp_path):
    path = make()
    shutil.copy(path, tmp_path / "safe")
    _flip(path)
    check()
    assert _status(path) == "corrupt"
    shutil.copy(tmp_path / "safe", path)
    result, _rows = check()
    assert result["changed"] is True and _status(path) == "ok"


def test_check_mode_finds_the_same_and_records_nothing(make, check):
    path = make()
    _flip(path)
    before = pathlib.Path(manifest.path_for(path)).read_bytes()
    error, rows = check(record=False)
    assert isinstance(error, errors.BackupInvalid) and error.details["changed"] is True
    assert pathlib.Path(manifest.path_for(path)).read_bytes() == before


def test_backup_that_could_be_compared_with_nothing_is_told(make, target):
    def warnings(**options):
        return operations.validate(backup_dir=target.backup_dir, name=target.name, **options)["warnings"]

    path = make()
    assert warnings() == []
    os.unlink(manifest.path_for(path))
    (warning,) = warnings()
    assert os.path.basename(path) in warning and "compared with nothing" in warning and "no manifest" in warning
    assert warnings(adopt=True) == []


def test_only_what_is_named_is_looked_at(make, check):
    first, second = make(21), make(22)
    _result, rows = check(os.path.basename(first))
    assert list(rows) == [os.path.basename(first)]
    _result, rows = check("latest", "2026-11-21T02:00:00Z")
    assert list(rows) == [os.path.basename(second), os.path.basename(first)]


def test_reference_that_means_nothing_stops_before_anything_is_done(make, target):
    path = make()
    _flip(path)
    session = session_room.Session("validate", None, None)
    session.target = target
    with pytest.raises(errors.BackupNotFound):
        validating.validate(session, [os.path.basename(path), "nothing.db"], False, True)
    assert _status(path) == "ok"


def test_assertions_and_level_are_those_of_the_settings(make, check):
    path = make()
    error, rows = check(assertions=[{"sql": "SELECT count(*) FROM t", "expect": 5}])
    assert isinstance(error, errors.BackupInvalid) and rows[os.path.basename(path)]["status"] == "failed"
    # Neither is a verdict on the backup, so neither is recorded: the assertion may be wrong, none looks at nothing.
    result, rows = check(verify="none")
    assert rows[os.path.basename(path)]["status"] == "none" and result["changed"] is False
    assert catalog.read_entry(path).verified


def test_manifest_without_its_file_is_told(make, check):
    good, gone = make(21), make(22)
    os.unlink(gone)
    error, rows = check()
    assert isinstance(error, errors.BackupInvalid)
    assert {file: row["status"] for file, row in rows.items()} == {
        os.path.basename(good): "ok",
        os.path.basename(gone): "missing",
    }


@pytest.mark.parametrize("kind", ["directory", "fifo", "link", "dangling"])
def test_what_is_no_file_is_told_and_does_not_stop_the_rest(make, check, backup_dir, tmp_path, kind):
    good = make(21)
    odd = backup_dir / "app_20261122_020000.db"
    if kind == "directory":
        odd.mkdir()
    elif kind == "fifo":
        os.mkfifo(odd)
    else:
        odd.symlink_to(good if kind == "link" else "nowhere")
    error, rows = check(adopt=True)
    assert isinstance(error, errors.BackupInvalid)
    assert (rows[odd.name]["status"], rows[os.path.basename(good)]["status"]) == ("failed", "ok")
    assert not os.path.lexists(manifest.path_for(str(odd)))


def test_encrypted_file_is_unverifiable_and_does_not_stop_the_rest(make, check, backup_dir):
    good = make(21)
    (backup_dir / "app-secret.db").write_bytes(os.urandom(16384))
    error, rows = check(adopt=True)
    assert isinstance(error, errors.Unverifiable)
    assert rows["app-secret.db"]["status"] == "unverifiable" and not rows["app-secret.db"]["adopted"]
    assert rows[os.path.basename(good)]["status"] == "ok"


@pytest.mark.parametrize("content", [b"", b"no database at all" * 1000])
def test_garbage_is_corrupt_and_never_adopted(check, backup_dir, scan, content):
    (backup_dir / "app.db").write_bytes(content)
    error, rows = check(adopt=True)
    assert isinstance(error, errors.BackupInvalid) and rows["app.db"]["status"] == "corrupt"
    check(adopt=True, verify="none")
    assert scan()["app.db"].status == "unverified"


# --- adoption --------------------------------------------------------------------------------------------------------


def test_backup_of_an_older_script_is_adopted_with_the_time_of_its_name(check, backup_dir, make_db, scan):
    path = make_db(backup_dir / "app_20260101_030405.db", "wal")
    before = pathlib.Path(path).read_bytes()
    result, rows = check()
    assert (
        rows["app_20260101_030405.db"]["adopted"] is False and scan()["app_20260101_030405.db"].status == "unverified"
    )
    result, rows = check(adopt=True)
    assert result["changed"] is True and rows["app_20260101_030405.db"]["adopted"] is True
    entry = scan()["app_20260101_030405.db"]
    assert entry.verified and entry.manifest["created_at"] == "2026-01-01T03:04:05.000Z"
    assert entry.manifest["source"]["tables"] == {"t": 200} and entry.manifest["source"]["journal_mode"] == "wal"
    assert entry.manifest["sha256"] == entry.manifest["content_sha256"] == files.sha256(path)
    assert pathlib.Path(path).read_bytes() == before
    assert os.name == "nt" or os.stat(path).st_mode & 0o777 == 0o600  # SQLite had made it for others to read.
    assert check(adopt=True)[0]["changed"] is False


def test_backup_made_by_hand_is_adopted_with_its_mtime_and_says_so(check, backup_dir, make_db, scan):
    path = make_db(backup_dir / "app-before-upgrade.db")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    check(adopt=True)
    entry = scan()["app-before-upgrade.db"]
    assert entry.verified and entry.manifest["created_at"] == "2023-11-14T22:13:20.000Z"
    assert "mtime" in entry.manifest["method_reason"]


def test_compressed_backup_is_adopted(check, backup_dir, make_db, scan, tmp_path):
    import gzip

    with gzip.open(backup_dir / "app_20260101_030405.db.gz", "wb") as file:
        file.write(pathlib.Path(make_db(tmp_path / "x.db")).read_bytes())
    check(adopt=True)
    entry = scan()["app_20260101_030405.db.gz"]
    assert entry.verified and entry.manifest["compression"] == "gzip"
    assert entry.manifest["size_bytes"] == os.path.getsize(tmp_path / "x.db")


def test_adoption_in_check_mode_writes_nothing(check, backup_dir, make_db):
    make_db(backup_dir / "app_20260101_030405.db")
    result, rows = check(adopt=True, record=False)
    assert result["changed"] is True and rows["app_20260101_030405.db"]["adopted"] is True
    assert os.listdir(backup_dir) == ["app_20260101_030405.db"]


@pytest.mark.parametrize("content", [b"garbage", b'{"schema_version": 1}'])
def test_useless_manifest_is_replaced_and_kept_aside(make, check, scan, content):
    path = make()
    pathlib.Path(manifest.path_for(path)).write_bytes(content)
    check(adopt=True)
    assert scan()[os.path.basename(path)].verified
    assert pathlib.Path(manifest.path_for(path) + ".replaced").read_bytes() == content
