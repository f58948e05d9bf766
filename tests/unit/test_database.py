# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import os
import random
import sqlite3
import struct
import subprocess
import sys
import threading

import pytest
from engine import database as room
from engine import errors

ODD_NAMES = [
    b"a b.db",
    b"q'\".db",
    b"new\nline.db",
    b"%41?mode=rwc#.db",
    b"\xff\xfe.db",
    "ünïcode.db".encode(),
    b"file:x.db",
]


def _raw(path, length=100):
    with open(path, "rb") as file:
        return file.read(length)


def _descriptors():
    return len(os.listdir("/proc/self/fd"))


# --- the header ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page_size", [512, 4096, 65536])
@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
@pytest.mark.parametrize("auto_vacuum", [0, 1, 2])
def test_header_says_what_the_pragmas_say(tmp_path, page_size, encoding, auto_vacuum):
    path = str(tmp_path / "x.db")
    connection = sqlite3.connect(path)
    connection.executescript(
        f"PRAGMA page_size={page_size}; PRAGMA encoding='{encoding}'; PRAGMA auto_vacuum={auto_vacuum};"
        "PRAGMA application_id=-7; PRAGMA user_version=-42; CREATE TABLE t (x); INSERT INTO t VALUES (1);"
    )
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.close()
    header = room.check_file(path)
    assert (header.page_size, header.encoding, header.auto_vacuum) == (page_size, encoding, auto_vacuum)
    assert (header.application_id, header.user_version) == (-7, -42)
    assert header.sized and header.page_count == pages
    assert header.journal_mode == "delete"


@pytest.mark.parametrize(
    "mode, recorded", [("wal", "wal"), ("delete", "delete"), ("truncate", "delete"), ("persist", "delete")]
)
def test_header_knows_wal_from_rollback(tmp_path, make_db, mode, recorded):
    assert room.check_file(make_db(tmp_path / "x.db", mode)).journal_mode == recorded


@pytest.mark.parametrize("length", [0, 15, 16, 99])
def test_header_of_too_few_bytes_is_none(database, length):
    assert room.parse_header(_raw(database)[:length]) is None


@pytest.mark.parametrize("page_size", [0, 2, 256, 513, 4095, 40000])
def test_header_with_an_impossible_page_size_is_none(database, page_size):
    raw = bytearray(_raw(database))
    raw[16:18] = struct.pack(">H", page_size)
    assert room.parse_header(bytes(raw)) is None


def test_page_count_of_a_legacy_writer_is_not_relied_on(database):
    raw = bytearray(_raw(database))
    raw[24:28] = struct.pack(">I", struct.unpack(">I", raw[24:28])[0] + 1)
    assert not room.parse_header(bytes(raw)).sized


# --- what is no database ---------------------------------------------------------------------------------------------


def _missing(path):
    pass


def _below_a_file(path):
    path.parent.rmdir()
    path.parent.write_bytes(b"x")


def _random(path, size=8192):
    path.write_bytes(random.Random(1).randbytes(size) if hasattr(random.Random, "randbytes") else os.urandom(size))


@pytest.mark.parametrize(
    "arrange, kind",
    [
        (_missing, errors.DatabaseNotFound),
        (_below_a_file, errors.DatabaseNotFound),
        (lambda path: path.symlink_to("nowhere"), errors.DatabaseNotFound),
        (lambda path: path.mkdir(), errors.DatabaseNotAFile),
        (lambda path: os.mkfifo(path), errors.DatabaseNotAFile),  # Windows has no such name
        (lambda path: path.write_bytes(b""), errors.DatabaseEmpty),
        (lambda path: path.write_bytes(b"SQLite format 3\x00"), errors.NotADatabase),
        (lambda path: path.write_bytes(b"hello world\n" * 4096), errors.NotADatabase),
        (lambda path: path.write_bytes(b"\x00" * 8192), errors.NotADatabase),
        (lambda path: _random(path, 8191), errors.NotADatabase),
        (_random, errors.DatabaseEncrypted),
        (lambda path: _random(path, 1024), errors.DatabaseEncrypted),
    ],
    ids=[
        "missing",
        "below-a-file",
        "dangling",
        "directory",
        "fifo",
        "empty",
        "magic-only",
        "text",
        "zeros",
        "random-odd-size",
        "random",
        "random-small",
    ],
)
def test_check_file_has_an_error_for_each_thing_that_is_no_database(tmp_path, arrange, kind):
    path = tmp_path / "d" / "x.db"
    path.parent.mkdir()
    arrange(path)
    with pytest.raises(kind) as caught:
        room.check_file(str(path))
    assert type(caught.value) is kind
    assert caught.value.path == str(path)


