# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import errno
import hashlib
import os
import sys

import pytest
from engine import copying, files

ODD_NAMES = [b"a b", b"q'\"", b"new\nline", b"%41?#", b"\xff\xfe", "ünïcode".encode()]
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux' own calls")


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "file")


@pytest.fixture
def fails(monkeypatch):
    """fails(function of os): from now on it reports a full disk."""

    def arrange(name):
        def failing(*_args, **_options):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, name, failing)

    return arrange


def _content(path):
    with open(path, "rb") as file:
        return file.read()


@pytest.fixture
def opened(tmp_path):
    """opened(content) -> (reader, writer, path of what is written)."""
    descriptors = []

    def arrange(content):
        source, target = str(tmp_path / "source"), str(tmp_path / "target")
        files.write_new(source, content)
        descriptors.append(files.open_regular(source))
        descriptors.append(files.open_new(target))
        return (*descriptors, target)

    yield arrange
    for descriptor in descriptors:
        os.close(descriptor)


# --- moving bytes ----------------------------------------------------------------------------------------------------

SIZES = [0, 1, files.CHUNK, copying.PIECE, 2 * copying.PIECE + 17]


@pytest.mark.parametrize("in_kernel", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_all_bytes_arrive_in_order_and_are_told_of(opened, monkeypatch, size, in_kernel):
    if not in_kernel:
        monkeypatch.delattr(os, "copy_file_range", raising=False)
    content, seen = os.urandom(size), []
    reader, writer, target = opened(content)
    moved, way = copying.move(reader, writer, size, seen.append)
    assert moved == size and _content(target) == content
    assert seen == sorted(set(seen)) and seen[-1:] == ([size] if size else [])
    if size and in_kernel and sys.platform.startswith("linux"):
        assert way == copying.IN_KERNEL
    elif size:
        assert way == copying.READ


@linux
@pytest.mark.parametrize("pieces", [0, 1])
def test_a_way_that_fails_half_way_is_finished_by_reading(opened, monkeypatch, pieces):
    content, real, calls = os.urandom(3 * copying.PIECE), os.copy_file_range, []

    def at_first(*arguments):
        calls.append(arguments)
        if len(calls) > pieces:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return real(*arguments)

    monkeypatch.setattr(os, "copy_file_range", at_first)
    reader, writer, target = opened(content)
    assert copying.move(reader, writer, len(content)) == (len(content), copying.READ)
    assert _content(target) == content


@linux
def test_a_filesystem_that_copies_nothing_and_says_nothing_is_read(opened, monkeypatch):
    monkeypatch.setattr(os, "copy_file_range", lambda *_arguments: 0)
    content = os.urandom(files.CHUNK)
    reader, writer, target = opened(content)
    assert copying.move(reader, writer, len(content)) == (len(content), copying.READ)
    assert _content(target) == content


def test_no_more_is_copied_than_was_asked_for_or_is_there(opened):
    reader, writer, target = opened(b"0123456789")
    assert copying.move(reader, writer, 4)[0] == 4 and _content(target) == b"0123"
    assert copying.move(reader, writer, 100)[0] == 10 and _content(target) == b"0123456789"


def test_what_is_told_of_a_piece_may_end_the_copying(opened):
    reader, writer, target = opened(bytes(3 * copying.PIECE))

    def stop(_done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copying.move(reader, writer, 3 * copying.PIECE, stop)
    assert os.path.getsize(target) == copying.PIECE


@linux
def test_what_cannot_share_blocks_is_told_and_untouched(opened):
    reader, _writer, _target = opened(b"content")
    read_end, write_end = os.pipe()
    try:
        assert copying.reflink(reader, write_end) is False
    finally:
        os.close(read_end)
        os.close(write_end)


# --- whole files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ODD_NAMES, ids=repr)
def test_copy_keeps_bytes_and_tells_hash_and_progress(tmp_path, name):
    source = os.path.join(str(tmp_path), os.fsdecode(name))
    content = os.urandom(2 * files.CHUNK + 17)
    files.write_new(source, content)
    target, seen = source + ".copy", []
    digest = hashlib.sha256(content).hexdigest()
    assert copying.copy(source, target, hashing=True, progress=lambda *row: seen.append(row)) == (len(content), digest)
    assert _content(target) == content
    assert seen[-1] == (len(content), len(content)) and [row[0] for row in seen] == sorted(row[0] for row in seen)


def test_copy_without_a_hash_keeps_bytes(path):
    content = os.urandom(files.CHUNK + 1)
    files.write_new(path, content)
    assert copying.copy(path, path + "2") == (len(content), None)
    assert _content(path + "2") == content


@pytest.mark.parametrize("with_hash", [True, False])
def test_copy_that_fails_leaves_no_target(path, fails, with_hash):
    files.write_new(path, b"content")
    fails("fsync")
    with pytest.raises(OSError):
        copying.copy(path, path + "2", hashing=with_hash)
    assert not os.path.lexists(path + "2")


def test_copy_refuses_an_existing_target_and_leaves_it(path):
    files.write_new(path, b"new")
    files.write_new(path + "2", b"old")
    with pytest.raises(FileExistsError):
        copying.copy(path, path + "2")
    assert _content(path + "2") == b"old"


@pytest.mark.parametrize("size", [0, 3 * files.CHUNK])
def test_copy_that_shares_its_blocks_is_hashed_all_the_same(path, monkeypatch, size):
    content = os.urandom(size)
    files.write_new(path, content)

    def reflink(reader, writer):
        os.write(writer, os.pread(reader, size, 0))
        return True

    monkeypatch.setattr(copying, "reflink", reflink)
    assert copying.copy(path, path + "2", hashing=True) == (size, hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("durable", [True, False])
def test_copy_is_synced_where_it_is_to_last(path, monkeypatch, durable):
    synced = []
    files.write_new(path, b"content")
    monkeypatch.setattr(os, "fsync", synced.append)
    copying.copy(path, path + "2", durable=durable)
    assert bool(synced) is durable
