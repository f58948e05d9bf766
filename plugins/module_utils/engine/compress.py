# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compress and expand the stored file of a backup, as streams of bounded memory.

zstd comes from Python 3.14's own module, else from the ``zstd`` program; gzip is in every Python.
"""

from __future__ import annotations

import os
from typing import Any

from . import errors, files

SUFFIXES = {"none": "", "gzip": ".gz", "zstd": ".zst"}
METHODS = tuple(SUFFIXES)


def by_suffix(name):
    """The compression that a file name tells."""
    for method, suffix in SUFFIXES.items():
        if suffix and name.endswith(suffix):
            return method
    return "none"


def require(method):
    """Raise UsageError when this host has no way to do it."""
    if method not in SUFFIXES:
        raise errors.UsageError(f"unknown compression '{method}'; there are: {', '.join(METHODS)}")
    if method == "zstd" and _zstd_module() is None and not _has_program():
        raise errors.UsageError(
            "compression 'zstd' needs Python 3.14 or the zstd program",
            hint="Install the zstd package on the host, or choose gzip or none.",
        )


def _has_program():
    import shutil

    return shutil.which("zstd") is not None


def _zstd_module():
    try:
        from compression import zstd
    except ImportError:
        return None
    return zstd


def compress(source, target, method, *, hasher, progress=None):
    """Compress into the new file ``target``, fsynced; ``hasher`` sees the stored bytes. Returns their number."""
    require(method)
    reader = files.open_regular(source, follow=True)
    try:
        with files.being_made(target) as writer:
            _ENCODERS[method](reader, _Counting(writer, hasher), os.fstat(reader).st_size, progress)
            files.sync_open(writer)
            return os.fstat(writer).st_size
    finally:
        os.close(reader)


class _Counting:
    """A write-only stream onto a descriptor that shows every byte to a hash."""

    def __init__(self, descriptor, hasher):
        self._descriptor, self._hasher = descriptor, hasher

    def write(self, data):
        self._hasher.update(data)
        files.write_all(self._descriptor, data)
        return len(data)

    def flush(self):
        pass


def _gzip_encode(reader, stream, expected, progress):
    import zlib

    # 31: a gzip wrapper with no name and no time, so that equal content gives equal bytes.
    encoder = zlib.compressobj(6, zlib.DEFLATED, 31)
    done = 0
    while True:
        data = os.read(reader, files.CHUNK)
        if not data:
            break
        stream.write(encoder.compress(data))
        done += len(data)
        if progress is not None:
            progress(done, expected)
    stream.write(encoder.flush())


def _zstd_encode(reader, stream, expected, progress):
    module = _zstd_module()
    if module is None:
        for data in _program(["-3", "-T0"], reader, lambda complaint: errors.IoError(f"zstd failed: {complaint}")):
            stream.write(data)
            if progress is not None:
                progress(os.lseek(reader, 0, os.SEEK_CUR), expected)
        return
    encoder = module.ZstdCompressor(level=3)
    done = 0
    while True:
        data = os.read(reader, files.CHUNK)
        if not data:
            break
        stream.write(encoder.compress(data))
        done += len(data)
        if progress is not None:
            progress(done, expected)
    stream.write(encoder.flush())


_ENCODERS = {"gzip": _gzip_encode, "zstd": _zstd_encode}


def expand(source, target, method, *, stored, content, limit=None, progress=None):
    """Expand the stored file into the new file ``target``, fsynced; returns its bytes. Without one it is only read.

    ``stored`` and ``content`` are hashes that see the stored and the expanded bytes; None where these are the same, so
    that they are hashed once. ``limit`` in bytes guards the disk
    against a damaged or hostile file that never ends. Raises BackupInvalid when it cannot be expanded.
    """
    reader = files.open_regular(source, follow=True)
    pieces = _pieces(reader, source, method, stored, progress)
    try:
        if target is None:
            return _pour(pieces, source, content, limit, None)
        with files.being_made(target) as writer:
            total = _pour(pieces, source, content, limit, writer)
            files.sync_open(writer)
            return total
    finally:
        pieces.close()  # Ends the zstd program now, not when the error is forgotten.
        os.close(reader)


def _pour(pieces, source, content, limit, writer):
    total = 0
    for data in pieces:
        total += len(data)
        if limit is not None and total > limit:
            raise errors.BackupInvalid(f"it expands to more than the {limit} bytes of its manifest", path=source)
        if content is not None:
            content.update(data)
        if writer is not None:
            files.write_all(writer, data)
    return total


def _pieces(reader, source, method, stored, progress):
    if method == "zstd" and _zstd_module() is None:
        require(method)
        yield from _expanded_by_program(reader, source, stored, progress)
        return
    decoder, damage = _decoder(method)
    expected, done = os.fstat(reader).st_size, 0
    while True:
        data = os.read(reader, files.CHUNK)
        if not data:
            break
        stored.update(data)
        done += len(data)
        if progress is not None:
            progress(done, expected)
        try:
            yield from decoder.feed(data)
        except damage as error:
            raise errors.BackupInvalid(f"it cannot be expanded ({error})", path=source) from error
    if not decoder.finished:
        raise errors.BackupInvalid("its compressed data ends too early", path=source)


def _decoder(method):
    import zlib

    if method == "none":
        return _Plain(), ()
    if method == "gzip":
        return _Gzip(zlib), zlib.error
    module = _zstd_module()
    return _Zstd(module), (module.ZstdError, EOFError)


class _Plain:
    finished = True

    def feed(self, data):
        yield data


class _Gzip:
    """One gzip member; expanded in pieces of at most 1 MiB, however much they were compressed."""

    def __init__(self, zlib):
        self._zlib, self._decoder = zlib, zlib.decompressobj(31)

    @property
    def finished(self):
        return self._decoder.eof

    def feed(self, data):
        full = False
        while data or full:
            if self._decoder.eof:
                raise self._zlib.error("data after the end")
            piece = self._decoder.decompress(data, files.CHUNK)
            yield piece
            data = self._decoder.unconsumed_tail or self._decoder.unused_data
            full = len(piece) == files.CHUNK and not self._decoder.eof


class _Zstd:
    def __init__(self, module):
        self._error, self._decoder = module.ZstdError, module.ZstdDecompressor()

    @property
    def finished(self):
        return self._decoder.eof

    def feed(self, data):
        if self._decoder.eof:
            raise self._error("data after the end")
        yield self._decoder.decompress(data, files.CHUNK)
        while not self._decoder.needs_input and not self._decoder.eof:
            yield self._decoder.decompress(b"", files.CHUNK)
        if self._decoder.unused_data:
            raise self._error("data after the end")


# --- the zstd program ----------------------------------------------------------------------------------------------


def _program(options, reader, failure):
    """The output of the zstd program fed from a descriptor, in pieces; raises ``failure(complaint)``."""
    import subprocess

    command = ["zstd", "-q", "-c", *options]
    # The engine knows no Ansible module whose run_command it could use, and that one cannot stream.
    started: Any = subprocess.Popen(  # pylint: disable=ansible-bad-function
        command, stdin=reader, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with started as program:
        while True:
            data = program.stdout.read(files.CHUNK)
            if not data:
                break
            yield data
        complaint = program.stderr.read().decode("utf-8", "replace").strip()
    if program.returncode:
        raise failure(complaint)


def _expanded_by_program(reader, source, stored, progress):
    # The stored bytes are hashed in a reading of their own: the program reads the descriptor by itself.
    expected, done = os.fstat(reader).st_size, 0
    while True:
        data = os.read(reader, files.CHUNK)
        if not data:
            break
        stored.update(data)
        done += len(data)
        if progress is not None:
            progress(done, expected)
    os.lseek(reader, 0, os.SEEK_SET)

    def damaged(complaint):
        return errors.BackupInvalid(f"it cannot be expanded ({complaint})", path=source)

    yield from _program(["-d", "--memory=64MB"], reader, damaged)
