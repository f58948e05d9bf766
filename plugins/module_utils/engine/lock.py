# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One operation per name at a time, across processes.

The lock lies in the backup directory (``.state/NAME.lock``), because that is what all callers of a name have in
common, whether they come from a timer, Ansible, the API or a shell, with a configuration or without. The kernel drops
it when its holder dies, so there is no stale lock.
"""

from __future__ import annotations

import contextlib
import json
import os

from . import clock, errors, files, processes

POLL_SECONDS = 0.05

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# On Windows a locked byte cannot be read by others, so it lies behind the text that says who holds it.
_WINDOWS_BYTE = 1 << 20


def _try_lock(descriptor, shared=False):
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        else:
            import msvcrt

            os.lseek(descriptor, _WINDOWS_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        if fcntl is not None:
            raise
        return False  # What Windows' C library says of a byte that is locked differs from release to release.
    return True


def wait_for(descriptor, seconds):
    """Whether the exclusive lock on an open file could be had within so many seconds."""
    deadline = clock.monotonic() + seconds
    while not _try_lock(descriptor):
        if clock.monotonic() >= deadline:
            return False
        clock.sleep(POLL_SECONDS)
    return True


def open_locked(path, seconds):
    """Descriptor of the file, created if need be, with its exclusive lock; None when that was not to be had in time.

    A file that was removed or replaced between opening and locking is opened again, so that two holders never lock
    two files of the same name.
    """
    while True:
        descriptor = files.open_append(path)
        if not wait_for(descriptor, seconds):
            os.close(descriptor)
            return None
        try:
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)


@contextlib.contextmanager
def held(path, operation, seconds):
    """Hold the lock file while the block runs; raises Busy, naming the holder, when it is not free in time."""
    files.make_directory(os.path.dirname(path))
    descriptor = open_locked(path, seconds)
    if descriptor is None:
        owner = read_owner(path)
        raise errors.Busy(
            f"another operation on this name is running: {describe(owner)}; waited {seconds:g} s",
            path=path,
            holder=owner,
        )
    try:
        # Who holds it is told for people. On a full disk it cannot be, and must not stop what would free the disk.
        with contextlib.suppress(OSError):
            _note_owner(descriptor, operation)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                files.truncate_open(descriptor)
    finally:
        os.close(descriptor)


def _note_owner(descriptor, operation):
    owner = {"pid": os.getpid(), "operation": operation, "since": clock.iso(clock.now())}
    files.truncate_open(descriptor)
    files.write_all(descriptor, json.dumps(owner).encode("ascii"))


def read_owner(path):
    """Who wrote itself into the lock file: {pid, operation, since}, or None. It may have died since."""
    try:
        # Whoever owns the directory may have put a FIFO there, which would be waited for without end.
        with os.fdopen(files.open_regular(path), "rb") as source:
            owner = json.loads(source.read(4096))
    except (OSError, ValueError, RecursionError):
        return None
    return owner if _is_owner(owner) else None


def _is_owner(owner):
    """Whether it is as `_note_owner` writes it: the pid becomes a part of a path, the texts of a message."""
    pid = owner.get("pid") if isinstance(owner, dict) else None
    if not isinstance(pid, int) or isinstance(pid, bool):
        return False
    return all(isinstance(owner.get(key), str) and owner[key].isprintable() for key in ("operation", "since"))


def describe(owner):
    if not owner:
        return "its holder has not said who it is"
    command = processes.command(owner.get("pid"))
    return f"{owner.get('operation')} by pid {owner.get('pid')} ({command}) since {owner.get('since')}"


def when_free(path, function, *arguments):
    """Call the function under the lock if nobody holds it now; whether it was called."""
    try:
        descriptor = open_locked(path, 0)
    except OSError:  # A link or the like in its place, or somebody else's: it is not ours to say.
        return False
    if descriptor is None:
        return False
    try:
        function(*arguments)
    finally:
        os.close(descriptor)
    return True


def is_held(path):
    """Whether somebody holds the lock now; creates nothing. Two who ask at once do not take each other for a holder."""
    try:
        descriptor = files.open_present(path)
    except OSError:
        return False
    try:
        return not _try_lock(descriptor, shared=True)
    finally:
        os.close(descriptor)
