# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import gzip
import hashlib
import os
import shutil

import pytest
from engine import compress, errors, files


def _zstd_module():
    """Python's own module; before 3.14 the same one as a library (https://docs.python.org/3/library/compression.zstd)."""
    try:
        from compression import zstd
    except ImportError:
        return pytest.importorskip("backports.zstd")
    return zstd


@pytest.fixture(params=["gzip", "zstd by the module", "zstd by the program"])
def method(request, monkeypatch):
    """Each compression, in each way in which a host may do it."""
    if request.param == "gzip":
        return "gzip"
    module = _zstd_module() if request.param.endswith("module") else None
    if module is None and shutil.which("zstd") is None:
        pytest.skip("there is no program zstd")
    monkeypatch.setattr(compress, "_zstd_module", lambda: module)
    return "zstd"


CONTENTS = {
    "empty": b"",
    "one-byte": b"x",
    "text": b"all work and no play " * 10_000,
    "random": os.urandom(300_000),
    "zeros": bytes(5 * files.CHUNK),
    "mixed": os.urandom(files.CHUNK) + bytes(files.CHUNK) + os.urandom(17),
}


@pytest.fixture
def stored(tmp_path):
    """stored(content, method) -> path of the compressed file."""

    def make(content, method):
        raw, packed = str(tmp_path / "raw"), str(tmp_path / ("packed" + compress.SUFFIXES[method]))
        files.write_new(raw, content)
        compress.compress(raw, packed, method, hasher=hashlib.sha256())
        return packed

    return make


def _expand(path, method, target=None, **options):
    stored, content = hashlib.sha256(), hashlib.sha256()
    size = compress.expand(path, target, method, stored=stored, content=content, **options)
    return size, stored.hexdigest(), content.hexdigest()


def _bytes(path):
    with open(path, "rb") as file:
        return file.read()


@pytest.mark.parametrize("kind", CONTENTS)
def test_content_comes_back(tmp_path, method, kind):
    content = CONTENTS[kind]
    raw, packed, again = (str(tmp_path / name) for name in ("raw", "packed", "again"))
    files.write_new(raw, content)
    hasher = hashlib.sha256()
    size = compress.compress(raw, packed, method, hasher=hasher)
    assert size == os.path.getsize(packed) and hasher.hexdigest() == files.sha256(packed)
    expected = (len(content), files.sha256(packed), hashlib.sha256(content).hexdigest())
    assert _expand(packed, method, again) == expected
    assert _bytes(again) == content
    assert _expand(packed, method) == expected


def test_compressible_content_gets_smaller(stored, method):
    assert os.path.getsize(stored(CONTENTS["zeros"], method)) < len(CONTENTS["zeros"]) / 100


def test_gzip_of_equal_content_is_equal(tmp_path, stored):
    first = _bytes(stored(CONTENTS["text"], "gzip"))
    os.unlink(tmp_path / "raw")
    os.unlink(tmp_path / "packed.gz")
    assert _bytes(stored(CONTENTS["text"], "gzip")) == first


def test_gzip_of_another_program_is_read(tmp_path):
    packed = str(tmp_path / "x.gz")
    with gzip.open(packed, "wb") as file:
        file.write(CONTENTS["text"])
    assert _expand(packed, "gzip")[0] == len(CONTENTS["text"])


def test_hashes_see_stored_and_expanded_bytes(stored, method):
    packed = stored(CONTENTS["text"], method)
    size, of_stored, of_content = _expand(packed, method)
    assert size == len(CONTENTS["text"])
    assert of_stored == files.sha256(packed)
    assert of_content == hashlib.sha256(CONTENTS["text"]).hexdigest()


def _cut(data):
    return data[:-1]


def _half(data):
    return data[: len(data) // 2]


def _nothing(data):
    return b""


def _garbage_behind(data):
    return data + b"garbage"


def _zeros_behind(data):
    return data + bytes(100)


def _flipped(data):
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0x10]) + data[middle + 1 :]


