# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import hashlib
import json
import os
import stat

import pytest
from engine import audit, errors, operations

LINES = 6


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "log" / "audit.jsonl")


@pytest.fixture
def log(path):
    for number in range(LINES):
        audit.append(path, {"operation": "backup", "number": number})
    return path


def _lines(path):
    with open(path, "rb") as file:
        return file.read().splitlines()


def _write(path, lines, end=b"\n"):
    with open(path, "wb") as file:
        file.write(b"\n".join(lines) + end)


def test_log_that_is_not_there_is_empty_and_intact(path):
    assert list(audit.read(path)) == []
    assert audit.check(path) == {"lines": 0, "intact": True, "broken_at": None, "torn": []}
    assert not os.path.exists(os.path.dirname(path))


def test_each_line_carries_time_record_and_the_hash_of_the_line_before(log):
    lines = _lines(log)
    previous = audit.FIRST
    for number, line in enumerate(lines):
        record = json.loads(line)
        assert record["number"] == number and record["time"].endswith("Z")
        assert record["prev"] == previous
        previous = hashlib.sha256(line).hexdigest()
    assert [record["number"] for record in audit.read(log)] == list(range(LINES))
    assert audit.check(log) == {"lines": LINES, "intact": True, "broken_at": None, "torn": []}


def test_log_is_private_and_only_grows(log):
    assert os.name == "nt" or stat.S_IMODE(os.stat(log).st_mode) == 0o600
    before = _lines(log)
    audit.append(log, {"operation": "restore"})
    assert _lines(log)[:LINES] == before


def test_each_line_is_durable_before_append_returns(path, monkeypatch):
    synced = []
    real = os.fsync

    def fsync(descriptor):
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            synced.append(os.fstat(descriptor).st_size)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    audit.append(path, {"operation": "backup"})
    assert synced == [os.path.getsize(path)]


@pytest.mark.parametrize("position", range(LINES - 1))
def test_changed_line_breaks_the_chain_behind_it(log, position):
    lines = _lines(log)
    lines[position] = lines[position].replace(b"backup", b"nothin")
    _write(log, lines)
    found = audit.check(log)
    assert (found["intact"], found["broken_at"]) == (False, position + 2)


@pytest.mark.parametrize("position", range(LINES - 1))
def test_removed_line_breaks_the_chain(log, position):
    lines = _lines(log)
    del lines[position]
    _write(log, lines)
    assert audit.check(log)["broken_at"] == position + 1


@pytest.mark.parametrize("position", range(LINES))
def test_inserted_line_breaks_the_chain(log, position):
    lines = _lines(log)
    lines.insert(position, b'{"operation": "backup"}')
    _write(log, lines)
    assert audit.check(log)["broken_at"] == position + 1


@pytest.mark.parametrize("position", range(LINES - 1))
def test_swapped_lines_break_the_chain(log, position):
    lines = _lines(log)
    lines[position : position + 2] = reversed(lines[position : position + 2])
    _write(log, lines)
    assert audit.check(log)["broken_at"] == position + 1


@pytest.mark.parametrize("position", range(LINES - 1))
@pytest.mark.parametrize(
    "replacement", [b"", b"garbage", b"[1]", b"\xff\xfe", b"[" * 100_000], ids=lambda text: repr(text[:9])
)
def test_line_that_was_destroyed_is_torn_and_breaks_the_chain(log, position, replacement):
    lines = _lines(log)
    lines[position] = replacement
    _write(log, lines)
    assert audit.check(log) == {"lines": LINES, "intact": False, "broken_at": position + 2, "torn": [position + 1]}
    assert len(list(audit.read(log))) == LINES - 1


