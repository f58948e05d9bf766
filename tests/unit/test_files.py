# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import errno
import os
import socket
import stat

import pytest
from engine import errors, files, space

ODD_NAMES = [b"a b", b"q'\"", b"new\nline", b"%41?#", b"\xff\xfe", "ünïcode".encode()]


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "file")


def _content(path):
    with open(path, "rb") as file:
        return file.read()


def _mode(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


@pytest.fixture
def fails(monkeypatch):
    """fails("fsync", nth=2): the nth call of that function of ``os`` raises ENOSPC, all others are the real ones."""

    def arrange(function, nth=1, number=errno.ENOSPC):
        real, calls = getattr(os, function), []

        def wrapper(*arguments, **options):
            calls.append(arguments)
            if len(calls) == nth:
                raise OSError(number, os.strerror(number))
            return real(*arguments, **options)

        monkeypatch.setattr(os, function, wrapper)
        return calls

    return arrange


# --- names -----------------------------------------------------------------------------------------------------------


def test_resolve_follows_every_link_once_and_needs_no_file(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert files.resolve(tmp_path / "link" / ".." / "link" / "new.db") == str(tmp_path / "real" / "new.db")


def test_resolve_takes_bytes_and_relative_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert files.resolve(b"\xff.db") == os.path.join(os.path.realpath(tmp_path), os.fsdecode(b"\xff.db"))


def test_exists_sees_a_dangling_link(tmp_path, path):
    os.symlink("nowhere", path)
    assert files.exists(path) and not os.path.exists(path)


def test_size_of_a_missing_file_is_zero(path):
    assert files.size(path) == 0


def test_make_directory_is_private_and_its_parents_are_not(tmp_path):
    files.make_directory(str(tmp_path / "a" / "b"))
    assert (_mode(tmp_path / "a"), _mode(tmp_path / "a" / "b")) == (0o755, 0o700)


def test_make_directory_leaves_one_that_is_there(tmp_path):
    (tmp_path / "d").mkdir(mode=0o750)
    files.make_directory(str(tmp_path / "d"))
    assert _mode(tmp_path / "d") == 0o750


def test_make_directory_refuses_a_file_in_its_place(path):
    files.create_new(path)
    with pytest.raises(OSError):
        files.make_directory(path)


# --- creating and writing --------------------------------------------------------------------------------------------


def test_open_new_never_takes_a_name_that_is_there(tmp_path, path):
    os.symlink(tmp_path / "elsewhere", path)
    with pytest.raises(FileExistsError):
        files.open_new(path)
    assert not (tmp_path / "elsewhere").exists()


def test_new_files_are_private_whatever_the_umask(path):
    before = os.umask(0)
    try:
        files.write_new(path, b"secret")
    finally:
        os.umask(before)
    assert _mode(path) == 0o600


@pytest.mark.parametrize("function", ["write", "fsync"])
def test_write_new_leaves_no_file_when_it_fails(path, fails, function):
    fails(function)
    with pytest.raises(OSError):
        files.write_new(path, b"content")
    assert not os.path.lexists(path)


def test_write_all_goes_on_after_a_short_write(path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, bytes(data[:3])))
    files.write_new(path, b"0123456789")
    assert _content(path) == b"0123456789"


@pytest.mark.parametrize("function", ["write", "fsync", "replace"])
def test_write_atomically_keeps_the_old_content_when_it_fails(path, fails, function):
    files.write_new(path, b"old")
    fails(function)
    with pytest.raises(OSError):
        files.write_atomically(path, b"new")
    assert _content(path) == b"old"
    assert os.listdir(os.path.dirname(path)) == ["file"]


def test_open_append_leaves_the_mode_of_a_log_that_is_there(path):
    os.close(files.open_append(path))
    os.chmod(path, 0o400 | 0o200 | 0o040)
    os.close(files.open_append(path))
    assert _mode(path) == 0o640


def test_write_atomically_replaces_and_leaves_nothing_else(tmp_path, path):
    files.write_new(path, b"old")
    files.write_atomically(path, b"new", mode=0o640)
    assert (_content(path), _mode(path), os.listdir(tmp_path)) == (b"new", 0o640, ["file"])


def test_write_atomically_gets_over_what_a_killed_process_of_the_same_number_left(tmp_path, path):
    (tmp_path / f".file.{os.getpid()}{files.PARTIAL}").write_bytes(b"half")
    files.write_atomically(path, b"new")
    assert os.listdir(tmp_path) == ["file"]


def test_publish_never_replaces(tmp_path, path):
    files.write_new(path, b"new")
    target = str(tmp_path / "target")
    os.symlink("nowhere", target)
    with pytest.raises(FileExistsError):
        files.publish(path, target)
    assert os.readlink(target) == "nowhere" and _content(path) == b"new"


def test_names_are_made_durable_after_a_rename(tmp_path, path, monkeypatch):
    files.write_new(path, b"x")
    events = []
    real_replace, real_fsync = os.replace, os.fsync
    monkeypatch.setattr(os, "replace", lambda *names, **where: (events.append("rename"), real_replace(*names, **where)))

    def fsync(descriptor):
        events.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    files.write_atomically(path, b"y")
    assert events == ["file", "rename", "directory"]


def test_link_gives_a_second_name_to_the_link_itself(tmp_path, path):
    files.write_new(path, b"x")
    files.link(path, str(tmp_path / "second"))
    assert os.path.samefile(path, tmp_path / "second")


def test_remove_tells_whether_there_was_something(path):
    files.create_new(path)
    assert files.remove(path) is True
    assert files.remove(path) is False


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["fifo", "socket", "directory", "link"])
def test_open_regular_refuses_what_is_no_regular_file(tmp_path, path, monkeypatch, kind):
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        monkeypatch.chdir(tmp_path)  # A socket's name has at most 107 bytes.
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("file")
    elif kind == "directory":
        os.mkdir(path)
    else:
        (tmp_path / "target").write_bytes(b"x")
        os.symlink("target", path)
    for open_it in (files.open_regular, files.open_present, files.open_append):
        with pytest.raises(OSError) as refused:
            open_it(path)
        assert refused.value.errno == (errno.ELOOP if kind == "link" else errno.EINVAL)


