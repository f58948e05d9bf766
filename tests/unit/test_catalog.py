# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json
import os
import pathlib

import pytest
from engine import catalog, clock, errors, files, health, kept_files, manifest, retention, settings

NOW = clock.parse("2026-11-23T02:00:00Z")


def _touch(directory, *names):
    for name in names:
        (directory / name).write_bytes(b"x")


def _rewrite(path, **changes):
    path = pathlib.Path(manifest.path_for(path))
    document = {**json.loads(path.read_bytes()), **changes}
    path.write_bytes(manifest.encode(document))


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["app", "a", "my app", "ünïcode", "a.b", "a_2", "20261122", "x" * 100, "app_pre_recover"]
)
def test_name_that_can_be_a_part_of_a_file_name_is_accepted(name):
    catalog.check_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "a/b", "..", ".", ".hidden", "-rf", "a\\b", "two\nlines", "tab\t", "nul\0", "x" * 101, "ü" * 51]
    + ["\udcff", "app_pre_recovery", "app_20261122_020000"],
)
def test_name_that_could_leave_the_directory_or_be_mistaken_is_refused(name):
    with pytest.raises(errors.NameInvalid) as caught:
        catalog.check_name(name)
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    "path, name", [("/srv/app.db", "app"), ("/srv/app", "app"), ("app.sqlite3", "app"), ("/srv/a.b.db", "a.b")]
)
def test_default_name_is_the_stem(path, name):
    assert catalog.default_name(path) == name


@pytest.mark.parametrize("path", ["/srv/.db", "/srv/-x.db", "/srv/\udcff.db"])
def test_default_name_that_is_unusable_tells_the_way_out(path):
    with pytest.raises(errors.NameInvalid) as caught:
        catalog.default_name(path)
    assert "option 'name'" in caught.value.message


def test_new_file_name_carries_the_utc_start(backup_dir):
    moment = clock.parse("2026-11-22T04:00:00+02:00")
    directory = str(backup_dir)
    assert catalog.new_file_name(directory, "app", moment) == "app_20261122_020000.db"
    assert catalog.new_file_name(directory, "app", moment, "pre_restore") == "app_pre_recovery_20261122_020000.db"
    assert catalog.new_file_name(directory, "app", moment, compression="gzip") == "app_20261122_020000.db.gz"


@pytest.mark.parametrize(
    "taken",
    [
        "app_20261122_020000.db",
        "app_20261122_020000.db.gz",
        "app_20261122_020000.db.zst.json",
        ".app_20261122_020000.db.partial",
        "app_20261122_020000.db.gz.quarantined",
        "app_20261122_020000.damaged",
    ],
)
def test_new_file_name_is_free_in_every_form(backup_dir, taken):
    _touch(backup_dir, taken)
    moment = clock.parse("20261122_020000")
    assert catalog.new_file_name(str(backup_dir), "app", moment) == "app_20261122_020000_2.db"
    _touch(backup_dir, taken.replace("020000", "020000_2"))
    assert catalog.new_file_name(str(backup_dir), "app", moment) == "app_20261122_020000_3.db"


# --- what is listed, and as what -------------------------------------------------------------------------------------


def test_missing_directory_has_no_backups(tmp_path):
    assert catalog.scan(str(tmp_path / "none"), "app") == []
    assert catalog.names(str(tmp_path / "none")) == []
    assert catalog.leftovers(str(tmp_path / "none"), "app") == []
    assert kept_files.quarantined(str(tmp_path / "none"), "app") == []


def test_directory_that_cannot_be_read_is_an_error(open_place, as_nobody):
    (open_place / "closed").mkdir(mode=0o700)

    def look():
        try:
            catalog.scan(str(open_place / "closed"), "app")
        except errors.BackupError as error:
            return error.error_code
        return None

    if os.geteuid() == 0:
        assert as_nobody(look) == "permission_denied"


