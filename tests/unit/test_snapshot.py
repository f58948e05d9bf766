# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every copy is checked by an invariant that only a consistent state keeps."""

from __future__ import annotations

import os
import sqlite3

import pytest
import sample_app
from engine import database as database_room
from engine import errors, files, snapshot, verify

METHODS = ["online", "vacuum", "clone"]
MODES = ["wal", "delete"]
ODD_NAMES = [b"a b.db", b"q'\".db", b"new\nline.db", b"%41?mode=rwc#.db", b"\xff\xfe.db"]


@pytest.fixture
def copy(tmp_path):
    """copy(path, method) -> (Snapshot, path of the copy)."""
    (tmp_path / "copies").mkdir()
    taken = []

    def take(path, method="auto", name=None, **options):
        target = os.path.join(str(tmp_path / "copies"), os.fsdecode(name or f"{len(taken)}.db"))
        taken.append(target)
        files.create_new(target)
        return snapshot.take(os.fspath(path), target, method, **options), target

    return take


def _bytes(path):
    with open(path, "rb") as file:
        return file.read()


def _rows(path):
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT count(*) FROM t").fetchone()[0]
    finally:
        connection.close()


# --- while another process writes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("journal_mode", MODES)
@pytest.mark.parametrize("method", METHODS)
def test_copy_is_consistent_while_another_process_writes(tmp_path, writing, copy, monkeypatch, method, journal_mode):
    monkeypatch.setattr(database_room, "STEP_PAGES", 16)
    live = str(tmp_path / "app.db")
    sample_app.create(live, journal_mode, mib=1)
    counts = []
    with writing(live):
        for _ in range(3):
            taken, target = copy(live, method)
            assert taken.method == method and taken.header.journal_mode == journal_mode
            assert database_room.sidecars(target) == {}
            assert verify.verify(target).status == "ok"
            counts.append(sample_app.check(target)["ledger"])
    assert counts[0] >= 1 and counts == sorted(counts)
    assert sample_app.check(live)["ledger"] >= counts[-1]


def test_copy_is_of_one_instant_and_does_not_start_again_when_others_commit(tmp_path, make_db, copy, monkeypatch):
    monkeypatch.setattr(database_room, "STEP_PAGES", 4)
    live = make_db(tmp_path / "x.db", "wal", rows=5000)
    application = sqlite3.connect(live, isolation_level=None)
    remaining = []

    def commit(done, total):
        remaining.append(total - done)
        application.execute("INSERT INTO t (word) VALUES ('later')")

    _taken, target = copy(live, "online", progress=commit)
    application.close()
    assert len(remaining) > 10 and remaining == sorted(remaining, reverse=True)
    assert _rows(target) == 5000 and _rows(live) == 5000 + len(remaining)


def test_writers_of_a_rollback_database_wait_until_it_is_read_and_no_longer(tmp_path, make_db, copy, monkeypatch):
    monkeypatch.setattr(database_room, "STEP_PAGES", 4)
    live = make_db(tmp_path / "x.db", rows=1000)
    application = sqlite3.connect(live, isolation_level=None, timeout=0)
    outcomes = {"reading": [], "syncing": []}

    def try_to_write(when):
        try:
            application.execute("INSERT INTO t (word) VALUES ('x')")
            outcomes[when].append("written")
        except sqlite3.OperationalError:
            outcomes[when].append("locked")

    real = files.sync
    monkeypatch.setattr(files, "sync", lambda path: (try_to_write("syncing"), real(path)))
    copy(live, "online", progress=lambda done, total: try_to_write("reading"))
    application.close()
    assert set(outcomes["reading"]) == {"locked"} and outcomes["syncing"] == ["written"]