@pytest.mark.parametrize("missing", [1, 10, 60])
def test_torn_last_line_is_closed_by_the_next_and_is_no_break(log, missing):
    with open(log, "r+b") as file:
        file.truncate(os.path.getsize(log) - 1 - missing)
    assert audit.check(log) == {"lines": LINES, "intact": True, "broken_at": None, "torn": [LINES]}
    audit.append(log, {"operation": "after"})
    assert audit.check(log) == {"lines": LINES + 1, "intact": True, "broken_at": None, "torn": [LINES]}
    assert list(audit.read(log))[-1]["operation"] == "after"


def test_line_that_lacks_its_newline_only_is_whole(log):
    with open(log, "r+b") as file:
        file.truncate(os.path.getsize(log) - 1)
    audit.append(log, {"operation": "after"})
    assert audit.check(log) == {"lines": LINES + 1, "intact": True, "broken_at": None, "torn": []}


def test_very_long_line_is_chained_as_any_other(path):
    audit.append(path, {"many": {str(number): "x" * 100 for number in range(3000)}})
    audit.append(path, {"operation": "after"})
    assert os.path.getsize(path) > 3 * audit._TAIL
    assert audit.check(path)["intact"] and audit.check(path)["lines"] == 2


def test_long_text_is_cut_and_newlines_stay_within_the_line(path):
    audit.append(path, {"error": "x" * 10_000, "deep": {"error": "a\nb" + "y" * 10_000}})
    record = next(audit.read(path))
    assert len(record["error"]) == len(record["deep"]["error"]) == audit.LONGEST_TEXT
    assert audit.check(path)["lines"] == 1


def test_path_that_is_no_utf8_comes_back(path):
    odd = "/srv/\udcff.db"
    audit.append(path, {"database": odd})
    assert next(audit.read(path))["database"] == odd


def test_several_processes_keep_one_chain(path, child):
    code = (
        "import sys\nfrom engine import audit\nprint('ready', flush=True)\nsys.stdin.readline()\n"
        "for number in range(25): audit.append(sys.argv[1], {'who': sys.argv[2], 'number': number})\n"
        "print('done', flush=True)\n"
    )
    writers = [child(code, path, str(number)) for number in range(4)]
    for writer in writers:
        writer.stdout.readline()
    for writer in writers:
        writer.stdin.write(b"\n")
        writer.stdin.flush()
    for writer in writers:
        assert writer.stdout.readline().strip() == b"done"
    assert audit.check(path) == {"lines": 100, "intact": True, "broken_at": None, "torn": []}
    records = list(audit.read(path))
    for who in "0123":
        assert [record["number"] for record in records if record["who"] == who] == list(range(25))


def test_link_in_place_of_the_log_is_refused(path, tmp_path):
    os.mkdir(os.path.dirname(path))
    (tmp_path / "elsewhere").write_bytes(b"")
    os.symlink(tmp_path / "elsewhere", path)
    with pytest.raises(OSError):
        audit.append(path, {})
    assert (tmp_path / "elsewhere").read_bytes() == b""


def test_backup_directory_that_a_failed_backup_makes_for_its_audit_line_is_closed_to_others(tmp_path):
    before = os.umask(0)
    try:
        with pytest.raises(errors.DatabaseNotFound):
            operations.backup(database=str(tmp_path / "gone.db"), backup_dir=str(tmp_path / "new" / "backups"))
    finally:
        os.umask(before)
    assert (tmp_path / "new" / "backups" / ".state" / "audit.jsonl").exists()
    assert (tmp_path / "new" / "backups").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("torn", [True, False])
def test_what_is_far_longer_than_a_line_is_chained_and_takes_little_memory(path, torn):
    """A hole in the log: it was copied again and again, and read as a whole."""
    import tracemalloc

    audit.append(path, {"operation": "backup"})
    with open(path, "ab") as log:
        log.truncate(64 << 20)
        log.write(b"" if torn else b"\n")
    tracemalloc.start()
    audit.append(path, {"operation": "restore"})
    found, records = audit.check(path), [record["operation"] for record in audit.read(path)]
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == {"lines": 3, "intact": True, "broken_at": None, "torn": [2]}
    assert records == ["backup", "restore"] and peak < 32 << 20