def test_entries_come_newest_first(put_backup, scan):
    for stamp in ("20261122_020000", "20251231_235959", "20261122_020001", "20261121_020000"):
        put_backup(stamp)
    put_backup("20261122_020000", nth=2)
    put_backup("20261122_020000", nth=10)
    assert list(scan()) == [
        "app_20261122_020001.db",
        "app_20261122_020000_10.db",
        "app_20261122_020000_2.db",
        "app_20261122_020000.db",
        "app_20261121_020000.db",
        "app_20251231_235959.db",
    ]


def test_time_comes_from_the_manifest_not_from_name_or_mtime(put_backup, scan):
    path = put_backup("20261122_020000", created_at="2026-11-22T02:00:00.750Z")
    os.utime(path, (0, 0))
    assert scan()["app_20261122_020000.db"].created_at == clock.parse("2026-11-22T02:00:00.750Z")


@pytest.mark.parametrize(
    "verdict, status", [("ok", "verified"), ("none", "unverified"), ("unverifiable", "unverifiable")]
)
def test_status_is_that_of_the_last_verification(put_backup, scan, verdict, status):
    put_backup(verification={"status": verdict})
    entry = scan()["app_20261122_020000.db"]
    assert (entry.status, entry.problems, entry.verified) == (status, (), status == "verified")


@pytest.mark.parametrize("verdict", ["corrupt", "failed", "who knows"])
def test_backup_that_failed_its_last_check_is_invalid_and_says_why(put_backup, scan, verdict):
    put_backup(verification={"status": verdict, "errors": [{"check": "rows", "message": "one is missing"}]})
    entry = scan()["app_20261122_020000.db"]
    assert (entry.status, entry.problems) == ("invalid", ("rows: one is missing",))


def test_backup_of_another_size_is_invalid(put_backup, scan):
    path = put_backup()
    with open(path, "ab") as file:
        file.write(b"x")
    entry = scan()["app_20261122_020000.db"]
    assert entry.status == "invalid" and "8 bytes" in entry.problems[0] and "7" in entry.problems[0]


@pytest.mark.parametrize(
    "form", ["app_20261122_020000.db", "app_20261122_020000.db.gz", "app_pre_recovery_20261122_020000.db"]
)
def test_backup_without_manifest_is_unverified_and_keeps_the_time_of_its_name(backup_dir, scan, form):
    _touch(backup_dir, form)
    entry = scan()[form]
    assert entry.status == "unverified" and "no manifest" in entry.problems[0]
    assert entry.created_at == clock.parse("20261122_020000")


def test_stamp_that_is_no_time_is_listed_without_one(backup_dir, put_backup, scan):
    put_backup()
    _touch(backup_dir, "app_20269999_999999.db")
    assert list(scan()) == ["app_20261122_020000.db", "app_20269999_999999.db"]
    assert scan()["app_20269999_999999.db"].created_at is None


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"other": 1}', b"\xff\xfe\x00", b"[" * 100_000], ids=lambda text: repr(text[:9])
)
def test_damaged_manifest_is_a_problem_of_its_entry_only(backup_dir, put_backup, scan, content):
    put_backup("20261121_020000")
    path = put_backup()
    pathlib.Path(manifest.path_for(path)).write_bytes(content)
    entries = scan()
    assert entries["app_20261122_020000.db"].status == "unverified" and entries["app_20261122_020000.db"].problems
    assert entries["app_20261121_020000.db"].verified


@pytest.mark.parametrize(
    "changes", [{"file": "other_20261122_020000.db"}, {"name": "other"}, {"file": "../../etc/passwd"}]
)
def test_manifest_of_another_backup_is_not_believed(put_backup, scan, changes):
    _rewrite(put_backup(), **changes)
    entry = scan()["app_20261122_020000.db"]
    assert entry.status == "unverified" and "another backup" in entry.problems[0] and entry.manifest is None


