# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Move the bytes of files quickly, and hash them while they pass.

The ways to move them, the quickest first:

* ``reflink``: both files share the same blocks until one is written to (FICLONE: XFS, btrfs, bcachefs). It costs the
  same at every size.
* ``copy_file_range``: the kernel copies from cache to cache; the bytes do not pass through this process.
* ``read``: plain reads and writes, where the system has neither.

Write-back of each piece is started as soon as it is written, so that the fsync at the end finds little left to do:
measured at 1 GB on ext4, 0.45 s instead of 0.64 s for copy and fsync together.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading

from . import files

REFLINK, IN_KERNEL, READ = "reflink", "copy_file_range", "read"
PIECE = 8 * 1024 * 1024
# How far apart the states are from which a hash can be taken up again.
_STATES = 64 * 1024 * 1024
# _IOW(0x94, 9, int), the same number on every architecture that Linux' generic ioctl numbers are used on:
# https://man7.org/linux/man-pages/man2/ioctl_ficlone.2.html
_FICLONE = 0x40049409


def reflink(reader, writer):
    """Let the open file ``writer`` share the blocks of ``reader``; False where that cannot be done. Not durable.

    The filesystem takes the whole file as it is at one moment, with what other processes have not written back yet.
    """
    if not sys.platform.startswith("linux"):
        return False
    import fcntl

    try:
        fcntl.ioctl(writer, _FICLONE, reader)
    except OSError:
        return False  # Another filesystem, or one that cannot: the bytes are copied, which tells what is really wrong.
    return True


def move(reader, writer, length, moved=None):
    """Copy up to ``length`` bytes from the start of one open file to the start of another: (how many, by which way).

    ``moved(bytes so far)`` is called after each piece; what it raises ends the copying. Fewer bytes than ``length``
    mean that the file ended. Not durable, but write-back has begun.
    """
    done, way = 0, IN_KERNEL
    while done < length and way == IN_KERNEL:
        try:
            count = os.copy_file_range(reader, writer, min(PIECE, length - done), done, done)
        except (AttributeError, OSError):
            count = 0  # Not on this system, or not between these two: plain writing tells what is really wrong.
        if count:
            done = _passed(writer, done, count, moved)
        else:
            way = READ  # Some filesystems say so of files that have not ended.
    first = done
    if done < length:
        done = _by_reading(reader, writer, done, length, moved)
    return done, IN_KERNEL if done and done == first else READ


def _by_reading(reader, writer, done, length, moved, hasher=None):
    os.lseek(reader, done, os.SEEK_SET)
    os.lseek(writer, done, os.SEEK_SET)
    behind = done
    while done < length:
        data = os.read(reader, min(files.CHUNK, length - done))
        if not data:
            break
        if hasher is not None:
            hasher.update(data)
        files.write_all(writer, data)
        done += len(data)
        if done - behind >= PIECE:
            behind = _passed(writer, behind, done - behind, moved)
    if done > behind:
        _passed(writer, behind, done - behind, moved)
    return done


def _passed(writer, start, count, moved):
    begin_write_back(writer, start, count)
    if moved is not None:
        moved(start + count)
    return start + count


def begin_write_back(writer, start, count):
    """Let the system begin to write these bytes to the disk now.

    "Not needed any more" makes Linux begin to write what is dirty; the pages stay in the cache while it does, and with
    them what a verification is going to read.
    """
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):  # It is a hint; the fsync at the end is what counts.
            os.posix_fadvise(writer, start, count, os.POSIX_FADV_DONTNEED)


# --- whole files -----------------------------------------------------------------------------------------------------


def copy(source, target, *, hasher=None, progress=None, mode=0o600):
    """Copy the bytes of a regular file into a new file, fsynced; returns the number of bytes.

    ``hasher.update`` sees the bytes as they pass, so that no second reading is needed.
    A failure half way removes the target.
    """
    reader = files.open_regular(source, follow=True)
    try:
        with files.being_made(target, mode) as writer:
            size = os.fstat(reader).st_size
            moved = None if progress is None else lambda done: progress(done, size)
            if hasher is not None:
                size = _by_reading(reader, writer, 0, size, moved, hasher)
            elif not reflink(reader, writer):
                size, _way = move(reader, writer, size, moved)
            files.sync_open(writer)
            return size
    finally:
        os.close(reader)


