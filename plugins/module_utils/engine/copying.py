# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Move the bytes of files quickly, and hash them while they pass.

The ways to move them, the quickest first:

* ``reflink``: both files share the same blocks until one is written to (FICLONE: XFS, btrfs, bcachefs). It costs the
  same at every size.
* ``copy_file_range``: the kernel copies from cache to cache; the bytes do not pass through this process.
* ``read``: plain reads and writes, where the system has neither.

Threads of `behind` hash what was copied, and write it to the disk while the copying goes on.
"""

from __future__ import annotations

import contextlib
import os
import sys

from . import behind, files

REFLINK, IN_KERNEL, READ = "reflink", "copy_file_range", "read"
PIECE = 1024 * 1024
# Where the file is not in memory, the disk reads on while a piece is being copied. More than this was no better.
_AHEAD = 2 * 1024 * 1024
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
    mean that the file ended. Not durable.
    """
    done, asked, way = 0, 0, IN_KERNEL
    while done < length and way == IN_KERNEL:
        if asked <= done + _AHEAD:
            asked = _read_ahead(reader, asked)
        try:
            count = os.copy_file_range(reader, writer, min(PIECE, length - done), done, done)
        except (AttributeError, OSError):
            count = 0  # Not on this system, or not between these two: plain writing tells what is really wrong.
        if count:
            done = _passed(done + count, moved)
        else:
            way = READ  # Some filesystems say so of files that have not ended.
    first = done
    if done < length:
        done = _by_reading(reader, writer, done, length, moved)
    return done, IN_KERNEL if done and done == first else READ


def _read_ahead(reader, start):
    with contextlib.suppress(AttributeError, OSError):  # It is a hint.
        os.posix_fadvise(reader, start, _AHEAD, os.POSIX_FADV_WILLNEED)
    return start + _AHEAD


def _by_reading(reader, writer, done, length, moved):
    os.lseek(reader, done, os.SEEK_SET)
    os.lseek(writer, done, os.SEEK_SET)
    while done < length:
        data = os.read(reader, min(files.CHUNK, length - done))
        if not data:
            break
        files.write_all(writer, data)
        done += len(data)
        _passed(done, moved)
    return done


def _passed(done, moved):
    if moved is not None:
        moved(done)
    return done


# --- whole files -----------------------------------------------------------------------------------------------------


def copy(source, target, *, hashing=False, durable=True, progress=None, mode=0o600):
    """Copy a regular file into a new one, fsynced if ``durable``: (bytes, SHA-256 as hex or None).

    With ``hashing`` the bytes of the copy are hashed, while they pass or, where they share blocks, from the copy.
    A failure half way removes the target.
    """
    reader = files.open_regular(source)
    try:
        with files.being_made(target, mode) as writer:
            size = os.fstat(reader).st_size
            passing = behind.Passing(target, size, hashing=hashing, durable=durable, progress=progress)
            with contextlib.closing(passing):
                if not reflink(reader, writer):
                    size, _way = move(reader, writer, size, passing)
                found, taken = None, passing.finish()
                if hashing:
                    with contextlib.closing(taken or behind.Hashing.whole(target)) as digest:
                        found = digest.hexdigest()
            if durable:
                files.sync_open(writer)
            return size, found
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