def _text(data):
    return b"this is not compressed at all"


@pytest.mark.parametrize("damage", [_cut, _half, _garbage_behind, _zeros_behind, _flipped, _text, _nothing])
@pytest.mark.parametrize("kind", ["random", "mixed"])
def test_damaged_file_is_invalid_and_leaves_no_target(tmp_path, stored, method, damage, kind):
    packed = stored(CONTENTS[kind], method)
    data = damage(_bytes(packed))
    with open(packed, "wb") as file:
        file.write(data)
    with pytest.raises(errors.BackupInvalid) as caught:
        _expand(packed, method, str(tmp_path / "again"))
    assert caught.value.path == packed
    assert not (tmp_path / "again").exists()


def test_file_that_expands_beyond_the_limit_is_stopped(tmp_path, stored, method):
    content = bytes(8 * files.CHUNK)
    packed, again = stored(content, method), str(tmp_path / "again")
    assert _expand(packed, method, again, limit=len(content))[0] == len(content)
    os.unlink(again)
    with pytest.raises(errors.BackupInvalid) as caught:
        _expand(packed, method, again, limit=len(content) - 1)
    assert str(len(content) - 1) in caught.value.cause and not os.path.exists(again)


def test_bomb_is_expanded_in_small_pieces(tmp_path, stored, method):
    packed = stored(bytes(32 * files.CHUNK), method)
    pieces = []

    class Spy:
        def update(self, data):
            pieces.append(len(data))

    compress.expand(packed, None, method, stored=hashlib.sha256(), content=Spy())
    assert sum(pieces) == 32 * files.CHUNK and max(pieces) <= files.CHUNK


def test_failure_while_compressing_leaves_no_target(tmp_path, method, monkeypatch):
    raw = str(tmp_path / "raw")
    files.write_new(raw, CONTENTS["mixed"])

    def fail(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError):
        compress.compress(raw, str(tmp_path / "packed"), method, hasher=hashlib.sha256())
    assert os.listdir(tmp_path) == ["raw"]


@pytest.mark.parametrize("limit", [None, 10])
def test_failure_in_the_middle_leaves_no_target_and_no_process(tmp_path, stored, method, limit, monkeypatch):
    packed = stored(bytes(8 * files.CHUNK), method)
    real, calls = os.write, []

    def fail(descriptor, data):
        calls.append(len(data))
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", fail)
    with pytest.raises((OSError, errors.BackupInvalid)):
        _expand(packed, method, str(tmp_path / "again"), limit=limit)
    assert not (tmp_path / "again").exists()
    assert _children() == []


def _children():
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
        return file.read().split()


def test_progress_ends_at_the_whole(tmp_path, method):
    raw, packed = str(tmp_path / "raw"), str(tmp_path / "packed")
    files.write_new(raw, CONTENTS["mixed"])
    seen = []
    compress.compress(raw, packed, method, hasher=hashlib.sha256(), progress=lambda *row: seen.append(row))
    assert seen[-1] == (len(CONTENTS["mixed"]), len(CONTENTS["mixed"]))
    seen.clear()
    _expand(packed, method, progress=lambda *row: seen.append(row))
    assert seen[-1] == (os.path.getsize(packed), os.path.getsize(packed))


@pytest.mark.parametrize(
    "name, method", [("x.db", "none"), ("x.db.gz", "gzip"), ("x.db.zst", "zstd"), ("x.gz.db", "none"), ("gz", "none")]
)
def test_file_name_tells_the_compression(name, method):
    assert compress.by_suffix(name) == method


def test_unknown_compression_is_refused_by_name():
    with pytest.raises(errors.UsageError) as caught:
        compress.require("lzma")
    assert "lzma" in caught.value.message and "gzip" in caught.value.message


def test_zstd_without_a_way_to_do_it_is_refused_with_the_way_out(monkeypatch):
    monkeypatch.setattr(compress, "_zstd_module", lambda: None)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(errors.UsageError) as caught:
        compress.require("zstd")
    assert "gzip" in caught.value.message


