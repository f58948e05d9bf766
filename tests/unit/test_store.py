# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A backup is there whole or not at all: tried by failing and by being killed at every single step."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import signal
import sqlite3
import stat

import pytest
import sample_app
from engine import catalog, compress, errors, files, kept_files, manifest, snapshot, space, store, unpacking, verify
from engine import database as database_room

NOTHING: list = []


def _compressions():
    for method in compress.METHODS:
        try:
            compress.require(method)
        except errors.UsageError:
            continue
        yield method


COMPRESSIONS = list(_compressions())


@pytest.fixture
def target(database, make_target):
    return make_target(database)


@pytest.fixture
def damaged(tmp_path, make_db, make_target):
    """A target whose database copies without a complaint and does not pass a full check: its index lacks a row."""
    path = make_db(tmp_path / "app.db")
    with open(path, "rb") as file:
        content = file.read()
    for at in range(len(content)):
        if content.startswith(b"word 000100", at) and content[at // 4096 * 4096] == 10:
            content = content[:at] + b"w0rd" + content[at + 4 :]
            break
    with open(path, "wb") as file:
        file.write(content)
    assert verify.verify(path).status == "corrupt"
    return make_target(path)


@pytest.fixture
def unjudgeable(tmp_path, make_target):
    """A target whose database needs a collation that is missing here."""
    path = str(tmp_path / "app.db")
    connection = sqlite3.connect(path)
    connection.create_collation("german", lambda a, b: (a > b) - (a < b))
    connection.executescript(
        "CREATE TABLE t (a COLLATE german); CREATE INDEX i ON t (a); INSERT INTO t VALUES ('x'), ('y')"
    )
    connection.close()
    return make_target(path)


def _listing(target):
    return sorted(os.listdir(target.backup_dir))


def _bytes(path):
    with open(path, "rb") as file:
        return file.read()


# --- a backup --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("compression", "begun"), [("none", 0), ("gzip", 0), ("gzip", 1)])
def test_system_that_gives_no_thread_is_a_clear_error(target, no_thread, compression, begun):
    no_thread(begun)
    with pytest.raises(errors.IoError, match="can't start new thread"):
        store.make(target, store.Order(method="clone", compression=compression))
    assert not [name for name in _listing(target) if name != catalog.STATE]


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_made_backup_is_listed_as_verified_and_nothing_else_is_there(target, scan, set_clock, compression):
    set_clock("2026-11-22T02:00:00Z")
    made = store.make(target, store.Order(compression=compression))
    file = "app_20261122_020000.db" + compress.SUFFIXES[compression]
    assert made.path == os.path.join(target.backup_dir, file)
    assert _listing(target) == [file, file + ".json"]
    assert [(entry.file, entry.status) for entry in scan().values()] == [(file, "verified")]
    for name in _listing(target):
        assert os.name == "nt" or stat.S_IMODE(os.stat(os.path.join(target.backup_dir, name)).st_mode) == 0o600


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_manifest_tells_what_was_backed_up(tmp_path, make_db, make_target, set_clock, compression, journal_mode):
    live = make_db(tmp_path / "app.db", journal_mode, sql="PRAGMA user_version=7; PRAGMA application_id=77")
    os.chmod(live, 0o640)
    target = make_target(live)
    set_clock("2026-11-22T02:00:00.123Z")
    order = store.Order(
        trigger="scheduled",
        compression=compression,
        pinned=True,
        pinned_until="2027-01-01T00:00:00Z",
        annotations={"why": "x"},
    )
    made = store.make(target, order)
    document = manifest.load(manifest.path_for(made.path))
    assert document == made.manifest
    content = str(tmp_path / "content.db")
    unpacked = unpacking.unpack(catalog.read_entry(made.path), content)
    assert unpacked == (os.path.getsize(content), files.sha256(content), True)
    expected = {
        "schema_version": 1,
        "file": os.path.basename(made.path),
        "name": "app",
        "created_at": "2026-11-22T02:00:00.123Z",
        "method": snapshot.choose("auto", database_room.check_file(live), live)[0],
        "trigger": "scheduled",
        "pinned": True,
        "pinned_until": "2027-01-01T00:00:00Z",
        "annotations": {"why": "x"},
        "size_bytes": os.path.getsize(content),
        "stored_bytes": os.path.getsize(made.path),
        "compression": compression,
        "sha256": files.sha256(made.path),
        "content_sha256": files.sha256(content),
    }
    assert {key: document[key] for key in expected} == expected
    source = {
        "path": live,
        "journal_mode": journal_mode,
        "page_size": 4096,
        "page_count": os.path.getsize(content) // 4096,
        "encoding": "UTF-8",
        "application_id": 77,
        "user_version": 7,
        "tables": {"t": 200},
        "uid": os.stat(live).st_uid,
        "gid": os.stat(live).st_gid,
        "mode": "0666" if os.name == "nt" else "0640",
    }
    assert {key: document["source"][key] for key in source} == source
    assert document["verification"]["status"] == "ok" and document["verification"]["level"] == "full"
    assert document["host"] and document["tool"]["sqlite"] == sqlite3.sqlite_version


def test_backups_of_one_second_get_names_of_their_own(target, scan, set_clock):
    set_clock("2026-11-22T02:00:00Z")
    for compression in ("none", "gzip", "none"):
        store.make(target, store.Order(compression=compression))
    assert list(scan()) == ["app_20261122_020000_3.db", "app_20261122_020000_2.db.gz", "app_20261122_020000.db"]


def test_pre_restore_backup_has_its_own_name(target, scan):
    made = store.make(target, store.Order(kind="pre_restore", trigger="pre_restore"))
    assert os.path.basename(made.path).startswith("app_pre_recovery_2")
    assert [entry.kind for entry in scan().values()] == ["pre_restore"]


def test_backup_while_another_process_writes_keeps_the_invariant(tmp_path, make_target, writing):
    live = str(tmp_path / "app.db")
    sample_app.create(live, "wal", mib=1)
    with writing(live):
        made = store.make(make_target(live), store.Order())
    assert sample_app.check(made.path)["ledger"] == made.manifest["source"]["tables"]["ledger"]


@pytest.mark.parametrize("level, status", [("none", "none"), ("quick", "ok"), ("full", "ok")])
def test_verification_is_the_one_that_was_ordered(target, scan, level, status):
    made = store.make(target, store.Order(level=level))
    assert (made.manifest["verification"]["level"], made.manifest["verification"]["status"]) == (level, status)
    assert [entry.verified for entry in scan().values()] == [level != "none"]


def test_progress_names_its_stages(target):
    stages = []
    store.make(target, store.Order(compression="gzip"), lambda stage, done, total: stages.append(stage))
    assert {"copy", "hash", "compress"} <= set(stages)


# --- the same content again ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_same_content_is_not_stored_again(target, compression):
    first = store.make(target, store.Order(compression=compression))
    before = _listing(target)
    again = store.make(target, store.Order(compression=compression, unless_equal_to=first.manifest["content_sha256"]))
    assert again.path is None
    assert _listing(target) == before


def test_other_content_is_stored(target, scan):
    first = store.make(target, store.Order())
    connection = sqlite3.connect(target.database)
    connection.execute("UPDATE t SET word = 'changed' WHERE id = 1")
    connection.commit()
    connection.close()
    again = store.make(target, store.Order(unless_equal_to=first.manifest["content_sha256"]))
    assert again.path is not None and len(scan()) == 2


# --- what fails its verification -------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_corrupt_copy_is_kept_aside_and_never_listed(damaged, scan, put_backup, compression):
    put_backup("20261101_020000")
    with pytest.raises(errors.VerificationFailed) as caught:
        store.make(damaged, store.Order(compression=compression))
    aside = caught.value.details["quarantined"]
    assert aside.endswith(".quarantined") and os.path.exists(aside)
    assert caught.value.details["verification"]["status"] == "corrupt" and "t_word" in caught.value.message
    assert list(scan()) == ["app_20261101_020000.db"]
    assert kept_files.quarantined(damaged.backup_dir, "app") == [os.path.basename(aside)]
    assert manifest.load(manifest.path_for(aside))["file"] == os.path.basename(aside)
    assert store.clean(damaged) == NOTHING


def test_failed_assertion_keeps_the_copy_aside_too(target, scan):
    with pytest.raises(errors.VerificationFailed) as caught:
        store.make(target, store.Order(assertions=({"sql": "SELECT count(*) FROM t", "expect": 5},)))
    assert "got 200, expected 5" in caught.value.message
    assert scan() == {} and len(kept_files.quarantined(target.backup_dir, "app")) == 1


def test_second_failure_within_a_second_replaces_nothing(damaged, set_clock):
    set_clock("2026-11-22T02:00:00Z")
    for _ in range(2):
        with pytest.raises(errors.VerificationFailed):
            store.make(damaged, store.Order())
    assert len(kept_files.quarantined(damaged.backup_dir, "app")) == 2


def test_copy_that_cannot_be_judged_is_stored_and_never_called_verified(unjudgeable, scan):
    made = store.make(unjudgeable, store.Order())
    assert made.manifest["verification"]["status"] == "unverifiable"
    assert [entry.status for entry in scan().values()] == ["unverifiable"]


# --- refusals --------------------------------------------------------------------------------------------------------


def _refused(target, order, kind):
    with pytest.raises(kind) as caught:
        store.make(target, order)
    assert _listing(target) == NOTHING
    return caught.value


def test_busy_database_leaves_nothing(target, holding):
    with holding(target.database, "BEGIN EXCLUSIVE"):
        _refused(target, store.Order(busy_timeout=0.1), errors.DatabaseBusy)


def test_missing_database_leaves_nothing(target):
    os.unlink(target.database)
    _refused(target, store.Order(), errors.DatabaseNotFound)
    assert not os.path.exists(target.database)


@pytest.mark.parametrize(
    "order", [store.Order(compression="lzma"), store.Order(method="magic"), store.Order(level="deep")]
)
def test_order_that_cannot_be_carried_out_leaves_nothing(target, order):
    _refused(target, order, errors.UsageError)


def test_lack_of_room_is_told_before_anything_is_written(target, monkeypatch):
    monkeypatch.setattr(space, "free_bytes", lambda _path: os.path.getsize(target.database) - 1)
    error = _refused(target, store.Order(), errors.NoSpace)
    assert error.details["needed_bytes"] == os.path.getsize(target.database)


def test_compression_needs_room_for_both_copies(target, monkeypatch):
    monkeypatch.setattr(space, "free_bytes", lambda _path: os.path.getsize(target.database) + 1)
    _refused(target, store.Order(compression="gzip"), errors.NoSpace)


def test_stored_bytes_that_are_not_those_that_were_hashed_are_not_published(target, monkeypatch):
    real = compress.compress

    def changed_on_the_disk(source, packed, *arguments, **options):
        size = real(source, packed, *arguments, **options)
        with open(packed, "r+b") as file:
            file.seek(4)  # The time in gzip's header, which changes nothing in what it expands to.
            file.write(b"\x01")
        return size

    monkeypatch.setattr(compress, "compress", changed_on_the_disk)
    assert "read back" in _refused(target, store.Order(compression="gzip"), errors.IoError).cause


# --- failing and being killed at every step --------------------------------------------------------------------------

# Every way in which the engine itself touches names and bytes; SQLite's own writing lies between them.
_CALLS = ("open", "write", "copy_file_range", "truncate", "fsync", "replace", "unlink")


def _count_calls(monkeypatch, act):
    """Wrap the system's functions: ``act(number)`` is told before each call."""
    count = [0]

    def wrap(real):
        def wrapper(*arguments, **options):
            count[0] += 1
            act(count[0])
            return real(*arguments, **options)

        return wrapper

    for name in filter(lambda call: hasattr(os, call), _CALLS):
        monkeypatch.setattr(os, name, wrap(getattr(os, name)))
    return count


def _run_killed(target, order, nth):
    """Make a backup in a forked process that dies just before its nth call; whether it died."""
    pid = os.fork()
    if pid == 0:
        patch = pytest.MonkeyPatch()

        def act(number):
            if number == nth:
                os.kill(os.getpid(), signal.SIGKILL)

        _count_calls(patch, act)
        try:
            store.make(target, order)
        except errors.VerificationFailed:
            pass
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def _whole(target):
    """The files of a finished backup, each of which is what its manifest says; nothing unfinished may be listed."""
    expected = set()
    for entry in catalog.scan(target.backup_dir, target.name):
        assert entry.verified, entry
        unpacking.unpack(entry, None)
        expected |= {entry.file, entry.file + manifest.SUFFIX}
    for aside in kept_files.quarantined(target.backup_dir, target.name):
        expected |= {aside, aside + manifest.SUFFIX}
        assert json.loads(_bytes(os.path.join(target.backup_dir, aside + manifest.SUFFIX)))["file"] == aside
    return expected


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_killed_at_any_call_it_leaves_a_whole_backup_or_nothing_that_is_listed(target, compression):
    nth, unfinished, finished = 0, 0, 0
    while True:
        nth += 1
        died = _run_killed(target, store.Order(compression=compression), nth)
        whole = _whole(target)
        store.clean(target)
        assert set(_listing(target)) == whole, f"killed at call {nth}"
        finished += bool(whole)
        unfinished += not whole
        for name in _listing(target):
            os.unlink(os.path.join(target.backup_dir, name))
        if not died:
            break
    assert unfinished > 5 and finished >= 1


def test_killed_with_a_corrupt_copy_it_never_lists_it(damaged):
    nth = 0
    while True:
        nth += 1
        died = _run_killed(damaged, store.Order(), nth)
        assert catalog.scan(damaged.backup_dir, "app") == NOTHING
        _whole(damaged)
        store.clean(damaged)
        assert [name for name in _listing(damaged) if ".quarantined" not in name] == NOTHING
        for name in _listing(damaged):
            os.unlink(os.path.join(damaged.backup_dir, name))
        if not died:
            break
    assert nth > 5


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_failing_at_any_call_it_leaves_a_whole_backup_or_nothing(target, monkeypatch, compression):
    nth, failures = 0, 0
    while True:
        nth += 1

        def act(number, nth=nth):
            if number == nth:
                raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            count = _count_calls(patched, act)
            try:
                store.make(target, store.Order(compression=compression))
            except (OSError, errors.BackupError):
                failures += 1
            reached = count[0] >= nth
        left, whole = set(_listing(target)), _whole(target)
        assert left == whole, f"failed at call {nth}"
        for name in _listing(target):
            os.unlink(os.path.join(target.backup_dir, name))
        if not reached:
            break
    assert failures > 5


def test_name_that_is_taken_at_the_last_moment_is_not_replaced(target, set_clock, monkeypatch):
    set_clock("2026-11-22T02:00:00Z")
    mine = os.path.join(target.backup_dir, "app_20261122_020000.db")
    real = manifest.write_new

    def write_new(path, document):
        with open(mine, "wb") as file:
            file.write(b"of somebody else")
        real(path, document)

    monkeypatch.setattr(manifest, "write_new", write_new)
    with pytest.raises(FileExistsError):
        store.make(target, store.Order())
    assert _bytes(mine) == b"of somebody else"
    assert not [name for name in _listing(target) if name.endswith(files.PARTIAL)]


# --- what an interrupted run left ------------------------------------------------------------------------------------


def test_what_could_not_be_removed_is_not_called_removed(target, monkeypatch):
    """Another drill runs, or somebody else owns what lies in it."""
    places = [store.scratch_dir(target), store.drill_dir(target)]
    for place in places:
        files.make_directory(place)
    real = files.remove_tree
    monkeypatch.setattr(files, "remove_tree", lambda _path: None)
    assert store.clean(target) == []
    monkeypatch.setattr(files, "remove_tree", real)
    assert store.clean(target) == [os.path.relpath(place, target.backup_dir) for place in places]


def test_clean_removes_what_is_unfinished_of_this_name_only(target, put_backup):
    keep = [put_backup(), put_backup(name="other")]
    for name in (".app_20261123_020000.db.partial", ".other_20261123_020000.db.partial", "app_20261123_020000.db.json"):
        with open(os.path.join(target.backup_dir, name), "wb"):
            pass
    for name in ("app", "other"):
        files.make_directory(os.path.join(target.state_dir, f"{store.SCRATCH}-{name}", "deep"))
    removed = store.clean(target)
    assert removed == [
        "app_20261123_020000.db.json",
        ".app_20261123_020000.db.partial",
        os.path.join(".state", "scratch-app"),
    ]
    assert all(os.path.exists(path) and os.path.exists(path + ".json") for path in keep)
    assert ".other_20261123_020000.db.partial" in _listing(target)
    assert os.listdir(target.state_dir) == ["scratch-other"]
    assert store.clean(target) == NOTHING


# --- a stored backup -------------------------------------------------------------------------------------------------


@pytest.fixture
def stored(target):
    """stored(compression) -> the entry of a backup that was just made."""
    return lambda compression="none": catalog.read_entry(store.make(target, store.Order(compression=compression)).path)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_unpacked_content_is_that_of_the_database(stored, target, tmp_path, compression):
    path = str(tmp_path / "content.db")
    unpacked = unpacking.unpack(stored(compression), path)
    assert unpacked.trusted and unpacked.content_sha256 == hashlib.sha256(_bytes(path)).hexdigest()
    findings = unpacking.examine(stored(compression), "full", (), path)
    assert (findings.status, findings.tables) == ("ok", {"t": 200})
    assert database_room.check_file(path).page_size == 4096


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("durable", [True, False])
def test_unpacked_content_is_synced_only_where_it_is_to_last(stored, tmp_path, monkeypatch, compression, durable):
    entry, synced = stored(compression), []
    monkeypatch.setattr(os, "fsync", synced.append)
    unpacking.unpack(entry, str(tmp_path / "content.db"), durable=durable)
    assert bool(synced) == durable


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("kept", [True, False])
def test_bit_flipped_inside_a_value_is_found_by_the_hash(stored, tmp_path, compression, kept):
    entry = stored(compression)
    content = _bytes(entry.path)
    at = content.index(b"word 000100") + 5 if compression == "none" else len(content) // 2
    with open(entry.path, "r+b") as file:
        file.seek(at)
        file.write(bytes([content[at] ^ 1]))
    path = str(tmp_path / "content.db") if kept else None
    with pytest.raises(errors.BackupInvalid) as caught:
        unpacking.unpack(entry, path)
    assert caught.value.path == entry.path
    assert not (tmp_path / "content.db").exists()


@pytest.mark.parametrize("key", ["sha256", "content_sha256"])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_sum_that_is_empty_is_that_of_nothing(stored, compression, key):
    entry = stored(compression)
    with pytest.raises(errors.BackupInvalid):
        unpacking.unpack(entry._replace(manifest={**entry.manifest, key: ""}), None)


def test_size_that_the_manifest_leaves_open_is_no_leave_to_fill_the_disk(stored, tmp_path):
    entry = stored("gzip")
    raw = gzip.compress(bytes(2_000_000))
    with open(entry.path, "wb") as file:
        file.write(raw)
    known = {**entry.manifest, "size_bytes": None, "sha256": hashlib.sha256(raw).hexdigest(), "content_sha256": None}
    with pytest.raises(errors.BackupInvalid) as caught:
        unpacking.unpack(entry._replace(manifest=known, stored_bytes=len(raw)), str(tmp_path / "content.db"))
    assert "expands to more than" in caught.value.cause and not (tmp_path / "content.db").exists()


def test_content_that_is_not_that_of_the_manifest_is_found_under_a_right_outer_hash(stored):
    entry = stored("gzip")
    entry = entry._replace(manifest={**entry.manifest, "content_sha256": "00" * 32})
    with pytest.raises(errors.BackupInvalid):
        unpacking.unpack(entry, None)


def test_backup_without_manifest_is_unpacked_and_not_trusted(stored, tmp_path):
    entry = stored()
    os.unlink(manifest.path_for(entry.path))
    unpacked = unpacking.unpack(catalog.read_entry(entry.path), str(tmp_path / "content.db"))
    assert not unpacked.trusted and unpacked.size == entry.stored_bytes


def test_backup_is_examined_against_its_manifest(stored, tmp_path):
    entry = stored()
    source = {**entry.manifest["source"], "tables": {"t": 199}}
    path = str(tmp_path / "content.db")
    unpacking.unpack(entry, path)
    findings = unpacking.examine(entry._replace(manifest={**entry.manifest, "source": source}), "full", (), path)
    assert findings.status == "failed" and "expected 199 rows" in findings.summary()


def test_unpack_never_replaces_a_file(stored, tmp_path):
    (tmp_path / "content.db").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        unpacking.unpack(stored(), str(tmp_path / "content.db"))
    assert (tmp_path / "content.db").read_bytes() == b"mine"