def test_read_small_reads_no_more_than_was_allowed(path):
    files.write_new(path, b"0123456789")
    assert files.read_small(path, 10) == b"0123456789"
    with pytest.raises(OSError, match="larger than 9 bytes"):
        files.read_small(path, 9)


def test_open_regular_leaks_no_descriptor_when_it_refuses(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with pytest.raises(OSError):
            files.open_regular(str(tmp_path))
    assert len(os.listdir("/proc/self/fd")) == before


def test_open_append_refuses_a_link(tmp_path, path):
    (tmp_path / "target").write_bytes(b"x")
    os.symlink("target", path)
    with pytest.raises(OSError):
        files.open_append(path)


# --- space and ownership ---------------------------------------------------------------------------------------------


def test_require_space_refuses_before_anything_is_written(tmp_path):
    space.require_space(str(tmp_path), 1, "it")
    with pytest.raises(errors.NoSpace) as caught:
        space.require_space(str(tmp_path), 1 << 60, "the copy")
    assert caught.value.details["needed_bytes"] == 1 << 60
    assert "the copy" in caught.value.message and str(tmp_path) in caught.value.message


def test_disk_use_is_what_df_says(tmp_path):
    used, total = space.disk_use(str(tmp_path))
    assert 0 < used <= total


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_error_about_an_open_file_names_it():
    descriptor = os.open("/dev/full", os.O_RDWR)
    try:
        with pytest.raises(OSError) as caught:
            files.write_all(descriptor, b"x")
        assert caught.value.filename == "/dev/full"
        with pytest.raises(OSError) as caught:
            files.truncate_open(descriptor)
        assert caught.value.filename == "/dev/full"
    finally:
        os.close(descriptor)