def test_check_file_creates_nothing(tmp_path):
    with pytest.raises(errors.DatabaseNotFound):
        room.check_file(str(tmp_path / "x.db"))
    assert os.listdir(tmp_path) == []


def test_check_file_tells_a_file_that_may_not_be_read(open_place, make_db, as_nobody):
    path = make_db(open_place / "x.db")
    os.chmod(path, 0o600)

    def look():
        try:
            room.check_file(path)
        except errors.BackupError as error:
            return [error.error_code, error.path]
        return None

    if os.geteuid() == 0:
        assert as_nobody(look) == ["permission_denied", path]
    else:
        os.chmod(path, 0)
        assert look() == ["permission_denied", path]


@pytest.mark.parametrize("size", [512, 1024, 4096])
def test_entropy_takes_random_bytes_for_encrypted_and_a_real_page_not(database, size):
    for seed in range(200):
        generator = random.Random(seed)
        assert room.looks_encrypted(bytes(generator.randrange(256) for _ in range(size)))
    for offset in range(0, os.path.getsize(database), size):
        with open(database, "rb") as file:
            file.seek(offset)
            assert not room.looks_encrypted(file.read(size))


# --- connections -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ODD_NAMES, ids=repr)
@pytest.mark.parametrize("options", [{"mode": "ro"}, {"mode": "rw"}, {"immutable": True}], ids=str)
def test_connect_opens_exactly_the_named_file(tmp_path, make_db, name, options):
    path = os.path.join(str(tmp_path), os.fsdecode(name))
    os.rename(make_db(tmp_path / "plain", rows=3), path)
    connection = room.connect(path, **options)
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (3,)
    connection.close()
    assert os.listdir(os.fsencode(tmp_path)) == [name]


@pytest.mark.parametrize("options", [{"mode": "ro"}, {"mode": "rw"}, {"immutable": True}], ids=str)
def test_connect_never_creates_a_file(tmp_path, options):
    with pytest.raises(sqlite3.OperationalError):
        room.connect(str(tmp_path / "x.db"), **options)
    assert os.listdir(tmp_path) == []


def test_text_that_is_no_utf8_can_be_read(database):
    connection = room.connect(database)
    assert connection.execute("SELECT CAST(x'ff41' AS TEXT)").fetchone() == ("\udcffA",)
    connection.close()


def test_damage_that_sqlite_tells_in_words_that_are_no_utf8_is_an_error_of_sqlite(database):
    with open(database, "r+b") as file:
        raw = file.read()
        file.seek(raw.index(b"CREATE TABLE"))
        file.write(b"\xeb\x06EATE TABL")
        file.seek(raw.index(b"tablet") + 5)
        file.write(b"\xeb")
    connection = room.connect(database)
    with pytest.raises(sqlite3.DatabaseError) as told:
        connection.execute("PRAGMA page_count")
    connection.close()
    error = room.translate(told.value, database)
    assert error.error_code == "database_corrupt" and error.message.replace("\n", "").isprintable()


def test_sidecars_lists_those_that_are_there(tmp_path):
    (tmp_path / "x.db-wal").write_bytes(b"123")
    (tmp_path / "x.db-journal").write_bytes(b"")
    assert room.sidecars(str(tmp_path / "x.db")) == {"-wal": 3, "-journal": 0}


# --- safety rule 8: the process's locks survive raw reading ----------------------------------------------------------

_TRY_TO_WRITE = """
import sqlite3, sys
c = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
try:
    c.execute("BEGIN EXCLUSIVE"); c.execute("INSERT INTO t (word) VALUES ('intruder')"); c.execute("COMMIT")
except sqlite3.OperationalError:
    sys.exit(3)
"""


def _another_process_can_write(path):
    code = subprocess.run([sys.executable, "-c", _TRY_TO_WRITE, path]).returncode
    assert code in (0, 3)
    return code == 0


def test_raw_reading_drops_no_lock_of_this_process(database):
    connection = room.connect(database)
    room.begin_read(connection)
    connection.execute("SELECT * FROM t").fetchone()
    room.check_file(database)
    room.read_prefix(database)
    assert not _another_process_can_write(database)
    connection.close()
    assert _another_process_can_write(database)


