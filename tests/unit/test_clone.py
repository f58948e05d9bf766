# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What may happen to a live database while its bytes are copied, one thing after the other at a known moment.

tests/stress/clone_attack.py lets everything happen at once; the last test here runs it for a moment.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import sqlite3
import subprocess
import sys

import pytest
from engine import behind, clone, copying, errors, files, mounts, snapshot, verify
from engine import database as database_room

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="clones are made on Linux only")
ATTACK = pathlib.Path(__file__).resolve().parent.parent / "stress" / "clone_attack.py"
PAGE = 4096


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch):
    monkeypatch.setattr(copying, "PIECE", 4 * PAGE)


@pytest.fixture
def live(tmp_path):
    """live(mode) -> (path, an open connection): 100 rows, each of which fills a page and says in which round it was."""
    connections = []

    def make(mode="wal"):
        path = str(tmp_path / "live.db")
        connection = sqlite3.connect(path, isolation_level=None, timeout=0)
        connections.append(connection)
        connection.execute(f"PRAGMA journal_mode={mode}")
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute("CREATE TABLE page (id INTEGER PRIMARY KEY, round INTEGER, body BLOB)")
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100) "
            "INSERT INTO page SELECT i, 0, randomblob(3900) FROM n"
        )
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return path, connection

    yield make
    for connection in connections:
        connection.close()


def next_round(connection, rows=100):
    """One transaction that changes so many pages; before it and after it all rows are of one round."""
    connection.execute("UPDATE page SET round = round + 1, body = randomblob(3900) WHERE id <= ?", (rows,))


def rounds(path):
    with contextlib.closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [row for (row,) in connection.execute("SELECT DISTINCT round FROM page ORDER BY 1")]


@pytest.fixture
def take(tmp_path):
    """take(path, progress) -> (Snapshot, path of the copy), of which the hash is checked."""

    def clone_it(path, progress=None, method="clone"):
        target = str(tmp_path / "copy.db")
        files.remove(target)
        files.create_new(target)
        taken = snapshot.take(path, target, method, busy_timeout=0.2, progress=progress, hashing=True)
        with contextlib.closing(taken.digest):
            assert taken.digest.hexdigest() == files.sha256(target)
        assert database_room.sidecars(target) == {} and verify.verify(target).status == "ok"
        return taken, target

    return clone_it


def at(moment, action):
    """A progress callback that acts once, as soon as so many bytes were copied."""
    done = []

    def progress(copied, _total):
        if copied >= moment and not done:
            done.append(True)
            action()

    return progress


# --- in WAL mode -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("checkpoint", ["PASSIVE", "FULL", "RESTART", "TRUNCATE"])
@pytest.mark.parametrize("folded", [True, False], ids=["log folded before", "log not folded"])
def test_commits_and_checkpoints_while_the_file_is_copied(live, take, folded, checkpoint):
    path, application = live()
    next_round(application)
    if folded:
        application.execute("PRAGMA wal_checkpoint(FULL)").fetchall()

    def disturb():
        next_round(application)
        application.execute(f"PRAGMA wal_checkpoint({checkpoint})").fetchall()
        next_round(application)

    taken, copy = take(path, at(40 * PAGE, disturb))
    assert taken.method == "clone" and taken.reason.endswith("by copy_file_range")
    found = rounds(copy)
    assert len(found) == 1 and found[0] in (1, 2, 3)


@pytest.fixture
def starting_again(live, monkeypatch):
    """A database whose log is all in the file; it starts again, by a large commit, after its first piece was copied.

    Its first frames are those of a small commit, by which one row was of another round than in the end. The method does
    not copy such a log; here it is told that it needs it.
    """
    path, application = live()
    next_round(application, rows=1)
    application.execute("UPDATE page SET round = 3, body = randomblob(3900)")
    application.execute("PRAGMA wal_checkpoint(FULL)").fetchall()
    monkeypatch.setattr(clone.Index, "log_bytes", lambda _index, _page_size: os.path.getsize(path + "-wal"))
    real, pieces = os.copy_file_range, []

    def copy(reader, *arguments):
        if os.readlink(f"/proc/self/fd/{reader}").endswith("-wal"):
            pieces.append(1)
            if len(pieces) == 2:
                next_round(application)
        return real(reader, *arguments)

    monkeypatch.setattr(os, "copy_file_range", copy)
    yield path
    assert len(pieces) > 2


def test_log_that_starts_again_while_it_is_copied_is_thrown_away(starting_again, take):
    taken, copy = take(starting_again)
    assert taken.method == "online" and "its log was gone" in taken.reason and rounds(copy) == [4]


