# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import sys
import threading

import pytest
from engine import behind, files

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux' own calls")


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "file")


# --- hashing ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def growing(path, monkeypatch):
    """growing(content, begin) -> a Hashing of a file that has the content, of which it has been told nothing."""
    monkeypatch.setattr(behind, "_STATES", 2 * files.CHUNK)
    with contextlib.ExitStack() as stack:

        def arrange(content, begin=b""):
            files.write_new(path, content)
            return stack.enter_context(contextlib.closing(behind.Hashing(path, begin)))

        yield arrange


def _sha256(content):
    return hashlib.sha256(content).hexdigest()


def test_hash_is_that_of_the_bytes_however_they_are_told_of(growing):
    content = os.urandom(5 * files.CHUNK + 17)
    following = growing(content)
    for position in (1, 100, files.CHUNK + 1, 5 * files.CHUNK, len(content)):
        following.reached(position)
    assert following.hexdigest() == _sha256(content)


def test_hash_of_a_finished_file_is_taken_at_once(path):
    files.write_new(path, b"content")
    seen = []
    with contextlib.closing(behind.Hashing.whole(path)) as hashing:
        assert hashing.hexdigest(lambda *row: seen.append(row)) == _sha256(b"content")
    assert seen[-1] == (7, 7)


def test_first_bytes_are_taken_as_they_will_be(growing):
    content = os.urandom(3 * files.CHUNK)
    following = growing(content, b"header")
    following.reached(len(content))
    assert following.hexdigest() == _sha256(b"header" + content[6:])


@pytest.mark.parametrize("at", [0, 17, 2 * files.CHUNK - 1, 2 * files.CHUNK, 5 * files.CHUNK + 1])
def test_what_was_changed_after_it_passed_is_hashed_again(growing, path, at):
    content = os.urandom(6 * files.CHUNK)
    following = growing(content)
    following.reached(len(content))
    _wait_for(following, len(content))
    changed = content[:at] + b"changed" + content[at + 7 :]
    with open(path, "r+b") as file:
        file.write(changed)
    with contextlib.closing(following.taken_up(at)) as again:
        assert again.hexdigest() == _sha256(changed)


def _wait_for(following, size):
    """Until the thread has hashed so far: it tells of nothing, so that it is asked."""
    tick = threading.Event()
    while following._done < size:
        tick.wait(0.001)


@pytest.mark.parametrize("size", [1, 3 * files.CHUNK - 5, 3 * files.CHUNK + 5])
def test_file_that_became_shorter_or_longer_is_hashed_as_it_is(growing, path, size):
    content = os.urandom(3 * files.CHUNK)
    following = growing(content)
    following.reached(len(content))
    _wait_for(following, len(content))
    now = (content + b"added")[:size]
    with open(path, "wb") as file:
        file.write(now)
    with contextlib.closing(following.taken_up(None)) as again:
        assert again.hexdigest() == _sha256(now)


def test_hash_that_is_still_right_goes_on(growing):
    following = growing(b"content")
    following.reached(7)
    assert following.taken_up(None) is following


def test_hash_is_taken_up_also_while_it_is_being_taken(growing, path):
    content = os.urandom(40 * files.CHUNK)
    following = growing(content)
    following.reached(len(content))
    with contextlib.closing(following.taken_up(5 * files.CHUNK)) as again:
        assert again.hexdigest() == _sha256(content)
    assert following._worker.ended()


def test_file_that_ends_too_early_is_an_error_and_not_a_hash(growing):
    following = growing(b"short")
    following.reached(100)
    with pytest.raises(OSError, match="ends after 5 of 100"):
        following.hexdigest()


def test_any_error_of_the_work_comes_out(growing, monkeypatch):
    following = growing(b"content")

    def step(_position, _limit):
        raise MemoryError

    monkeypatch.setattr(following, "step", step)
    following.reached(7)
    with pytest.raises(MemoryError):
        following.hexdigest()


def test_closing_ends_the_thread_whatever_is_left(growing):
    following = growing(os.urandom(20 * files.CHUNK))
    following.reached(20 * files.CHUNK)
    following.close()
    following.close()
    assert following._worker.ended()
    assert not [thread for thread in threading.enumerate() if thread.name == "sha256"]


# --- writing back ----------------------------------------------------------------------------------------------------


@pytest.fixture
def writing(path, monkeypatch):
    """writing(call) -> a WritingBack of a file of 3 MiB; ``call(position, count, flags)`` stands for the system's."""
    files.write_new(path, bytes(3 * files.CHUNK))
    with contextlib.ExitStack() as stack:

        def arrange(call, gently=None):
            monkeypatch.setattr(
                behind, "_sync_file_range", lambda: lambda _descriptor, *arguments: call(*arguments) or 0
            )
            return stack.enter_context(contextlib.closing(behind.WritingBack(path, gently)))

        yield arrange


