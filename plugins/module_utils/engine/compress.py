# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compress and expand the stored file of a backup, as streams of bounded memory.

zstd comes from Python 3.14's own module, else from the ``zstd`` program; gzip is in every Python. Both use as many
threads as there are processors, four at most.
"""

from __future__ import annotations

import contextlib
import os
import struct

from . import errors, files, piping, together

_GZIP_LEVEL, _ZSTD_LEVEL = 6, 3
# What one of zstd's threads works on. Its own choice is four times that, as fast, and takes 72 MB where this takes 23.
_ZSTD_JOB = 2 * 1024 * 1024
# The memory that a frame may ask for when it is expanded, as a power of two: 64 MiB. Ours ask for 2 MiB.
_ZSTD_WINDOW_LOG = 26
_GZIP_WINDOW = 32768
_MOST_THREADS = 4
_ZSTD = ("zstd", "-q", "-c")
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


def _threads():
    return min(together.processors(), _MOST_THREADS)


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
    reader = files.open_regular(source)
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
    """One ordinary gzip member, whose blocks are compressed by several threads.

    Each block is given the end of the one before as its dictionary and ends at a byte (Z_SYNC_FLUSH), so that they can
    be written one after the other (https://www.rfc-editor.org/rfc/rfc1951). Equal content gives equal bytes, with
    however many threads: the blocks are always cut alike, and the header has neither name nor time.
    """
    import collections
    import concurrent.futures
    import zlib

    def packed(data, before, last):
        encoder = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS, zdict=before[-_GZIP_WINDOW:])
        return encoder.compress(data) + encoder.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)

    threads = _threads()
    pending: collections.deque = collections.deque()
    sums = size = 0
    stream.write(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff")
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        before, data = b"", _block(reader)
        while True:
            after = _block(reader) if data else b""
            try:
                pending.append(pool.submit(packed, data, before, not after))
            except RuntimeError as error:
                raise together.too_few(error) from error
            sums, size = zlib.crc32(data, sums), size + len(data)
            before, data = data, after
            while pending and (not after or len(pending) > 2 * threads):
                stream.write(pending.popleft().result())
                if progress is not None:
                    progress(size, expected)
            if not after:
                break
    stream.write(struct.pack("<II", sums, size & 0xFFFFFFFF))


def _block(reader):
    """The next MiB, whole but for the last."""
    found = bytearray()
    while len(found) < files.CHUNK:
        data = os.read(reader, files.CHUNK - len(found))
        if not data:
            break
        found += data
    return bytes(found)


def _zstd_encode(reader, stream, expected, progress):
    module = _zstd_module()
    if module is None:
        _zstd_encode_by_program(reader, stream, expected, progress)
        return
    most = module.CompressionParameter.nb_workers.bounds()[1]  # 0 where the library was built without threads.
    options = {
        module.CompressionParameter.compression_level: _ZSTD_LEVEL,
        module.CompressionParameter.checksum_flag: True,  # As the program does.
        module.CompressionParameter.nb_workers: min(_threads(), most),
    }
    if most:
        options[module.CompressionParameter.job_size] = _ZSTD_JOB
    encoder = module.ZstdCompressor(options=options)
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


def _zstd_encode_by_program(reader, stream, expected, progress):
    done = 0

    def told(data):
        nonlocal done
        done += len(data)

    def failed(complaint):
        return errors.IoError(f"zstd failed: {complaint}")

    pieces = piping.output([*_ZSTD, f"-{_ZSTD_LEVEL}", f"-T{_threads()}", f"-B{_ZSTD_JOB}"], reader, told, failed)
    with contextlib.closing(pieces):
        for data in pieces:
            stream.write(data)
            if progress is not None:
                progress(done, expected)


_ENCODERS = {"gzip": _gzip_encode, "zstd": _zstd_encode}


def expand(source, target, method, *, stored, content, durable=True, limit=None, progress=None):
    """Expand the stored file into the new file ``target``, fsynced if ``durable``; returns its bytes.

    Without a ``target`` it is only read. ``stored`` and ``content`` are hashes that see the stored and the expanded
    bytes. ``limit`` in bytes guards the disk against a damaged or hostile file that never ends. Raises BackupInvalid
    when it cannot be expanded.
    """
    reader = files.open_regular(source)
    pieces = _pieces(reader, source, method, stored, progress)
    try:
        if target is None:
            return _pour(pieces, source, content, limit, None)
        with files.being_made(target) as writer:
            total = _pour(pieces, source, content, limit, writer)
            if durable:
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

    if method == "gzip":
        return _Gzip(zlib), zlib.error
    module = _zstd_module()
    return _Zstd(module), (module.ZstdError, EOFError)


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
        most = {module.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
        self._error, self._decoder = module.ZstdError, module.ZstdDecompressor(options=most)

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


def _expanded_by_program(reader, source, stored, progress):
    expected, done = os.fstat(reader).st_size, 0

    def told(data):
        nonlocal done
        stored.update(data)
        done += len(data)

    def damaged(complaint):
        return errors.BackupInvalid(f"it cannot be expanded ({complaint})", path=source)

    command = [*_ZSTD, "-d", f"--memory={1 << _ZSTD_WINDOW_LOG}"]
    with contextlib.closing(piping.output(command, reader, told, damaged)) as pieces:
        for data in pieces:
            yield data
            if progress is not None:
                progress(done, expected)