def test_such_a_log_would_not_be_replayed_to_the_end(starting_again, take, monkeypatch):
    real, seen = clone._salts, []
    monkeypatch.setattr(clone, "_salts", lambda reader: seen.append(real(reader)) or seen[0])
    taken, copy = take(starting_again)
    assert taken.method == "online" and "could not be replayed to the end" in taken.reason and rounds(copy) == [4]


def test_without_both_such_a_log_would_bring_old_pages_back(starting_again, take, monkeypatch):
    """The trap is real, so the tests before can find it."""
    real_salts, real_index, seen = clone._salts, clone._index, []
    monkeypatch.setattr(clone, "_salts", lambda reader: seen.append(real_salts(reader)) or seen[0])
    monkeypatch.setattr(clone, "_index", lambda *arguments: real_index(*arguments)._replace(frames=0))
    target = str(pathlib.Path(starting_again).parent / "copy.db")
    files.create_new(target)
    assert snapshot.take(starting_again, target, "clone").method == "clone" and rounds(target) == [1, 3]


def test_log_that_the_file_has_all_of_is_not_copied(live, take, monkeypatch):
    path, application = live()
    for _round in range(3):
        next_round(application)
    application.execute("PRAGMA wal_checkpoint(FULL)").fetchall()
    monkeypatch.setattr(clone, "_copy_log", None)
    taken, copy = take(path, method="auto")
    assert taken.method == "clone" and rounds(copy) == [3]


def test_only_as_much_of_a_log_is_copied_as_has_been_committed(live, take, monkeypatch):
    """A log keeps the length that it once had, and a transaction that is under way appends to it."""
    path, application = live()
    for _round in range(3):
        next_round(application)
    application.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
    next_round(application, rows=100)
    frames = clone_index(path).frames
    application.execute("PRAGMA cache_size=5")
    application.execute("BEGIN")
    next_round(application)
    real, lengths = copying.move, []
    monkeypatch.setattr(copying, "move", lambda *arguments: lengths.append(arguments[2]) or real(*arguments))
    taken, copy = take(path)
    application.execute("ROLLBACK")
    assert taken.method == "clone" and rounds(copy) == [4]
    assert lengths[-1] == 32 + frames * (24 + PAGE) < os.path.getsize(path + "-wal")


def clone_index(path):
    reader = files.open_regular(path)
    try:
        return clone._index(path, reader)
    finally:
        database_room.close_raw(reader)


def test_commit_and_checkpoint_while_the_index_is_read_leave_no_page_out(live, take, monkeypatch):
    """A checkpoint leaves a page out that a later frame has too, which it may not copy yet, and counts the earlier
    frame as copied: an index of which the end was read later than its beginning would hide that.
    """
    path, application = live()
    next_round(application)
    real, torn = os.pread, []

    def pread(descriptor, length, offset):
        if length != clone._INDEX.size or torn:
            return real(descriptor, length, offset)
        torn.append(True)
        header = real(descriptor, 96, offset)
        next_round(application, rows=50)
        application.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        return header + real(descriptor, length - 96, offset + 96)

    monkeypatch.setattr(os, "pread", pread)
    taken, copy = take(path)
    assert torn and taken.method == "clone" and rounds(copy) == [1, 2]


@pytest.mark.parametrize("mode", ["wal", "delete"])
@pytest.mark.parametrize("when", ["before it is read", "while it is read"])
def test_file_that_is_renamed_over_it_is_not_read_under_a_lock_of_the_old_one(live, take, monkeypatch, mode, when):
    path, application = live(mode)
    next_round(application)
    other = path + ".other"
    with contextlib.closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE page (round)")
        connection.execute("INSERT INTO page VALUES (7)")
        connection.commit()

    def exchange():
        application.close()
        for suffix in database_room.SIDECARS:
            files.remove(path + suffix)
        os.replace(other, path)

    if when == "before it is read":
        real = database_room.begin_read

        def begin(connection):
            real(connection)
            if os.path.exists(other):
                exchange()

        monkeypatch.setattr(database_room, "begin_read", begin)
        taken, copy = take(path)
    else:
        taken, copy = take(path, at(40 * PAGE, exchange))
    assert taken.method == "online"
    if (mode, when) != ("wal", "before it is read"):  # There it is the index that is missing.
        assert "another file has taken its place" in taken.reason
    assert rounds(copy) == [7] and taken.header.journal_mode == "delete"


def test_clone_that_is_given_up_after_its_log_was_copied_leaves_none_beside_the_copy(live, take, monkeypatch):
    path, application = live()
    next_round(application)
    monkeypatch.setattr(clone, "_disturbed", lambda *_arguments: "somebody was there")
    taken, copy = take(path)
    assert taken.method == "online" and "somebody was there" in taken.reason and rounds(copy) == [1]