# --- the copy --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("journal_mode", MODES)
def test_copy_is_one_file_whose_wal_flag_is_cleared(tmp_path, make_db, copy, method, journal_mode):
    taken, target = copy(make_db(tmp_path / "x.db", journal_mode), method)
    assert taken.header.journal_mode == journal_mode
    assert database_room.check_file(target).journal_mode == "delete"
    connection = sqlite3.connect(target)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    assert os.listdir(os.path.dirname(target)) == ["0.db"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("page_size", [512, 65536])
def test_copy_keeps_what_the_header_says(tmp_path, make_db, copy, method, page_size):
    live = str(tmp_path / "x.db")
    connection = sqlite3.connect(live)
    connection.executescript(
        f"PRAGMA page_size={page_size}; PRAGMA encoding='UTF-16be'; PRAGMA auto_vacuum=2; PRAGMA application_id=77;"
        "PRAGMA user_version=-5; CREATE TABLE t (x); INSERT INTO t VALUES ('äöü');"
    )
    connection.close()
    _taken, target = copy(live, method)
    for field in ("page_size", "encoding", "auto_vacuum", "application_id", "user_version"):
        assert getattr(database_room.check_file(target), field) == getattr(database_room.check_file(live), field)


@pytest.mark.parametrize("method", METHODS)
def test_copy_holds_what_is_still_in_the_log(tmp_path, make_db, copy, holding, method):
    live = make_db(tmp_path / "x.db", "wal")
    with holding(live, "PRAGMA wal_autocheckpoint=0", "INSERT INTO t (word) VALUES ('in the log')"):
        taken, target = copy(live, method)
    assert _rows(target) == 201
    assert taken.source_bytes > os.path.getsize(live)


def test_online_copies_of_one_state_are_equal_byte_for_byte(tmp_path, make_db, copy):
    live = make_db(tmp_path / "x.db", "wal")
    first, second = copy(live, "online")[1], copy(live, "online")[1]
    assert _bytes(first) == _bytes(second)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ODD_NAMES, ids=repr)
def test_copy_from_and_to_odd_names(tmp_path, make_db, copy, method, name):
    live = os.path.join(str(tmp_path), os.fsdecode(b"live " + name))
    os.rename(make_db(tmp_path / "plain"), live)
    _taken, target = copy(live, method, name)
    assert os.path.getsize(target) > 0
    assert verify.verify(target).tables == {"t": 200}
    assert os.listdir(os.fsencode(tmp_path / "copies")) == [name]


@pytest.mark.parametrize("method", METHODS)
def test_copy_of_a_link_is_of_the_file_behind_it(tmp_path, database, copy, method):
    (tmp_path / "link.db").symlink_to(database)
    _taken, target = copy(tmp_path / "link.db", method)
    assert _rows(target) == 200 and not os.path.islink(target)


def test_copy_is_synced_after_the_last_change_to_it(tmp_path, make_db, copy, monkeypatch):
    synced = []
    monkeypatch.setattr(files, "sync", lambda path: synced.append(_bytes(path)))
    _taken, target = copy(make_db(tmp_path / "x.db", "wal"))
    assert synced == [_bytes(target)]


# --- the source ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("journal_mode", MODES)
def test_quiet_source_is_left_as_it_was(tmp_path, make_db, copy, method, journal_mode):
    (tmp_path / "live").mkdir()
    live = make_db(tmp_path / "live" / "x.db", journal_mode)
    before, listing = _bytes(live), os.listdir(tmp_path / "live")
    copy(live, method)
    assert (_bytes(live), os.listdir(tmp_path / "live")) == (before, listing)


@pytest.mark.parametrize("method", METHODS)
def test_rollback_source_is_not_even_touched(database, copy, method):
    before = os.stat(database)
    copy(database, method)
    after = os.stat(database)
    assert (after.st_mtime_ns, after.st_ctime_ns, after.st_ino) == (
        before.st_mtime_ns,
        before.st_ctime_ns,
        before.st_ino,
    )


@pytest.mark.parametrize("method", METHODS)
def test_source_that_stays_locked_is_busy_and_names_the_holder(tmp_path, make_db, copy, holding, method):
    live = make_db(tmp_path / "x.db")
    with holding(live, "BEGIN EXCLUSIVE") as process:
        with pytest.raises(errors.DatabaseBusy) as caught:
            copy(live, method, busy_timeout=0.1)
        assert [row["pid"] for row in caught.value.details["processes"]] == [process.pid]
        assert f"pid {process.pid}" in caught.value.message and live in caught.value.message


