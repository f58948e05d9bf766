# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The only place that touches the disk's names and durability.

Paths are ``str`` with undecodable bytes as surrogate escapes (``os.fsdecode``), so any name of the filesystem passes.
Every function raises ``OSError`` as the system gives it; the operations turn it into the engine's errors.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys

from . import errors, links

CHUNK = 1024 * 1024
PARTIAL = ".partial"
QUARANTINED = ".quarantined"

_BINARY = getattr(os, "O_BINARY", 0)
_CLOEXEC = getattr(os, "O_CLOEXEC", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)
# For changing bytes of a file of ours that is there.
IN_PLACE = os.O_RDWR | _NOFOLLOW | _CLOEXEC | _BINARY


class Resolved(str):
    """A path that is not resolved again: a link in it was put there since, by somebody who owns a directory of it."""


def resolve(path):
    """The real path, every symbolic link resolved once; the file itself need not exist. UsageError for a NUL byte."""
    if isinstance(path, Resolved):
        return path
    if "\0" in os.fsdecode(path):
        raise errors.UsageError("the path has a NUL byte", path=path)
    return Resolved(os.path.realpath(os.path.abspath(os.fsdecode(path))))


def exists(path):
    """Whether the name is taken, also by a dangling symbolic link."""
    return os.path.lexists(path)


def size(path):
    """Bytes of the file, 0 where there is none."""
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def make_directory(path, mode=0o700):
    """Make the directory (and what is missing above it), durable and of that mode; one that is there stays as it is."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    if parent and parent != path:
        make_directory(parent, mode=0o755)
    try:
        make_new_directory(path, mode)
    except FileExistsError:
        if not os.path.isdir(path):
            raise


def make_new_directory(path, mode=0o700):
    """Make the directory, durable and of that mode; FileExistsError if the name is taken: what has it is not ours."""
    with links.place(path) as (directory, name):
        os.mkdir(name, mode, dir_fd=directory)
    _complete_directory(path, mode)
    sync_directory(os.path.dirname(path))


def _complete_directory(path, mode):
    """Give a directory what the caller's umask has taken away, but nothing to what a link in its place leads to."""
    try:
        descriptor = _open(path, os.O_RDONLY | os.O_DIRECTORY | _NOFOLLOW | _CLOEXEC)
    except (AttributeError, PermissionError):  # Windows; or all was taken away from one who changes only what is his.
        os.chmod(path, mode)
        return
    try:
        _complete_mode(descriptor, mode)
    finally:
        os.close(descriptor)


def open_new(path, mode=0o600):
    """Descriptor of a new file, with its final mode from the start; FileExistsError if the name is taken."""
    descriptor = _open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _NOFOLLOW | _CLOEXEC | _BINARY, mode)
    _complete_mode(descriptor, mode)
    return descriptor


def _complete_mode(descriptor, mode):
    """Add what the caller's umask has taken away of a new file's mode: it never had more than that mode."""
    if hasattr(os, "fchmod") and mode & ~os.fstat(descriptor).st_mode:
        os.fchmod(descriptor, mode)


def _open(path, flags, mode=0o600):
    with links.place(path) as (directory, name):
        return os.open(name, flags, mode, dir_fd=directory)


def create_new(path, mode=0o600):
    os.close(open_new(path, mode))


def open_regular(path, follow=False):
    """Read-only descriptor of a regular file. A FIFO, a device or a socket is refused instead of waited for."""
    return _open_regular(path, os.O_RDONLY, follow=follow)


def open_present(path):
    """Descriptor for reading and writing of a regular file that is there. A link, FIFO or device is refused."""
    return _open_regular(path, os.O_RDWR)


def read_small(path, most, follow=False):
    """The bytes of a regular file; OSError (EINVAL) where it has more than ``most`` or is no regular file."""
    with os.fdopen(open_regular(path, follow), "rb") as source:
        data = source.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EINVAL, f"larger than {most} bytes", path)
    return data


def open_append(path, mode=0o600):
    """Descriptor for reading and appending; created with its final mode. A link, FIFO or device is refused."""
    while True:
        try:
            return _open_regular(path, os.O_RDWR | os.O_APPEND)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                descriptor = _open_regular(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, mode)
                _complete_mode(descriptor, mode)
                return descriptor


def _open_regular(path, flags, mode=0o600, follow=False):
    if os.name == "nt":
        from . import windows

        windows.require_regular(path, follow)
    try:
        descriptor = _open(path, flags | _NONBLOCK | _CLOEXEC | _BINARY | (0 if follow else _NOFOLLOW), mode)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENODEV, errno.EISDIR):
            raise _not_regular(path) from None  # A socket, a device without a driver, a directory.
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _not_regular(path)
    return descriptor


def _not_regular(path):
    return OSError(errno.EINVAL, "not a regular file", path)


@contextlib.contextmanager
def being_made(path, mode=0o600):
    """The descriptor of a new file, while the block writes it; a failure leaves no file.

    It is closed before it is removed: Windows removes none that is open.
    """
    descriptor = open_new(path, mode)
    try:
        yield descriptor
    except BaseException:
        os.close(descriptor)
        remove(path)
        raise
    os.close(descriptor)


