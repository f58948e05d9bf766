# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json
import os
import stat

import pytest
from engine import errors, lock

HOLD = """
import sys
from engine import lock
with lock.held(sys.argv[1], "backup", 0):
    print("held", flush=True)
    sys.stdin.readline()
print("released", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / ".state" / "app.lock")


@pytest.fixture
def holder(path, child):
    """Another process that holds the lock."""
    process = child(HOLD, path)
    assert process.stdout.readline().strip() == b"held"
    return process


def _free(path):
    with lock.held(path, "test", 0):
        return True


def test_second_process_is_told_who_holds_it(path, holder):
    with pytest.raises(errors.Busy) as caught, lock.held(path, "retention", 0.1):
        raise AssertionError("it was held twice")
    owner = caught.value.details["holder"]
    assert (owner["pid"], owner["operation"]) == (holder.pid, "backup") and owner["since"].endswith("Z")
    assert f"backup by pid {holder.pid}" in caught.value.message and "waited 0.1 s" in caught.value.message


def test_second_process_waits_and_gets_it(path, holder, child):
    code = (
        "import sys\nfrom engine import lock\nprint('waiting', flush=True)\n"
        "with lock.held(sys.argv[1], 'restore', 60): print('got it', flush=True)\n"
    )
    waiting = child(code, path)
    assert waiting.stdout.readline().strip() == b"waiting"
    assert waiting.poll() is None
    holder.stdin.write(b"\n")
    holder.stdin.flush()
    assert holder.stdout.readline().strip() == b"released"
    assert waiting.stdout.readline().strip() == b"got it"


def test_lock_goes_with_a_holder_that_is_killed(path, holder):
    holder.kill()
    holder.wait()
    assert not lock.is_held(path)
    assert _free(path)


def test_lock_is_given_back_after_an_error(path):
    with pytest.raises(RuntimeError), lock.held(path, "backup", 0):
        raise RuntimeError
    assert not lock.is_held(path) and lock.read_owner(path) is None
    assert _free(path)


def test_lock_holds_against_the_same_process_too(path):
    with lock.held(path, "backup", 0), pytest.raises(errors.Busy):
        _free(path)


def test_lock_of_another_name_is_free(path, holder, tmp_path):
    assert _free(str(tmp_path / ".state" / "other.lock"))


def test_link_in_place_of_a_lock_is_not_looked_behind(path, tmp_path):
    other = str(tmp_path / "other.lock")
    os.makedirs(os.path.dirname(path))
    os.symlink(other, path)
    with lock.held(other, "backup", 0):
        assert lock.is_held(other) and not lock.is_held(path)


def test_is_held_tells_and_creates_nothing(path, tmp_path, child):
    assert lock.is_held(path) is False
    assert os.listdir(tmp_path) == []
    process = child(HOLD, path)
    process.stdout.readline()
    assert lock.is_held(path) is True


def test_lock_file_that_was_removed_while_somebody_waited_is_made_again(path, holder):
    """Two holders must never lock two files of one name."""
    os.unlink(path)
    with lock.held(path, "restore", 0):
        assert lock.is_held(path)
        assert lock.read_owner(path)["pid"] == os.getpid()


@pytest.mark.parametrize("replaced", [False, True])
def test_file_that_goes_between_opening_and_locking_is_opened_again(path, monkeypatch, replaced):
    assert _free(path)
    real, calls = lock.wait_for, []

    def wait_for(descriptor, seconds):
        calls.append(descriptor)
        if len(calls) == 1:
            os.rename(path, path + ".gone")
            if replaced:
                with open(path, "wb"):
                    pass
        return real(descriptor, seconds)

    monkeypatch.setattr(lock, "wait_for", wait_for)
    with lock.held(path, "restore", 0):
        assert lock.is_held(path) and not lock.is_held(path + ".gone")


def test_lock_file_is_private_and_its_link_is_refused(path, tmp_path):
    assert _free(path)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    os.rename(path, tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", path)
    with pytest.raises(OSError):
        _free(path)


@pytest.mark.parametrize("content", [b"", b"garbage", b"[]", b"5", b"\xff", b"{" * 5000])
def test_owner_that_cannot_be_read_is_unknown(path, content):
    assert _free(path)
    with open(path, "wb") as file:
        file.write(content)
    assert lock.read_owner(path) is None
    assert lock.describe(None)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_fifo_in_place_of_the_lock_is_not_waited_for(path):
    os.makedirs(os.path.dirname(path))
    os.mkfifo(path)
    assert lock.read_owner(path) is None


@pytest.mark.parametrize(
    "owner",
    [
        {"pid": "../tmp/planted", "operation": "backup", "since": "2026-11-22T02:00:00Z"},
        {"pid": True, "operation": "backup", "since": "2026-11-22T02:00:00Z"},
        {"pid": 1, "operation": ["backup"], "since": "2026-11-22T02:00:00Z"},
        {"pid": 1, "operation": "backup\nall is well", "since": "2026-11-22T02:00:00Z"},
        {"pid": 1, "operation": "backup"},
    ],
)
def test_owner_that_was_planted_is_unknown(path, owner):
    os.makedirs(os.path.dirname(path))
    with open(path, "w", encoding="ascii") as file:
        json.dump(owner, file)
    assert lock.read_owner(path) is None


ASK = """
import sys, time
from engine import lock
print("asking", flush=True)
while True: assert not lock.is_held(sys.argv[1])
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no shared locks of a byte")
def test_who_only_asks_is_not_taken_for_a_holder(path, child):
    assert _free(path)
    asking = child(ASK, path)
    assert asking.stdout.readline().strip() == b"asking"
    assert not any(lock.is_held(path) for _time in range(5000))
    assert asking.poll() is None


def test_what_is_done_when_the_lock_is_free_is_done_under_it(path):
    assert lock.when_free(path, lambda: None) is False  # There is no place for it.
    assert _free(path)
    seen = []
    assert lock.when_free(path, lambda: seen.append(lock.is_held(path))) is True
    assert seen == [True] and not lock.is_held(path)


def test_what_is_done_when_the_lock_is_free_is_not_done_while_it_is_held(path, holder):
    assert lock.when_free(path, pytest.fail) is False
