# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Find SQLite databases below directories, by their first 100 bytes.

Only regular files are opened, and no symbolic link is followed: a FIFO would hang, a device could start to do
something. Mounted networks and what the kernel makes up are left out by the table of mounts, before they are touched.

Closing a descriptor of a database drops this process's own POSIX locks on it. What is here holds none, but a process
that has SQLite connections open (a service, say) must run it in a child process.
"""

from __future__ import annotations

import errno
import fnmatch
import os
import re
import stat
from typing import NamedTuple

from . import errors, files, header

# Beside what the kernel makes up, the layers of containers: what lives longer than a container lies on a volume.
EXCLUDES = (
    *("/proc", "/sys", "/dev", "/run"),
    *("*/docker/overlay2", "*/docker/aufs", "*/docker/btrfs", "*/docker/devicemapper", "*/docker/vfs"),
    *("*/containers/storage/overlay*", "*/containers/storage/vfs*"),
    *("*/io.containerd.*", "*/.snapshots"),
)
KERNEL = {
    *("autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "efivarfs"),
    *("fusectl", "hugetlbfs", "mqueue", "nsfs", "proc", "pstore", "rpc_pipefs", "securityfs", "selinuxfs", "sysfs"),
    "tracefs",
}
# Other hosts' files, files of containers, and images, in which nothing can be written.
ELSEWHERE = {
    *("9p", "afs", "ceph", "cifs", "coda", "fuse", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs"),
    *("overlay", "cramfs", "erofs", "iso9660", "squashfs"),
}
EXAMPLES = 20
MOUNTS = "/proc/self/mountinfo"
_HEAD = 100
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_NO_ATIME = getattr(os, "O_NOATIME", 0)
# It was removed, or is something else by now: nothing that could not be read.
_GONE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENXIO}


class Found(NamedTuple):
    """A database: its path, what fstat says of the open file, and its `header.Header`."""

    path: str
    facts: os.stat_result
    header: header.Header

    @property
    def identity(self):
        """What is the same for all names of the file."""
        return self.facts.st_dev, self.facts.st_ino


class Notes:
    """What a search saw beside the databases.

    ``files`` counts the regular files that were opened. ``roots`` are rows of {path, problem (None: it was searched)},
    ``skipped`` rows of {path, type} of the mounts that were left out. ``unreadable`` counts what could not be read or
    entered; ``examples`` has the first of it, rows of {path, reason}.
    """

    def __init__(self):
        self.files = 0
        self.roots = []
        self.skipped = []
        self.unreadable = 0
        self.examples = []

    def failed(self, path, error):
        """Note an OSError, unless it says that the file is gone."""
        if error.errno not in _GONE:
            self.unread(path, error.strerror or str(error))

    def unread(self, path, reason):
        self.unreadable += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append({"path": path, "reason": reason})


class _Rules(NamedTuple):
    """``excluded(path, name)`` and ``mounts`` {path: type}; the other ``roots`` have a walk of their own."""

    excluded: object
    mounts: dict
    roots: frozenset
    same_filesystem: bool


def find(roots, notes, *, excludes=(), min_bytes=0, same_filesystem=False):
    """Yield a Found for every name of a database below the roots, in no order; a hard link is a second name.

    ``roots`` are absolute paths of directories or files; links in them are resolved. ``excludes`` are patterns beside
    `EXCLUDES`: one with a '/' is matched against whole paths, else against names. A root is looked into even if it is
    excluded or on a network. With ``same_filesystem`` no other one is entered. What is smaller than ``min_bytes`` is
    left out. ``notes`` is filled on the way. Raises UsageError for a relative root and a pattern that matches nothing.

    Memory is needed for the names of directories not yet entered, and for nothing else.
    """
    if os.scandir not in os.supports_fd:
        raise errors.UsageError("databases can be searched on POSIX systems only")
    if not roots:
        raise errors.UsageError("no directory to search is given")
    for root in roots:
        if not os.path.isabs(os.fsdecode(root)):
            raise errors.UsageError("a directory to search must be an absolute path", path=root)
    places = list(dict.fromkeys(files.resolve(root) for root in roots))
    rules = _Rules(_excluded((*EXCLUDES, *excludes)), mounts(), frozenset(places), same_filesystem)
    return _search(places, rules, min_bytes, notes)


def _search(places, rules, min_bytes, notes):
    for root in places:
        problem = _problem(root, rules.mounts)
        notes.roots.append({"path": root, "problem": problem})
        if problem is None:
            for found in _below(root, rules, notes):
                if found.facts.st_size >= min_bytes:
                    yield found


def _problem(root, mounted):
    """Why a root cannot be searched, or None."""
    try:
        mode = os.lstat(root).st_mode
    except OSError as error:
        return error.strerror
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        return "it is neither a directory nor a regular file"
    place = root
    while place not in mounted and place != os.path.dirname(place):
        place = os.path.dirname(place)
    if mounted.get(place) in KERNEL:
        return f"it is on a filesystem of the kernel ({mounted[place]}), which stores nothing"
    return None


def _below(root, rules, notes):
    """The databases below a directory, or the one that a regular file is."""
    pending, device = [root], None
    while pending:
        path = pending.pop()
        try:
            descriptor = _open(path, _READ)
        except OSError as error:
            notes.failed(path, error)
            continue
        try:
            facts = os.fstat(descriptor)
            device = facts.st_dev if device is None else device
            if stat.S_ISREG(facts.st_mode):
                yield from _judged(descriptor, path, notes)
            elif not rules.same_filesystem or facts.st_dev == device:
                yield from _inside(descriptor, path, pending, rules, notes)
        except OSError as error:
            notes.failed(path, error)
        finally:
            os.close(descriptor)


def _inside(descriptor, directory, pending, rules, notes):
    """The databases that lie in an open directory; the directories in it that are to be entered go to ``pending``."""
    prefix = directory if directory.endswith("/") else directory + "/"
    with os.scandir(descriptor) as entries:
        for entry in entries:
            path = prefix + entry.name
            try:
                is_directory = entry.is_dir(follow_symlinks=False)
                if not (is_directory or entry.is_file(follow_symlinks=False)) or rules.excluded(path, entry.name):
                    continue
                if not is_directory:
                    yield from _file(entry.name, descriptor, path, notes)
                elif _to_enter(path, rules, notes):
                    pending.append(path)
            except OSError as error:
                notes.failed(path, error)


def _to_enter(path, rules, notes):
    if path in rules.roots:
        return False
    kind = rules.mounts.get(path, "")
    if kind in KERNEL or kind in ELSEWHERE or kind.startswith("fuse."):
        notes.skipped.append({"path": path, "type": kind})
        return False
    return True


def _file(name, directory, path, notes):
    descriptor = _open(name, _READ, directory)
    try:
        yield from _judged(descriptor, path, notes)
    finally:
        os.close(descriptor)


def _judged(descriptor, path, notes):
    """The file as a Found, if it is a database."""
    notes.files += 1
    raw = os.read(descriptor, _HEAD)
    if not raw.startswith(header.MAGIC):
        return
    facts = os.fstat(descriptor)
    known = header.parse_header(raw)
    if not stat.S_ISREG(facts.st_mode):
        return
    if known is None or facts.st_size < known.page_size:
        notes.unread(path, "it begins like a SQLite database, but its first page is damaged or cut off")
        return
    yield Found(path, facts, known)


def _open(name, flags, directory=None):
    """A descriptor whose use leaves the time of the last access alone, where this user may ask for that."""
    try:
        return os.open(name, flags | _NO_ATIME, dir_fd=directory)
    except PermissionError:
        return os.open(name, flags, dir_fd=directory)


def _excluded(patterns):
    """excluded(path, name): whether one of the patterns matches."""
    for pattern in patterns:
        if not pattern.rstrip("/") or "/" in pattern and pattern[0] not in "/*":
            raise errors.UsageError(
                f"the pattern '{errors.show(pattern)}' matches nothing",
                hint="Give a name such as '*.tmp', or a whole path that begins with '/' or '*'.",
            )
    of_paths = _either([pattern.rstrip("/") for pattern in patterns if "/" in pattern])
    of_names = _either([pattern for pattern in patterns if "/" not in pattern])
    return lambda path, name: bool(of_paths(path) or of_names(name))


def _either(patterns):
    """A function that tells whether a text matches one of the patterns."""
    if not patterns:
        return lambda _text: None
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns)).match


def mounts():
    """{path: type of the filesystem that is mounted there, the last one mounted}; empty where that cannot be read."""
    found = {}
    try:
        with open(MOUNTS, "rb") as table:
            for line in table:
                before, _dash, after = line.partition(b" - ")
                path = re.sub(rb"\\([0-7]{3})", lambda code: bytes([int(code[1], 8)]), before.split(b" ")[4])
                found[os.fsdecode(path)] = os.fsdecode(after.split(b" ", 1)[0])
    except OSError:
        return {}
    return found