def test_manifest_alone_is_missing(put_backup, scan):
    os.unlink(put_backup())
    entry = scan()["app_20261122_020000.db"]
    assert entry.status == "missing" and entry.stored_bytes == 0 and entry.problems


def test_manifest_of_an_unfinished_backup_is_not_listed(backup_dir, put_backup, scan):
    path = put_backup()
    os.rename(path, backup_dir / catalog.partial("app_20261122_020000.db"))
    assert scan() == {}


@pytest.mark.parametrize(
    "file", ["app.db", "app-before-upgrade.db", "app.sqlite3", "app (copy).db", "app.bak", "app.old.db.gz"]
)
def test_backup_made_by_hand_is_listed_last_and_unverified(backup_dir, put_backup, scan, file):
    put_backup("20010101_000000")
    _touch(backup_dir, file)
    assert list(scan()) == ["app_20010101_000000.db", file]
    assert (scan()[file].status, scan()[file].created_at) == ("unverified", None)


@pytest.mark.parametrize(
    "file",
    [
        "apple.db",
        "app_prod.db",
        "apple_20261122_020000.db",
        "app2_20261122_020000.db",
        "app_two_20261122_020000.db",
        "myapp_20261122_020000.db",
        ".app_20261122_020000.db.partial",
        ".app_20261122_020000.db",
        "app_20261122_020000.db.quarantined",
        "app_20261122_020000.db.quarantined.json",
        "app_20261122_020000.db-journal",
        "app_20261122_020000.damaged",
        "app.txt",
        "app.json",
        "README",
        "latest_backup.db",
    ],
)
def test_what_is_no_backup_of_the_name_is_not_listed(backup_dir, scan, file):
    _touch(backup_dir, file)
    assert scan() == {}


def test_names_that_begin_alike_do_not_mix(backup_dir, put_backup, scan):
    for name in ("app", "app_two", "app two", "apple", "app_20261122"):
        put_backup(name=name)
    put_backup(kind="_pre_recovery", trigger="pre_restore")
    assert catalog.names(str(backup_dir)) == ["app", "app two", "app_20261122", "app_two", "apple"]
    for name in ("app_two", "app two", "apple", "app_20261122"):
        assert list(scan(name)) == [f"{name}_20261122_020000.db"]
    assert set(scan()) == {"app_20261122_020000.db", "app_pre_recovery_20261122_020000.db"}


def test_pre_restore_backups_are_a_kind_of_their_own(put_backup, scan):
    put_backup(kind="_pre_recovery", trigger="pre_restore")
    put_backup("20261121_020000")
    assert [(entry.kind, entry.name) for entry in scan().values()] == [("pre_restore", "app"), ("regular", "app")]


def test_symbolic_link_is_named_and_not_followed(tmp_path, backup_dir, put_backup, scan):
    path = put_backup()
    os.rename(path, tmp_path / "elsewhere.db")
    os.symlink(tmp_path / "elsewhere.db", path)
    entry = scan()["app_20261122_020000.db"]
    assert entry.status == "invalid" and "symbolic link" in entry.problems[0] and entry.manifest is None
    os.symlink("nowhere", backup_dir / "app.db")
    assert "app.db" not in scan()


def test_link_in_place_of_the_manifest_is_not_followed(tmp_path, put_backup, scan):
    path = manifest.path_for(put_backup())
    os.rename(path, tmp_path / "elsewhere.json")
    os.symlink(tmp_path / "elsewhere.json", path)
    entry = scan()["app_20261122_020000.db"]
    assert entry.status == "unverified" and "not a regular file" in entry.problems[0]


@pytest.mark.parametrize("make", ["mkdir", "mkfifo"])
def test_what_is_no_file_is_invalid(backup_dir, put_backup, scan, make):
    put_backup("20261121_020000")
    make = getattr(os, make)  # Windows has no FIFO: asked for by name, in the test
    make(backup_dir / "app_20261122_020000.db")
    make(backup_dir / "app_20261120_020000.db.json")
    make(backup_dir / "app.db")
    entries = scan()
    assert entries["app_20261122_020000.db"].status == "invalid"
    assert entries["app_20261121_020000.db"].verified
    assert "app.db" not in entries