def copy_range(reader, offset, length, writer):
    """Copy so many bytes of an open file, from an offset on, into another; returns how many. Not durable."""
    os.lseek(reader, offset, os.SEEK_SET)
    copied = 0
    while copied < length:
        data = os.read(reader, min(files.CHUNK, length - copied))
        if not data:
            break
        files.write_all(writer, data)
        copied += len(data)
    return copied


def append(source, target):
    """Add the bytes of a regular file to the end of another, which is made where it is missing; returns its size.

    Not durable: whoever finishes the target checks all of it and syncs it.
    """
    reader = files.open_regular(source)
    try:
        writer = files.open_append(target)
        try:
            copy_range(reader, 0, os.fstat(reader).st_size, writer)
            return os.fstat(writer).st_size
        finally:
            os.close(writer)
    finally:
        os.close(reader)


# --- hashing ---------------------------------------------------------------------------------------------------------


class Following:
    """SHA-256 of a file that is still being written, taken by a thread that reads behind the writer.

    ``begin`` stands for the first bytes of the file, whatever is there: it is for a header that will be changed.
    `close` ends the thread and must be called.
    """

    def __init__(self, path, begin=b""):
        import hashlib

        # A descriptor of its own, which outlives the writer's.
        self._descriptor = files.open_regular(path)
        self._begin = begin
        self._states = {0: hashlib.sha256()}
        self._news = threading.Condition()
        self._reached, self._hashed = 0, 0
        self._ended = self._stopped = False
        self._error = None
        self._thread = threading.Thread(target=self._run, name="sha256", daemon=True)
        self._thread.start()

    def reached(self, position):
        """So many bytes from the start are there now."""
        with self._news:
            self._reached = max(self._reached, position)
            self._news.notify()

    def hexdigest(self, size, again_from=None, progress=None):
        """SHA-256 of the first ``size`` bytes, as hex; from ``again_from`` on they were changed after they passed."""
        with self._news:
            self._ended = True
            self._news.notify()
        while self._thread.is_alive():
            self._thread.join(0.1)  # With a limit, so that a signal is heard.
            if progress is not None:
                progress(self._hashed, size)
        if self._error is not None:
            raise self._error
        self._begin = b""  # The file is finished: what is hashed from here on is as it is.
        position = min(size, self._hashed if again_from is None else again_from)
        position = max(known for known in self._states if known <= position)
        digest, buffer = self._states[position].copy(), bytearray(files.CHUNK)
        while position < size:
            count = self._feed(digest, position, size, buffer)
            if not count:
                raise OSError(5, f"it ends after {position} of {size} bytes")
            position += count
            if progress is not None:
                progress(position, size)
        return digest.hexdigest()

    def _run(self):
        digest, buffer = self._states[0].copy(), bytearray(files.CHUNK)
        try:
            while True:
                with self._news:
                    while self._hashed == self._reached and not self._ended:
                        self._news.wait()
                    limit = self._reached
                if self._hashed == limit:
                    self._states[limit] = digest
                    return
                while self._hashed < limit:
                    if self._stopped:
                        return
                    count = self._feed(digest, self._hashed, limit, buffer)
                    if not count:
                        return  # It was cut off meanwhile; `hexdigest` takes up what is left.
                    self._hashed += count
                    if self._hashed % _STATES == 0:
                        self._states[self._hashed] = digest.copy()
        except OSError as error:
            self._error = error

    def _feed(self, digest, position, limit, buffer):
        """Hash as much as fits into the buffer; returns how many bytes, 0 at the end of the file."""
        os.lseek(self._descriptor, position, os.SEEK_SET)
        count = files.read_into(self._descriptor, memoryview(buffer)[: limit - position])
        if position < len(self._begin):
            buffer[position : len(self._begin)] = self._begin[position:]
        digest.update(memoryview(buffer)[:count])
        return count

    def close(self):
        with self._news:
            self._ended = self._stopped = True
            self._news.notify()
        self._thread.join()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Digest:
    """SHA-256 of a finished file, taken up where it was hashed while it passed. `close` must be called."""

    def __init__(self, path, following=None, again_from=None):
        self._path, self._following, self._again_from = path, following, again_from

    def hexdigest(self, progress=None):
        if self._following is None:
            return files.sha256(self._path, progress)
        return self._following.hexdigest(files.size(self._path), self._again_from, progress)

    def close(self):
        if self._following is not None:
            self._following.close()