def test_log_that_was_started_again_before_it_is_copied_is_not_needed(live, take):
    path, application = live()
    next_round(application)
    application.execute("PRAGMA wal_checkpoint(FULL)").fetchall()
    taken, copy = take(path, at(90 * PAGE, lambda: next_round(application)))
    assert taken.method == "clone" and rounds(copy) == [1]


def test_log_with_a_bad_frame_is_read_by_sqlite_instead(live, take):
    path, application = live()
    next_round(application)
    next_round(application)
    with open(path + "-wal", "r+b") as log:
        log.seek(32 + 50 * (PAGE + 24) + 16)
        log.write(b"\xff" * 4)
    taken, copy = take(path)
    assert taken.method == "online" and "its log could not be replayed to the end" in taken.reason
    assert rounds(copy) == [2]


def test_log_that_somebody_removed_is_an_error_and_no_copy(live, take):
    path, application = live()
    next_round(application)
    with pytest.raises(errors.IoError, match="SQLite says"):
        take(path, at(40 * PAGE, lambda: os.rename(path + "-wal", path + "-wal.away")))
    os.rename(path + "-wal.away", path + "-wal")


def test_database_that_shrinks_while_it_is_copied(live, take):
    path, application = live()
    application.execute("PRAGMA auto_vacuum=FULL")
    application.execute("VACUUM")
    application.execute("DELETE FROM page WHERE id > 20")
    size = os.path.getsize(path)
    shrink = at(10 * PAGE, lambda: application.execute("PRAGMA wal_checkpoint(FULL)").fetchall())
    taken, copy = take(path, shrink)
    assert taken.method == "clone" and os.path.getsize(copy) < size and rounds(copy) == [0]


def test_clones_of_one_state_are_equal_whether_the_log_was_folded_or_not_and_equal_what_sqlite_copies(live, take):
    path, application = live()
    next_round(application)
    with open(take(path)[1], "rb") as file:
        first = file.read()
    application.execute("PRAGMA wal_checkpoint(FULL)").fetchall()
    for method in ("clone", "online"):
        taken, copy = take(path, method=method)
        with open(copy, "rb") as file:
            assert taken.method == method and file.read() == first


@pytest.mark.parametrize("rows", [1, 50, 100])
def test_hash_is_right_whatever_the_log_changes(live, take, monkeypatch, rows):
    path, application = live()
    next_round(application, rows)
    monkeypatch.setattr(clone, "_LOOKED_AT", 60)
    assert take(path)[0].method == "clone"


def test_lock_of_another_reader_in_rollback_mode_outlives_a_clone(live, take):
    """No descriptor is closed that would take the locks of other connections of this process with it."""
    path, application = live("delete")
    reader = database_room.connect(path)
    database_room.begin_read(reader)
    take(path)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        next_round(application)
    reader.execute("COMMIT")
    next_round(application)
    reader.close()


def test_lock_of_another_reader_in_wal_mode_outlives_a_clone(live, take):
    path, application = live()
    next_round(application)
    reader = database_room.connect(path)
    database_room.begin_read(reader)
    take(path)
    next_round(application)
    child = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); print(*c.execute('PRAGMA wal_checkpoint(TRUNCATE)'))"
    )
    said = subprocess.run([sys.executable, "-c", child, path], capture_output=True, text=True, check=True).stdout
    assert said.startswith("(1,"), "the checkpoint of another process must find the reader's lock"
    assert reader.execute("SELECT max(round) FROM page").fetchone() == (1,)
    reader.close()


def test_disk_is_used_gently_from_the_first_commit_of_somebody_else_on(live, take, monkeypatch):
    seen = []

    class Noted(behind.Passing):
        def __init__(self, *arguments, gently, **options):
            super().__init__(*arguments, gently=gently, **options)
            self.ask = gently

        def __call__(self, done):
            seen.append(self.ask())
            super().__call__(done)

    monkeypatch.setattr(behind, "Passing", Noted)
    path, application = live()
    take(path, at(40 * PAGE, lambda: next_round(application)))
    assert seen[0] is False and seen[-1] is True and seen == sorted(seen)


# --- where the argument does not hold --------------------------------------------------------------------------------


def test_writer_that_keeps_to_no_lock_is_noticed(live, take):
    path, _application = live("delete")

    def write():
        with open(path, "r+b") as file:
            file.seek(50 * PAGE + 2000)
            file.write(b"x")

    taken, _copy = take(path, at(40 * PAGE, write))
    assert taken.method == "online" and "somebody does not keep to the locks" in taken.reason