def test_names_that_are_no_utf8_or_have_newlines_do_not_stop_the_listing(backup_dir, put_backup, scan):
    put_backup()
    for name in (b"app\xff.db", b"app \n.db", b"\xff\xfe", b"app\xff_20261122_020000.db"):
        with open(os.path.join(os.fsencode(backup_dir), name), "wb"):
            pass
    assert "app_20261122_020000.db" in scan() and os.fsdecode(b"app \n.db") in scan()


def test_backup_that_goes_while_it_is_listed_does_not_stop_the_listing(put_backup, scan, monkeypatch):
    put_backup("20261121_020000")
    gone = put_backup()
    real = os.lstat

    def lstat(path, **options):
        if os.path.exists(gone) and str(path) == gone:
            os.unlink(gone)
        return real(path, **options)

    monkeypatch.setattr(os, "lstat", lstat)
    assert list(scan()) == ["app_20261121_020000.db"]


def _directory_as_it_was(monkeypatch, names):
    """The directory is read while its names change: what `listing` saw is not what is there now."""
    monkeypatch.setattr(catalog, "listing", lambda _directory: set(names))


def test_backup_that_is_finished_while_the_directory_is_read_is_not_missing(put_backup, scan, monkeypatch):
    file = os.path.basename(put_backup())
    _directory_as_it_was(monkeypatch, [file + ".json"])  # Neither under its partial name nor under its own.
    assert [(entry.file, entry.status) for entry in scan().values()] == [(file, "verified")]


def test_unfinished_backup_whose_partial_name_was_not_seen_is_not_missing(put_backup, scan, monkeypatch):
    path = put_backup()
    directory, file = os.path.split(path)
    os.rename(path, os.path.join(directory, catalog.partial(file)))
    _directory_as_it_was(monkeypatch, [file + ".json"])
    assert scan() == {}


def test_backup_that_is_removed_while_the_directory_is_read_is_not_there(put_backup, scan, monkeypatch):
    path = put_backup()
    file = os.path.basename(path)
    os.unlink(path)
    os.unlink(path + ".json")
    _directory_as_it_was(monkeypatch, [file + ".json"])
    assert scan() == {}


def test_backup_and_manifest_that_go_between_two_looks_are_not_unverified(put_backup, scan, monkeypatch):
    path = put_backup()
    real = files.exists

    def exists(asked):
        if asked == path + ".json" and real(path):
            os.unlink(path)  # As retention does, after it was seen: the backup, then its manifest.
            os.unlink(path + ".json")
        return real(asked)

    monkeypatch.setattr(files, "exists", exists)
    assert scan() == {}


# --- a manifest that somebody else wrote -----------------------------------------------------------------------------

ODD_VALUES = [None, True, 0, -1, 1e308, "", "x", "\ud800", [], [1], [None, {}], {}, {"status": []}, {"errors": 5}]
KEYS = [
    "pinned_until",
    "restore_test",
    "size_bytes",
    "stored_bytes",
    "trigger",
    "annotations",
    "compression",
    "content_sha256",
    "created_at",
    "file",
    "verification",
    "verification.status",
    "verification.errors",
    "source",
    "source.tables",
    "source.schema_sha256",
]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("value", ODD_VALUES, ids=ascii)
def test_no_manifest_stops_listing_expiry_health_or_statistics(put_backup, make_target, backup_dir, key, value):
    put_backup("20261121_020000", source={"tables": {"t": 1}})
    path = put_backup(pinned=key == "pinned_until")
    outer, _dot, inner = key.partition(".")
    _rewrite(path, **{outer: {"status": "ok", inner: value} if inner else value})
    entries = catalog.scan(str(backup_dir), "app")
    assert len(entries) == 2
    for entry in entries:
        json.dumps(entry.view())
        entry.pinned(NOW)
    retention.plan(entries, settings.RETENTION, NOW)
    health.judge(health.Facts(entries, make_target(), NOW))
    health.statistics(entries, [], "app")
    catalog.resolve("app_20261121_020000.db", str(backup_dir), "app")


