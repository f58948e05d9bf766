# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How much room a filesystem has, asked before anything is written."""

from __future__ import annotations

import os

from . import errors


def free_bytes(path):
    """Bytes that this user may still write on the filesystem of an existing directory."""
    if hasattr(os, "statvfs"):
        facts = os.statvfs(path)
        return facts.f_frsize * (facts.f_bfree if os.geteuid() == 0 else facts.f_bavail)
    import shutil

    return shutil.disk_usage(path).free


def disk_use(path):
    """(used bytes, bytes that ordinary users can have in all) of the filesystem, counted as ``df`` does."""
    if hasattr(os, "statvfs"):
        facts = os.statvfs(path)
        used = facts.f_frsize * (facts.f_blocks - facts.f_bfree)
        return used, used + facts.f_frsize * facts.f_bavail
    import shutil

    usage = shutil.disk_usage(path)
    return usage.used, usage.total


def require_space(directory, needed, what):
    """Raise NoSpace unless ``needed`` bytes are free; nothing is written."""
    free = free_bytes(directory)
    if free < needed:
        raise errors.NoSpace(
            f"{what} needs {needed} bytes and {free} are free", path=directory, needed_bytes=needed, free_bytes=free
        )