def _reason(path, method="clone"):
    return snapshot.choose(method, database_room.check_file(path), path)


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "overlay", "9p", None])
def test_other_filesystems_are_left_to_sqlite(live, take, monkeypatch, kind):
    path, _application = live()
    monkeypatch.setattr(mounts, "filesystem", lambda _path: kind)
    taken, copy = take(path)
    assert taken.method == "online" and str(kind or "unknown") in taken.reason and rounds(copy) == [0]
    assert _reason(path, "auto")[0] == "online"


def test_other_systems_are_left_to_sqlite(live, monkeypatch):
    path, _application = live()
    monkeypatch.setattr(clone.sys, "platform", "freebsd14")
    assert _reason(path)[0] == "online" and "Linux only" in _reason(path)[1]


def test_dotfile_locks_are_left_to_sqlite(live):
    path, _application = live()
    os.mkdir(path + ".lock")
    assert _reason(path)[0] == "online" and ".lock" in _reason(path)[1]


def test_log_index_that_may_not_be_shared_is_left_to_sqlite(live, take, monkeypatch):
    path, _application = live()
    real = os.access
    monkeypatch.setattr(os, "access", lambda name, mode: not str(name).endswith("-shm") and real(name, mode))
    taken, copy = take(path)
    assert taken.method == "online" and "-shm" in taken.reason and rounds(copy) == [0]


def test_log_index_that_cannot_be_read_is_left_to_sqlite(live, take, monkeypatch):
    path, _application = live()
    monkeypatch.setattr(clone, "_INDEX_VERSION", 4007000)
    taken, copy = take(path)
    assert taken.method == "online" and "the index of its log cannot be read" in taken.reason and rounds(copy) == [0]


def test_schema_that_this_sqlite_does_not_understand_is_left_to_sqlite(live, tmp_path):
    path, application = live("delete")
    application.execute("PRAGMA writable_schema=ON")
    application.execute("UPDATE sqlite_master SET sql = 'CREATE TABLE page (id INTEGER) WITH NEWER OPTIONS'")
    target = str(tmp_path / "copy.db")
    files.create_new(target)
    taken = snapshot.take(path, target, "clone")
    assert taken.method == "online" and "SQLite cannot be asked" in taken.reason
    assert os.path.getsize(target) == os.path.getsize(path)


def test_this_sqlite_may_not_lock_exclusively(live, take, monkeypatch):
    path, _application = live("delete")
    real = database_room.begin_read

    def exclusively(connection):
        connection.execute("PRAGMA locking_mode=EXCLUSIVE").fetchall()
        real(connection)

    monkeypatch.setattr(database_room, "begin_read", exclusively)
    taken, _copy = take(path)
    assert taken.method == "online" and "locks exclusively" in taken.reason


def test_large_log_is_left_to_sqlite_unless_asked_for(live, take):
    path, application = live()
    next_round(application)
    taken, copy = take(path, method="auto")
    assert taken.method == "online" and "that are not in the file yet" in taken.reason and rounds(copy) == [1]
    assert take(path)[0].method == "clone"


def test_file_that_is_longer_than_the_database_is_cut(live, take):
    path, _application = live("delete")
    size = os.path.getsize(path)
    with open(path, "ab") as file:
        file.write(bytes(3 * PAGE))
    taken, copy = take(path)
    assert taken.method == "clone" and os.path.getsize(copy) == size


def test_full_disk_leaves_no_log_beside_the_worthless_copy(live, tmp_path, monkeypatch):
    path, application = live()
    next_round(application)
    real, target = os.write, str(tmp_path / "copy.db")
    files.create_new(target)
    monkeypatch.delattr(os, "copy_file_range")

    def full(descriptor, data):
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith("-wal"):
            raise OSError(28, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        snapshot.take(path, target, "clone")
    assert database_room.sidecars(target) == {}


def test_database_that_is_locked_is_busy(live, take):
    path, application = live("delete")
    application.execute("BEGIN EXCLUSIVE")
    with pytest.raises(errors.DatabaseBusy):
        take(path)


# --- everything at once ----------------------------------------------------------------------------------------------


def _attack(*options):
    done = subprocess.run([sys.executable, str(ATTACK), *options], stdout=subprocess.PIPE, check=False, timeout=300)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_attack_finds_no_violation():
    status, rows = _attack("--clones", "30", "--seconds", "120", "--page-size", "1024")
    assert status == 0 and [row["clones"] for row in rows] == [30, 30], rows


@pytest.mark.parametrize("broken", ["lock", "log"])
def test_attack_finds_what_it_is_there_for(broken):
    status, rows = _attack("--clones", "40", "--seconds", "120", "--journal", "wal", "--broken", broken)
    assert status == 1 and rows[0]["violations"] > 0, rows