def test_raw_reading_by_another_name_drops_no_lock_either(tmp_path, database):
    os.link(database, tmp_path / "second.db")
    (tmp_path / "third.db").symlink_to(database)
    connection = room.connect(database)
    room.begin_read(connection)
    room.read_prefix(str(tmp_path / "second.db"))
    room.read_prefix(str(tmp_path / "third.db"))
    assert not _another_process_can_write(database)
    connection.close()


def test_a_plain_close_would_have_dropped_the_lock(database):
    """The test of the tests above: without the parking, the same check sees the lock go."""
    connection = room.connect(database)
    room.begin_read(connection)
    os.close(os.open(database, os.O_RDONLY))
    assert _another_process_can_write(database)
    connection.close()


def test_parked_descriptors_are_closed_with_the_last_connection(database):
    before = _descriptors()
    first, second = room.connect(database), room.connect(database)
    for _ in range(3):
        room.read_prefix(database)
    first.close()
    first.close()
    room.begin_read(second)
    assert not _another_process_can_write(database)
    second.close()
    assert _descriptors() == before
    room.read_prefix(database)
    assert _descriptors() == before


def test_lock_that_somebody_takes_while_parked_descriptors_are_closed_is_kept(database, monkeypatch):
    """Between the last connection's end and the close, another thread may open one and take its lock."""
    first = room.connect(database)
    room.read_prefix(database)
    real, opened, threads = os.close, [], []

    def open_another():
        second = room.connect(database)
        room.begin_read(second)
        opened.append(second)

    def close(descriptor):
        if not threads:
            threads.append(threading.Thread(target=open_another))
            guarded = room._guard.locked()
            threads[0].start()
            if not guarded:
                threads[0].join()
        real(descriptor)

    monkeypatch.setattr(os, "close", close)
    first.close()
    monkeypatch.undo()
    threads[0].join()
    assert not _another_process_can_write(database)
    opened[0].close()


# --- opening a live database -----------------------------------------------------------------------------------------

_KILLED_IN_A_TRANSACTION = """
import sqlite3, sys, os
c = sqlite3.connect(sys.argv[1], isolation_level=None)
c.execute("PRAGMA cache_size=2")
c.execute("BEGIN")
c.execute("UPDATE t SET word = 'torn ' || id")
print("ready", flush=True); sys.stdin.read()
"""


@pytest.fixture
def hot_journal(tmp_path, make_db, child):
    """A database whose writer was killed after a part of its transaction had reached the file."""
    path = make_db(tmp_path / "hot.db", rows=5000)
    process = child(_KILLED_IN_A_TRANSACTION, path)
    assert process.stdout.readline().strip() == b"ready"
    process.kill()
    process.wait()
    assert os.path.getsize(path + "-journal") > 512
    with open(path, "rb") as file:
        assert b"torn " in file.read()
    return path


def _open(path, busy_timeout=0.0):
    return room.open_live(path, room.check_file(path), busy_timeout)


def test_open_live_rolls_a_hot_journal_back(hot_journal):
    connection = _open(hot_journal)
    assert connection.execute("SELECT count(*) FROM t WHERE word LIKE 'torn%'").fetchone() == (0,)
    connection.close()


def test_open_live_is_busy_while_a_transaction_is_being_written(tmp_path, make_db, child):
    path = make_db(tmp_path / "x.db", rows=5000)
    process = child(_KILLED_IN_A_TRANSACTION, path)
    process.stdout.readline()
    with pytest.raises(errors.DatabaseBusy):
        _open(path)


def test_open_live_leaves_no_sidecar_of_a_wal_database_that_had_none(tmp_path, make_db):
    path = make_db(tmp_path / "x.db", "wal")
    connection = _open(path)
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (200,)
    connection.close()
    assert os.listdir(tmp_path) == ["x.db"]


def test_open_live_leaves_the_sidecars_of_an_application_that_is_connected(tmp_path, make_db, holding):
    path = make_db(tmp_path / "x.db", "wal")
    with holding(path, "INSERT INTO t (word) VALUES ('in the log')"):
        before = room.sidecars(path)
        connection = _open(path)
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (201,)
        connection.close()
        assert room.sidecars(path) == before and before["-wal"] > 0


