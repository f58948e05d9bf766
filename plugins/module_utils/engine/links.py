# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Not to be led elsewhere by a symbolic link that the owner of a directory has put into it.

The last part of a path is never followed by `files`. Two cases are left, and are here: the state directory, which with
what is below it is a part of the path of all that lies in it, and SQLite, which follows a link in the place of the file
that it is given; Python cannot tell it not to. Root would write into whatever database such a link leads to, so root
looks, on Linux, at what was opened really. Others may write only what is theirs anyway.
"""

from __future__ import annotations

import contextlib
import errno
import os

# Where locks, scratch places and, without a configuration, the audit log lie: a directory in each backup directory.
STATE = ".state"
_LOOK_UP = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_CLOEXEC", 0)
_LOOK_UP |= getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
_BY_DESCRIPTOR = os.open in os.supports_dir_fd and {os.mkdir, os.unlink} <= os.supports_dir_fd
_DESCRIPTORS = "/proc/self/fd"


@contextlib.contextmanager
def place(path):
    """(directory descriptor or None, name in it): what lies in or below a state directory is reached by no link."""
    directory, base = os.path.split(path)
    state, below = _in_state(directory)
    if state is None or not _BY_DESCRIPTOR:
        yield None, path
        return
    descriptor = _look_up(state, None, state)
    try:
        for name in below:
            inner = _look_up(name, descriptor, directory)
            os.close(descriptor)
            descriptor = inner
        yield descriptor, base
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(descriptor)


def _in_state(directory):
    """(the state directory that a directory is or lies in, the names below it); (None, []) where there is none."""
    below: list = []
    while os.path.basename(directory) not in (STATE, ""):
        directory, name = os.path.split(directory)
        below.insert(0, name)
    return (directory, below) if os.path.basename(directory) else (None, [])


def _look_up(name, within, directory):
    try:
        return os.open(name, _LOOK_UP, dir_fd=within)
    except NotADirectoryError:
        raise NotADirectoryError(errno.ENOTDIR, "it is no directory, or a symbolic link to one", directory) from None


def before():
    """What `led_elsewhere` needs to know from before the opening; None where it is not needed or cannot be told."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return None
    return _open_files()


def _open_files():
    """{number: file} of what this process has open."""
    try:
        numbers = os.listdir(_DESCRIPTORS)
    except OSError:
        return None
    found = {}
    for number in numbers:
        with contextlib.suppress(OSError):  # That of the listing itself is closed by now.
            found[number] = os.readlink(f"{_DESCRIPTORS}/{number}")
    return found


def led_elsewhere(path, known):
    """Whether another file than that of this very name was opened since; its directory may be reached through links."""
    now = _open_files() if known is not None else None
    if now is None:
        return False
    opened = [file for number, file in now.items() if known.get(number) != file and file.startswith("/")]
    directory, base = os.path.split(os.path.abspath(path))
    state, below = _in_state(directory)
    directory = os.path.realpath(directory) if state is None else os.path.join(_real(state), *below)
    return bool(opened) and os.path.join(directory, base) not in opened


def _real(state):
    return os.path.join(os.path.realpath(os.path.dirname(state)), STATE)