@pytest.mark.parametrize("method", METHODS)
def test_source_that_is_locked_in_wal_mode_is_busy(tmp_path, make_db, copy, holding, method):
    live = make_db(tmp_path / "x.db", "wal")
    statements = ("PRAGMA locking_mode=EXCLUSIVE", "INSERT INTO t (word) VALUES ('x')")
    with holding(live, *statements), pytest.raises(errors.DatabaseBusy):
        copy(live, method, busy_timeout=0.1)


def test_source_that_becomes_free_in_time_is_copied(tmp_path, make_db, copy, child):
    live = make_db(tmp_path / "x.db")
    process = child(
        "import sqlite3, sys, time\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('BEGIN EXCLUSIVE'); print('ready', flush=True); time.sleep(0.3); c.execute('COMMIT')\n",
        live,
    )
    process.stdout.readline()
    _taken, target = copy(live, busy_timeout=60)
    assert _rows(target) == 200


@pytest.mark.parametrize("method", METHODS)
def test_copy_after_a_killed_transaction_has_the_old_content(tmp_path, make_db, copy, child, method):
    live = make_db(tmp_path / "x.db", rows=5000)
    process = child(
        "import sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('PRAGMA cache_size=2'); c.execute('BEGIN'); c.execute(\"UPDATE t SET word = 'torn ' || id\")\n"
        "print('ready', flush=True); sys.stdin.read()\n",
        live,
    )
    process.stdout.readline()
    process.kill()
    process.wait()
    assert os.path.getsize(live + "-journal") > 0
    _taken, target = copy(live, method)
    connection = sqlite3.connect(target)
    assert connection.execute("SELECT count(*) FROM t WHERE word LIKE 'torn%'").fetchone() == (0,)
    connection.close()
    assert verify.verify(target).status == "ok"


@pytest.mark.parametrize("method", METHODS)
def test_damaged_source_is_told_or_caught_by_the_verification(tmp_path, make_db, copy, method):
    live = make_db(tmp_path / "x.db", rows=5000)
    with open(live, "r+b") as file:
        for page in range(2, 12):
            file.seek(4096 * page)
            file.write(b"\xde\xad\xbe\xef" * 1024)
    try:
        _taken, target = copy(live, method)
    except errors.DatabaseCorrupt:
        return
    assert verify.verify(target).status == "corrupt"


@pytest.mark.parametrize(
    "content, kind",
    [(None, errors.DatabaseNotFound), (b"", errors.DatabaseEmpty), (b"text" * 2000, errors.NotADatabase)],
)
def test_source_that_is_no_database_is_refused(tmp_path, copy, content, kind):
    live = tmp_path / "x.db"
    if content is not None:
        live.write_bytes(content)
    with pytest.raises(kind):
        copy(live)
    assert live.exists() == (content is not None)


def test_unknown_method_is_refused_by_name(database, copy):
    with pytest.raises(errors.UsageError) as caught:
        copy(database, "clone-of-sorts")
    assert "clone-of-sorts" in caught.value.message and "vacuum" in caught.value.message


@pytest.mark.parametrize("method", ["auto", "online", "vacuum", "clone"])
def test_choice_carries_its_reason(tmp_path, make_db, method):
    for mode in MODES:
        path = make_db(tmp_path / f"{mode}.db", mode)
        chosen, reason = snapshot.choose(method, database_room.check_file(path), path)
        assert chosen == ("clone" if method == "auto" else method) and reason


# --- the flag --------------------------------------------------------------------------------------------------------


def test_wal_flag_is_set_and_cleared_and_nothing_else(database):
    before = _bytes(database)
    snapshot.set_wal_flag(database, True)
    flagged = _bytes(database)
    assert flagged[18:20] == b"\x02\x02" and flagged[:18] + flagged[20:] == before[:18] + before[20:]
    assert database_room.check_file(database).journal_mode == "wal"
    snapshot.set_wal_flag(database, False)
    assert _bytes(database) == before


def test_wal_flag_of_a_future_format_is_left_alone(database):
    with open(database, "r+b") as file:
        file.seek(18)
        file.write(b"\x03\x03")
    before = _bytes(database)
    snapshot.set_wal_flag(database, False)
    assert _bytes(database) == before