@pytest.mark.parametrize("without_shm", [False, True])
def test_open_live_sees_what_a_killed_application_left_in_the_log(tmp_path, make_db, holding, without_shm):
    path = make_db(tmp_path / "x.db", "wal")
    with holding(path, "INSERT INTO t (word) VALUES ('in the log')"):
        pass
    if without_shm:
        os.unlink(path + "-shm")
    connection = _open(path)
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (201,)
    connection.close()


def test_open_live_refuses_to_create_sidecars_that_lock_the_application_out(open_place, make_db, as_nobody):
    path = make_db(open_place / "x.db", "wal")
    os.chmod(path, 0o644)
    if os.geteuid() == 0:
        assert as_nobody(lambda: _code_of(lambda: _open(path))) == "permission_denied"
        assert os.listdir(open_place) == ["x.db"]


def test_open_live_creates_sidecars_where_everybody_may_write_them(open_place, make_db, as_nobody):
    path = make_db(open_place / "x.db", "wal")
    os.chmod(path, 0o666)
    assert as_nobody(lambda: _count(path)) == 200
    assert os.listdir(open_place) == ["x.db"]


def test_open_live_reads_a_quiet_wal_database_in_a_directory_that_cannot_be_written(open_place, make_db, as_nobody):
    (open_place / "ro").mkdir()
    path = make_db(open_place / "ro" / "x.db", "wal")
    os.chmod(path, 0o644)
    os.chmod(open_place / "ro", 0o555)
    assert as_nobody(lambda: _count(path)) == 200
    assert os.listdir(open_place / "ro") == ["x.db"]


def test_reading_without_locks_notices_a_change(open_place, make_db, as_nobody):
    (open_place / "ro").mkdir()
    path = make_db(open_place / "ro" / "x.db", "wal")
    os.chmod(path, 0o666)
    os.chmod(open_place / "ro", 0o555)

    def change_while_reading():
        connection = _open(path)
        room.require_quiet(connection)
        with open(path, "r+b") as file:
            file.seek(5000)
            file.write(b"x")
        return _code_of(lambda: room.require_quiet(connection))

    assert as_nobody(change_while_reading) == "database_busy"


def test_reading_without_locks_refuses_a_log_that_it_cannot_read(open_place, make_db, holding, as_nobody):
    (open_place / "ro").mkdir()
    path = make_db(open_place / "ro" / "x.db", "wal")
    with holding(path, "INSERT INTO t (word) VALUES ('in the log')"):
        pass
    os.unlink(path + "-shm")
    os.chmod(path, 0o644)
    os.chmod(path + "-wal", 0o644)
    os.chmod(open_place / "ro", 0o555)
    assert as_nobody(lambda: _code_of(lambda: _open(path))) == "read_only"


def _code_of(call):
    try:
        call()
    except errors.BackupError as error:
        return error.error_code
    return None


def _count(path):
    connection = _open(path)
    try:
        return connection.execute("SELECT count(*) FROM t").fetchone()[0]
    finally:
        connection.close()


# --- SQLite's errors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, code",
    [
        ("database is locked", "database_busy"),
        ("database or disk is full", "no_space"),
        ("attempt to write a readonly database", "read_only"),
        ("file is not a database", "not_a_database"),
        ("database disk image is malformed", "database_corrupt"),
        ("malformed database schema (t) - no such function: f", "unverifiable"),
        ("no such collation sequence: german", "unverifiable"),
        ("no such module: fts9", "unverifiable"),
        ("unsupported file format", "unverifiable"),
        ("unable to open database file", "permission_denied"),
        ("disk I/O error", "io_error"),
        ("something else", "io_error"),
    ],
)
def test_translate_tells_the_cause_by_its_text(text, code):
    error = room.translate(sqlite3.OperationalError(text), "/srv/x.db")
    assert error.error_code == code and error.path == "/srv/x.db" and text in error.message


def test_translate_of_an_io_error_names_what_sqlite_does_not_tell_apart():
    assert "quotas" in room.translate(sqlite3.OperationalError("disk I/O error"), "/srv/x.db").message


def test_sidecar_that_may_not_be_opened_is_named(tmp_path, monkeypatch):
    path = str(tmp_path / "app.db")
    beside = path + "-shm"
    for each in (path, beside):
        open(each, "wb").close()
    monkeypatch.setattr(os, "access", lambda tried, _mode: tried != beside)
    error = room.translate(sqlite3.OperationalError(room.CANNOT_OPEN), path)
    assert error.error_code == "permission_denied" and error.path == beside
