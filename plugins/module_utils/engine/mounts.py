# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the system's table of mounts tells of a path."""

from __future__ import annotations

import os


def is_mount_point(path):
    """Whether the file itself is a mount point (a bind-mounted single file cannot be renamed over)."""
    try:
        with open("/proc/self/mountinfo", "rb") as table:
            raw = os.fsencode(path)
            return any(_unescape(line.split(b" ", 5)[4]) == raw for line in table)
    except OSError:
        return os.path.ismount(path)


def filesystem(path):
    """The type of the filesystem that the real path lies on (``ext4``, ``nfs4``); None where Linux does not tell."""
    best, found = b"", None
    raw = os.fsencode(path)
    try:
        with open("/proc/self/mountinfo", "rb") as table:
            for line in table:
                before, _dash, after = line.partition(b" - ")
                point = _unescape(before.split(b" ", 5)[4])
                # The last of several mounts on one point hides the others.
                if len(point) >= len(best) and (raw + b"/").startswith(point.rstrip(b"/") + b"/"):
                    best, found = point, os.fsdecode(after.split(b" ", 1)[0])
    except OSError:
        return None
    return found


def _unescape(field):
    for code, plain in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
        field = field.replace(code, plain)
    return field