@contextlib.contextmanager
def naming(descriptor):
    """An error about an open file names it, where the system tells: else nobody knows whose disk is full."""
    try:
        yield
    except OSError as error:
        if not isinstance(error.filename, (str, bytes)):
            with contextlib.suppress(OSError):
                error.filename = os.readlink(f"/proc/self/fd/{descriptor}")
        raise


def write_all(descriptor, data):
    view = memoryview(data)
    with naming(descriptor):
        while view:
            view = view[os.write(descriptor, view) :]


def write_new(path, data, mode=0o600):
    """Create ``path`` with ``data``, durable. A failure half way leaves no file; a crash leaves a part of it."""
    with being_made(path, mode) as descriptor, naming(descriptor):
        write_all(descriptor, data)
        os.fsync(descriptor)


def write_atomically(path, data, mode=0o600):
    """Replace ``path`` by a file with ``data``: at any instant the name has the old content or the new, whole."""
    directory, base = os.path.split(path)
    temporary = os.path.join(directory, f".{base}.{os.getpid()}{PARTIAL}")
    if exists(temporary):
        remove(temporary)
    write_new(temporary, data, mode)
    try:
        replace(temporary, path)
    except BaseException:
        remove(temporary)  # Where it could not be renamed: a directory has the name, say.
        raise


def sync(path):
    """fsync of a file's content and size; through a handle that may write on Windows, which takes no other."""
    descriptor = open_present(path) if os.name == "nt" else open_regular(path)
    try:
        with naming(descriptor):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path):
    """Make the names in a directory durable. A FIFO in its place is not waited for."""
    if os.name == "nt":  # No directory can be opened there.
        return
    flags = os.O_RDONLY | os.O_DIRECTORY | _CLOEXEC
    with links.place(path or ".") as (directory, name):
        led = directory is not None or os.path.basename(path) == links.STATE
        descriptor = os.open(name, flags | (_NOFOLLOW if led else 0), dir_fd=directory)
    try:
        with naming(descriptor):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace(source, target):
    """Rename over ``target``, then fsync the directory. A crash leaves the old file or the new under the name."""
    rename(source, target)
    sync_directory(os.path.dirname(target))


def publish(source, target):
    """Rename to a name that must be free, then fsync the directory."""
    if exists(target):
        raise FileExistsError(17, "the name is taken", target)
    replace(source, target)


def replace_link(destination, path):
    """Make ``path`` a symbolic link, durable: at any instant it leads to the old place or the new one."""
    temporary = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{os.getpid()}{PARTIAL}")
    remove(temporary)
    os.symlink(destination, temporary)
    replace(temporary, path)


def rename(source, target):
    """Rename over ``target``; not durable by itself: follow with ``sync_directory``."""
    with links.places(source, target) as (old, new, where):
        os.replace(old, new, **where)


def link(source, target):
    """A second name for the file, durable."""
    with links.places(source, target) as (old, new, where):
        os.link(old, new, follow_symlinks=False, **where)
    sync_directory(os.path.dirname(target))


def remove(path):
    """Remove a name; one that is not there is fine. Not durable by itself: follow with ``sync_directory``."""
    try:
        with links.place(path) as (directory, name):
            os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        return False
    return True


def remove_durably(*paths):
    """Remove names in one directory, those that are there; what is done after it is kept by no crash without it."""
    removed = [remove(path) for path in paths]
    if any(removed):
        sync_directory(os.path.dirname(paths[0]))


def remove_tree(path):
    """Remove a scratch directory with all that is in it; one that is not there is fine."""
    import shutil

    with contextlib.suppress(OSError), links.place(path) as (directory, name):
        if sys.version_info >= (3, 11):
            shutil.rmtree(name, ignore_errors=True, dir_fd=directory)
        else:  # Older ones take none: a link that is put in the way in this very moment is followed.
            shutil.rmtree(path, ignore_errors=True)


def sync_open(descriptor):
    """fsync of an open file."""
    with naming(descriptor):
        os.fsync(descriptor)


def truncate(path, length):
    """Cut a file of ours off; not durable by itself. Never what a link in its place leads to."""
    descriptor = _open(path, IN_PLACE)
    try:
        os.ftruncate(descriptor, length)
    finally:
        os.close(descriptor)


def truncate_open(descriptor):
    """Empty an open file; not durable by itself."""
    with naming(descriptor):
        os.ftruncate(descriptor, 0)


def sha256(path, progress=None):
    """SHA-256 of a regular file's bytes, as hex."""
    import hashlib

    digest = hashlib.sha256()
    reader = open_regular(path)
    try:
        expected = os.fstat(reader).st_size
        total = 0
        while True:
            data = os.read(reader, CHUNK)
            if not data:
                return digest.hexdigest()
            digest.update(data)
            total += len(data)
            if progress is not None:
                progress(total, expected)
    finally:
        os.close(reader)