def test_zstd_window_that_takes_more_memory_than_any_of_ours_is_refused(tmp_path, method):
    """A frame may ask for gigabytes before a byte of content is known."""
    if method != "zstd":
        return
    module, path = _zstd_module(), str(tmp_path / "x.zst")
    encoder = module.ZstdCompressor(options={module.CompressionParameter.window_log: 27})
    files.write_new(path, encoder.compress(b"x" * 100) + encoder.flush())
    with pytest.raises(errors.BackupInvalid):
        _expand(path, "zstd")


@pytest.mark.parametrize("begun", [0, 1])
def test_gzip_without_threads_is_a_clear_error_and_leaves_no_target(tmp_path, monkeypatch, no_thread, begun):
    monkeypatch.setattr(compress, "_threads", lambda: 4)
    raw = str(tmp_path / "raw")
    files.write_new(raw, os.urandom(6 * files.CHUNK))
    no_thread(begun)
    with pytest.raises(errors.IoError, match="can't start new thread") as refused:
        compress.compress(raw, str(tmp_path / "packed"), "gzip", hasher=hashlib.sha256())
    assert "ulimit -u" in refused.value.hint
    assert os.listdir(tmp_path) == ["raw"]


# --- the zstd program, as it may behave ------------------------------------------------------------------------------


@pytest.fixture
def program(tmp_path, monkeypatch):
    """program(script) -> path of a file to expand; the script of a shell is what the program zstd is from now on."""

    def arrange(script):
        places = tmp_path / "bin"
        places.mkdir()
        (places / "zstd").write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
        (places / "zstd").chmod(0o755)
        monkeypatch.setattr(compress, "_zstd_module", lambda: None)
        monkeypatch.setenv("PATH", f"{places}:{os.environ['PATH']}")
        path = str(tmp_path / "x.zst")
        files.write_new(path, os.urandom(3 * files.CHUNK))
        return path

    return arrange


posix = pytest.mark.skipif(os.name == "nt", reason="the program is a shell script here")


@posix
def test_program_that_is_killed_says_nothing_of_the_backup(program):
    with pytest.raises(OSError, match="ended by signal 9"):
        _expand(program("kill -9 $$"), "zstd")


@posix
def test_program_that_no_thread_can_feed_is_ended(program, no_thread):
    path = program("cat > /dev/null")
    no_thread(0)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(errors.IoError, match="can't start new thread"):
        _expand(path, "zstd")
    assert _children() == []
    assert os.listdir("/proc/self/fd") == before


@posix
def test_backup_that_cannot_be_read_to_its_end_is_an_error_of_the_disk_whatever_the_program_says(program, monkeypatch):
    path = program("cat > /dev/null; echo premature end >&2; exit 1")
    real, seen = os.read, []

    def read(descriptor, count):
        if os.readlink(f"/proc/self/fd/{descriptor}") == path:
            seen.append(count)
            if len(seen) == 2:
                raise OSError(5, "Input/output error")
        return real(descriptor, count)

    if os.path.exists("/proc/self/fd"):
        monkeypatch.setattr(os, "read", read)
        with pytest.raises(OSError, match="Input/output error"):
            _expand(path, "zstd")


@posix
def test_program_that_finds_damage_is_believed(program):
    with pytest.raises(errors.BackupInvalid, match="premature end"):
        _expand(program("cat > /dev/null; echo premature end >&2; exit 1"), "zstd")


@posix
def test_program_takes_no_more_threads_than_any_other_way(program, tmp_path, monkeypatch):
    monkeypatch.setattr(compress.together, "processors", lambda: 64)
    raw = program(f'echo "$@" > {tmp_path}/words; cat')
    compress.compress(raw, str(tmp_path / "packed"), "zstd", hasher=hashlib.sha256())
    assert "-T4" in (tmp_path / "words").read_text(encoding="ascii").split()