# --- pins ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes, pinned",
    [
        ({}, False),
        ({"pinned": False}, False),
        ({"pinned": True}, True),
        ({"pinned": True, "pinned_until": "2026-11-23T02:00:01Z"}, True),
        ({"pinned": True, "pinned_until": "2026-11-23T02:00:00Z"}, False),
        ({"pinned": True, "pinned_until": "whenever"}, True),
        ({"pinned": True, "pinned_until": 5}, True),
        ({"pinned": False, "pinned_until": "2099-01-01T00:00:00Z"}, False),
    ],
)
def test_pin_holds_until_its_time_and_for_ever_when_in_doubt(put_backup, scan, changes, pinned):
    put_backup(**changes)
    assert scan()["app_20261122_020000.db"].pinned(NOW) is pinned


# --- leftovers and failed copies -------------------------------------------------------------------------------------


def test_leftovers_are_ours_alone_and_the_manifest_goes_first(backup_dir, put_backup):
    file = "app_20261122_020000.db.gz"
    _touch(
        backup_dir,
        catalog.partial(file),
        catalog.partial(file) + "-raw",
        file + ".json",
        ".app_20261122_020000.db.json.4711.partial",
        ".app_pre_recovery_20261122_020000_2.db.partial",
        ".app_20261122_020000.damaged.partial",
        ".apple_20261122_020000.db.partial",
        ".app_two_20261122_020000.db.partial",
        ".something.partial",
        "app_20261122_020000.partial",
    )
    found = catalog.leftovers(str(backup_dir), "app")
    assert set(found) == {
        catalog.partial(file),
        catalog.partial(file) + "-raw",
        file + ".json",
        ".app_20261122_020000.db.json.4711.partial",
        ".app_pre_recovery_20261122_020000_2.db.partial",
        ".app_20261122_020000.damaged.partial",
    }
    assert found.index(file + ".json") < found.index(catalog.partial(file))
    assert len(found) == len(set(found))


def test_leftovers_spare_the_manifest_of_a_backup_that_is_there(backup_dir, put_backup):
    put_backup()
    _touch(backup_dir, catalog.partial("app_20261122_020000.db"))
    assert catalog.leftovers(str(backup_dir), "app") == [catalog.partial("app_20261122_020000.db")]


def test_quarantined_are_those_of_the_name_oldest_first(backup_dir):
    _touch(
        backup_dir,
        "app_20261122_020000.db.quarantined",
        "app_20261120_020000.db.gz.quarantined",
        "app_20261122_020000.db.quarantined.json",
        "apple_20261122_020000.db.quarantined",
    )
    assert kept_files.quarantined(str(backup_dir), "app") == [
        "app_20261120_020000.db.gz.quarantined",
        "app_20261122_020000.db.quarantined",
    ]


# --- references ------------------------------------------------------------------------------------------------------


@pytest.fixture
def shelf(backup_dir, put_backup):
    """Verified on the 20th and 21st, unverified on the 22nd, a pre-restore backup on the 23rd, one of another name."""
    put_backup("20261120_020000")
    put_backup("20261121_020000")
    put_backup("20261122_020000", verification={"status": "none"})
    put_backup("20261123_020000", kind="_pre_recovery", trigger="pre_restore")
    put_backup("20261124_020000", name="other")
    return str(backup_dir)


