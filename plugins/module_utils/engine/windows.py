# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Windows has where POSIX has something else: names, places, open files, access rights.

Imported on Windows alone. The functions below the line ask the system; the others are pure.
"""

from __future__ import annotations

import ctypes
import errno
import ntpath
import os
import re

# Whatever follows a dot, a file of such a name is a device:
# https://learn.microsoft.com/en-us/windows/win32/fileio/naming-a-file
_DEVICES = re.compile(r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9\u00b9\u00b2\u00b3])(\..*)?", re.IGNORECASE)


def unusable(name):
    """Why no file or directory can have that very name; None where it can."""
    odd = [character for character in name if character in '<>:"|?*']
    if odd:
        return f"it has a '{odd[0]}'"
    if name[-1] in ". ":
        return "it ends with a dot or a space"
    return "it is the name of a device" if _DEVICES.fullmatch(name) else None


def places(environment):
    """(configuration, audit log, directory of all backups) where nothing else is said.

    They lie in what all users share. Any user may make a directory there, so an administrator has to make this one.
    """
    ours = ntpath.join(environment.get("PROGRAMDATA") or "C:\\ProgramData", "digitalme-backup")
    return tuple(ntpath.join(ours, part) for part in ("config.json", "audit.jsonl", "backups"))


def uri_path(quoted):
    """What follows ``file:`` in a URI: of ``C:/app.db``, or of ``//computer/share/app.db``."""
    return ("//" if quoted.startswith("//") else "/") + quoted


def require_regular(path, follow):
    """Refuse a link and a directory by name: no flag of open does, and a directory is reported as a lack of rights."""
    if not follow and os.path.islink(path):
        raise OSError(errno.ELOOP, "it is a symbolic link", path)
    if os.path.isdir(path):
        raise OSError(errno.EINVAL, "not a regular file", path)


# --- asking the system -----------------------------------------------------------------------------------------------

_READ, _SHARED_WITH_NOBODY, _ONLY_IF_THERE, _NO_HANDLE = 0x80000000, 0, 3, ctypes.c_void_p(-1).value
_IS_SHARED, _ACCESS_LIST = 32, 4
_NO_ACCESS_LISTS = (1, 50)  # ERROR_INVALID_FUNCTION, ERROR_NOT_SUPPORTED: a filesystem without them (FAT).


def _library(name):
    return ctypes.WinDLL(name, use_last_error=True)  # type: ignore[attr-defined]


def _last_error():
    return ctypes.get_last_error()  # type: ignore[attr-defined]


def is_open(path):
    """Whether somebody, this process too, has the file open; False where it is not there or we may not look.

    Windows does not say who. It is opened for a moment without letting anybody share it, which only then succeeds.
    """
    kernel = _library("kernel32")
    kernel.CreateFileW.restype = ctypes.c_void_p
    handle = kernel.CreateFileW(path, _READ, _SHARED_WITH_NOBODY, None, _ONLY_IF_THERE, 0, None)
    if handle == _NO_HANDLE:
        return _last_error() == _IS_SHARED
    kernel.CloseHandle(ctypes.c_void_p(handle))
    return False


def copy_access(reference, target):
    """Give ``target`` the access control list of ``reference``, where there are such. Raises OSError."""
    security = _library("advapi32")
    needed = ctypes.c_ulong()
    security.GetFileSecurityW(reference, _ACCESS_LIST, None, 0, ctypes.byref(needed))
    description = ctypes.create_string_buffer(needed.value or 1)
    size = ctypes.c_ulong(len(description))
    done = security.GetFileSecurityW(reference, _ACCESS_LIST, description, size, ctypes.byref(needed))
    done = done and security.SetFileSecurityW(target, _ACCESS_LIST, description)
    if not done and _last_error() not in _NO_ACCESS_LISTS:
        raise ctypes.WinError(_last_error())  # type: ignore[attr-defined]