def test_everything_is_written_and_waited_for_two_pieces_at_a_time(writing):
    begun, awaited, ahead = 0, 0, []

    def call(position, count, flags):
        nonlocal begun, awaited
        if flags == 2:
            assert position == begun
            begun += count
        else:
            assert position == awaited and flags == 7
            awaited += count
        ahead.append(begun - awaited)

    back = writing(call, lambda: True)
    back.reached(3 * files.CHUNK)
    back.finish()
    assert begun == 3 * files.CHUNK and begun - awaited <= 256 * 1024 and max(ahead) <= 512 * 1024


def test_pieces_become_small_as_soon_as_somebody_else_commits(writing):
    pieces = []
    back = writing(lambda _position, count, flags: pieces.append(count) if flags == 2 else None, lambda: bool(pieces))
    back.reached(3 * files.CHUNK)
    back.finish()
    assert pieces == [2 * files.CHUNK, *[files.CHUNK // 4] * 4]


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_error_of_the_disk_comes_out_since_the_fsync_may_not_tell_it_again(writing, monkeypatch, code):
    import ctypes

    monkeypatch.setattr(ctypes, "get_errno", lambda: code)
    back = writing(lambda *_arguments: -1)
    back.reached(files.CHUNK)
    with pytest.raises(OSError) as caught:
        back.finish()
    assert caught.value.errno == code


def test_filesystem_that_cannot_is_left_to_the_fsync(writing, monkeypatch):
    import ctypes

    calls = []
    monkeypatch.setattr(ctypes, "get_errno", lambda: errno.ESPIPE)
    back = writing(lambda *arguments: calls.append(arguments) or -1)
    back.reached(3 * files.CHUNK)
    back.finish()
    assert len(calls) == 1


def test_system_without_such_a_call_writes_nothing_back(path, monkeypatch):
    files.write_new(path, bytes(files.CHUNK))
    monkeypatch.setattr(behind.sys, "platform", "freebsd14")
    with contextlib.closing(behind.WritingBack(path)) as back:
        back.reached(files.CHUNK)
        back.finish()


@linux
def test_sandbox_that_forbids_ctypes_is_left_to_the_fsync(path, monkeypatch):
    def forbidden(*_arguments, **_options):
        raise MemoryError

    import ctypes

    monkeypatch.setattr(ctypes, "CDLL", forbidden)
    assert behind._sync_file_range() is None


@linux
def test_system_call_is_there_and_succeeds(path):
    files.write_new(path, bytes(files.CHUNK))
    function = behind._sync_file_range()
    descriptor = files.open_regular(path)
    try:
        assert function(descriptor, 0, files.CHUNK, 7) == 0
    finally:
        os.close(descriptor)


def test_who_is_patient_waits_for_the_disk_and_goes_on_when_it_fails(writing):
    held = threading.Event()
    back = writing(lambda *_arguments: held.wait(30) and None)
    back.reached(3 * files.CHUNK)
    waiting = threading.Thread(target=back.wait_within, args=(files.CHUNK,))
    waiting.start()
    assert waiting.is_alive()
    held.set()
    waiting.join(30)
    assert not waiting.is_alive()


# --- both ------------------------------------------------------------------------------------------------------------


def test_bytes_that_passed_are_hashed_written_and_told_of(path, monkeypatch):
    monkeypatch.setattr(behind, "_WORTH_IT", 0)
    content, seen = os.urandom(3 * files.CHUNK), []
    files.write_new(path, content)
    passing = behind.Passing(
        path, len(content), progress=lambda *row: seen.append(row), hashing=True, begin=lambda raw: raw[:9] + b"!"
    )
    expected = hashlib.sha256(content[:9] + b"!" + content[10:]).hexdigest()
    with contextlib.closing(passing):
        for done in (1, 2 * files.CHUNK, len(content)):
            passing(done)
        with contextlib.closing(passing.finish()) as hashing:
            assert hashing.hexdigest() == expected
    assert seen == [(1, len(content)), (2 * files.CHUNK, len(content)), (len(content), len(content))]
    assert not [thread for thread in threading.enumerate() if thread.name in ("sha256", "write-back")]


def test_nothing_is_hashed_or_written_back_that_nobody_asked_for(path):
    files.write_new(path, b"content")
    with contextlib.closing(behind.Passing(path, 7)) as passing:
        passing(7)
        assert passing.finish() is None
