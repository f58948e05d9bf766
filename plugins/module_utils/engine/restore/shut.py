# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keep every user of SQLite out of a file while it is renamed.

SQLite locks bytes of the database file itself (https://www.sqlite.org/lockingv3.html): whoever reads or writes holds a
shared lock on some of them, in WAL mode from the first access until the connection is closed. An exclusive lock on all
of them is had only where nobody is, and while it is held nobody begins: no transaction, no log, no journal.

The lock belongs to the open file (Linux, ``F_OFD_SETLK``) and not to the process, so that closing another descriptor of
the file does not drop it. A crash does. Where there are no such locks nobody is kept out.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct

from .. import clock, errors, files, processes

try:
    import fcntl
except ImportError:  # Windows, where nothing that is open is renamed over.
    fcntl = None  # type: ignore[assignment]

CAN_SHUT = hasattr(fcntl, "F_OFD_SETLK")
# SQLite's pending byte, its reserved byte and the 510 bytes of its shared locks.
_FIRST, _LENGTH = 0x40000000, 512
PATIENCE, _PAUSE = 0.1, 0.01
_PARTING = 30.0
_TAKEN = (errno.EAGAIN, errno.EACCES)
STOP_IT = "The file is replaced only while nobody uses it: stop the application and run the command again."


@contextlib.contextmanager
def shut(path, live=None, patience=PATIENCE):
    """Nobody gets SQLite's lock on the file while the block runs. Raises DatabaseBusy where somebody has it and stays,
    for ``patience`` seconds.

    ``live`` is the database's own name, where ``path`` is another one. A file that does not have it afterwards stays
    shut while somebody has it open. One that is not there, cannot be written, or lies where nothing can be locked is
    left open.
    """
    try:
        descriptor = os.open(path, files.IN_PLACE) if CAN_SHUT else None
    except OSError:
        descriptor = None
    if descriptor is None:
        yield
        return
    try:
        deadline = clock.monotonic() + patience
        while not _locked(descriptor):
            if clock.monotonic() >= deadline:
                raise errors.DatabaseBusy("another connection uses it", path=path, hint=STOP_IT)
            clock.sleep(_PAUSE)
        try:
            yield
        finally:
            _outlast_users(descriptor, path if live is None else live)
    finally:
        os.close(descriptor)


def _outlast_users(descriptor, live):
    """The file of a restore that was undone is the database no more. Who has opened it meanwhile would find the log and
    the journal of the old one by their names, and write into them: it is let in nowhere until it has closed the file.
    """
    deadline = clock.monotonic() + _PARTING
    facts = os.fstat(descriptor)
    file = (facts.st_dev, facts.st_ino)
    while not _is_named(live, file) and clock.monotonic() < deadline:
        if not processes.users({file})[0]:
            return
        clock.sleep(_PAUSE)


def _is_named(path, file):
    try:
        facts = os.lstat(path)
    except OSError:
        return False
    return (facts.st_dev, facts.st_ino) == file


def _locked(descriptor):
    """Whether nobody else has a lock: it is ours, or the filesystem knows none."""
    wanted = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, _FIRST, _LENGTH, 0)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, wanted)
    except OSError as error:
        return error.errno not in _TAKEN
    return True