@pytest.mark.parametrize(
    "reference, file",
    [
        ("latest", "app_20261121_020000.db"),
        ("latest_backup.db", "app_20261121_020000.db"),
        ("app_20261122_020000.db", "app_20261122_020000.db"),
        ("app_20261122_020000.db.json", "app_20261122_020000.db"),
        ("app_pre_recovery_20261123_020000.db", "app_pre_recovery_20261123_020000.db"),
        ("2026-11-21T02:00:00Z", "app_20261121_020000.db"),
        ("2026-11-21T01:59:59Z", "app_20261120_020000.db"),
        ("2026-11-21T02:59:59+01:00", "app_20261120_020000.db"),
        ("2099-01-01", "app_20261121_020000.db"),
        ("2026-11-21", "app_20261120_020000.db"),
        ("20261121_020000", "app_20261121_020000.db"),
        ("20261121_015959", "app_20261120_020000.db"),
        ("2026-11-22 23:00", "app_20261121_020000.db"),
    ],
)
def test_reference_finds_the_backup_that_it_means(shelf, reference, file):
    assert catalog.resolve(reference, shelf, "app").file == file


def test_reference_may_be_a_path(shelf, tmp_path, monkeypatch):
    path = os.path.join(shelf, "app_20261120_020000.db")
    monkeypatch.chdir(shelf)
    os.symlink(shelf, tmp_path / "link")
    for reference in (path, "./app_20261120_020000.db", str(tmp_path / "link" / "app_20261120_020000.db")):
        entry = catalog.resolve(reference, shelf, "app")
        assert (entry.path, entry.verified) == (path, True)


def test_path_outside_of_the_directory_is_read_where_it_lies(shelf, tmp_path):
    for suffix in ("", ".json"):
        os.rename(
            os.path.join(shelf, "app_20261120_020000.db" + suffix), tmp_path / ("app_20261120_020000.db" + suffix)
        )
    entry = catalog.resolve(str(tmp_path / "app_20261120_020000.db"), shelf, "app")
    assert entry.path == str(tmp_path / "app_20261120_020000.db") and entry.verified


@pytest.mark.parametrize(
    "reference",
    [
        "app_20261119_020000.db",
        "other_20261124_020000.db",
        "2026-11-20T01:59:59Z",
        "yesterday",
        "",
        "../backups/nothing.db",
        "/nonexistent/app_20261120_020000.db",
        "/etc",
        "..",
        "two\nlines",
    ],
)
def test_reference_that_means_nothing_is_not_found(shelf, reference):
    with pytest.raises(errors.BackupNotFound) as caught:
        catalog.resolve(reference, shelf, "app")
    assert caught.value.message.isprintable()


def test_not_found_says_what_there_is(shelf, tmp_path):
    with pytest.raises(errors.BackupNotFound) as caught:
        catalog.resolve("yesterday", shelf, "app")
    assert "1 unverified, 3 verified" in caught.value.message
    with pytest.raises(errors.BackupNotFound) as caught:
        catalog.resolve("latest", str(tmp_path), "app")
    assert "no backups at all" in caught.value.message


def test_not_found_says_why_there_is_none(backup_dir, put_backup):
    """Such as a manifest that this user may not read."""
    os.unlink(put_backup() + ".json")
    os.symlink("/etc/passwd", os.path.join(backup_dir, "app_20261122_020000.db.json"))
    with pytest.raises(errors.BackupNotFound) as caught:
        catalog.resolve("latest", str(backup_dir), "app")
    assert "1 unverified: app_20261122_020000.db: the manifest cannot be used" in caught.value.message


def test_manifest_without_its_file_cannot_be_meant(shelf):
    os.unlink(os.path.join(shelf, "app_20261121_020000.db"))
    with pytest.raises(errors.BackupNotFound) as caught:
        catalog.resolve("app_20261121_020000.db", shelf, "app")
    assert "only the manifest is left" in caught.value.message
    assert catalog.resolve("latest", shelf, "app").file == "app_20261120_020000.db"


def test_scan_is_not_fooled_by_files_of_the_state_directory(backup_dir, scan):
    files.make_directory(str(backup_dir / catalog.STATE))
    _touch(backup_dir / catalog.STATE, "app_20261122_020000.db")
    assert scan() == {}
