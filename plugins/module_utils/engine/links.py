# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Not to be led elsewhere by a symbolic link that the owner of a directory has put into it.

The last part of a path is never followed by `files`. Two cases are left, and are here: the state directory, which is a
part of the path of all that lies in it, and SQLite, which follows a link in the place of the file that it is given;
Python cannot tell it not to. Root would read or write whatever database such a link leads to, so root looks, on Linux,
at what was opened really. Others may open only what is theirs anyway.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from . import errors

# Where locks, scratch places and, without a configuration, the audit log lie: a directory in each backup directory.
STATE = ".state"
_LOOK_UP = (
    getattr(os, "O_PATH", os.O_RDONLY)
    | getattr(os, "O_DIRECTORY", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
)
_BY_DESCRIPTOR = {os.open, os.mkdir, os.unlink, os.rename, os.link} <= os.supports_dir_fd


@contextlib.contextmanager
def place(path):
    """(directory descriptor or None, name in it) for reaching what lies in a state directory, through no link in it."""
    above, state, below = os.fspath(path).partition(f"{os.sep}{STATE}{os.sep}")
    if not state or not _BY_DESCRIPTOR:
        yield None, path
        return
    *between, base = below.split(os.sep)
    here, directory = above + os.sep, None
    with contextlib.ExitStack() as held:
        for part in (STATE, *between):
            here = os.path.join(here, part)
            directory = _look_up(here if directory is None else part, directory, here)
            held.callback(os.close, directory)
        try:
            yield directory, base
        except OSError as error:
            if error.filename == base:
                error.filename = path
            raise


@contextlib.contextmanager
def places(source, target):
    """(name, name, options with both directories) for ``os.replace`` and ``os.link``: both as by `place`."""
    with contextlib.ExitStack() as held:
        here, old = held.enter_context(place(source))
        there, new = held.enter_context(place(target))
        try:
            yield old, new, {"src_dir_fd": here, "dst_dir_fd": there}
        except OSError as error:
            error.filename, error.filename2 = source, target
            raise


def _look_up(name, directory, path):
    try:
        return os.open(name, _LOOK_UP, dir_fd=directory)
    except NotADirectoryError:
        raise NotADirectoryError(errno.ENOTDIR, "it is no directory, or a symbolic link to one", path) from None
    except OSError as error:
        error.filename = path
        raise


def open_files():
    """{descriptor: file} of the regular files that root's process has open; None for others, and where none tells."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return None
    try:
        numbers = os.listdir("/proc/self/fd")
    except OSError:
        return None
    found = {}
    for number in map(int, numbers):
        with contextlib.suppress(OSError):  # That of the listing itself is closed by now.
            facts = os.fstat(number)
            if stat.S_ISREG(facts.st_mode):
                found[number] = (facts.st_dev, facts.st_ino)
    return found


def require_not_led(connection, path, known):
    """Close the connection and raise PermissionDenied where it has opened another file than that of this very name.

    ``known`` is what was open before. Nothing of the file was read or written yet.
    """
    now = open_files() if known is not None else None
    opened = {file for number, file in (now or {}).items() if known.get(number) != file}
    if not opened:  # SQLite goes on with a descriptor that it had kept.
        return
    named = None
    with contextlib.suppress(OSError), place(path) as (directory, name):
        facts = os.stat(name, dir_fd=directory, follow_symlinks=False)
        named = (facts.st_dev, facts.st_ino)
    if named not in opened:
        connection.close()
        raise errors.PermissionDenied("a link was put in its place, and root does not follow it", path=path)
