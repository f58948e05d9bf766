# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A disk that keeps only what it was asked to keep: the states that a loss of power may leave.

What POSIX promises, and no more. The bytes and the size of a file are kept when *the file* was synced, a name when *its
directory* was synced. Of all that was done since, each block and each name may be there or not, in any order: a name of
a file without its bytes, a later renaming without an earlier one, a removed name that is there again, a size without
the bytes (zeros). Only a single renaming is all or nothing. Real filesystems are kinder (ext4 keeps names in order, and
a new file's name with its bytes); whatever they leave is among these states.
"""

from __future__ import annotations

import hashlib
import os
import stat

ROOT = 0
# Disks write such sectors whole; SQLite asks for no more.
SECTOR = 512


class _Node:
    """A file (``kept`` are bytes) or a directory (``kept`` is {name: number}), with what was done since it was synced.

    ``now`` is what the processes see.
    """

    def __init__(self, kept, mode):
        self.kept, self.now = kept, kept.copy()
        self.kept_mode = self.mode = mode
        self.pending: list = []

    @property
    def is_directory(self):
        return isinstance(self.kept, dict)

    def copy(self):
        other = _Node(self.kept, self.mode)
        other.kept, other.now, other.kept_mode = self.kept.copy(), self.now.copy(), self.kept_mode
        other.pending = list(self.pending)
        return other

    def do(self, change):
        self.pending.append(change)
        _do(self.now, change)

    def sync(self):
        self.kept, self.kept_mode = self.now.copy(), self.mode
        self.pending.clear()


def _do(content, change):
    """Apply a change to bytes or to names."""
    kind, *facts = change
    if kind == "write":
        at, data = facts
        if at > len(content):
            content.extend(bytes(at - len(content)))
        content[at : at + len(data)] = data
    elif kind == "size":
        del content[facts[0] :]
        content.extend(bytes(facts[0] - len(content)))
    elif kind == "bind":
        content[facts[0]] = facts[1]
    elif kind == "unbind":
        content.pop(facts[0], None)
    elif kind == "move":
        old, new, number = facts
        if content.get(old) == number:
            del content[old]
        content[new] = number
    else:
        raise AssertionError(kind)


class Disk:
    """All files below a directory, by numbers."""

    def __init__(self):
        self.nodes: dict = {}
        self.told = False

    @classmethod
    def read(cls, path):
        """As it lies there, all of it kept."""
        found = cls()
        found._read(os.fsencode(path))
        return found

    def _read(self, path):
        number, facts = len(self.nodes), os.lstat(path)
        mode = stat.S_IMODE(facts.st_mode)
        if stat.S_ISDIR(facts.st_mode):
            self.nodes[number] = _Node({}, mode)
            names = {name: self._read(os.path.join(path, name)) for name in sorted(os.listdir(path))}
            self.nodes[number] = _Node(names, mode)
        else:
            assert stat.S_ISREG(facts.st_mode) and facts.st_nlink == 1, path
            with open(path, "rb") as file:
                self.nodes[number] = _Node(bytearray(file.read()), mode)
        return number

    def copy(self):
        other = Disk()
        other.nodes, other.told = {number: node.copy() for number, node in self.nodes.items()}, self.told
        return other

    # --- what the processes see --------------------------------------------------------------------------------------

    def next_number(self):
        return len(self.nodes)

    def look(self, directory, name):
        return self.nodes[directory].now.get(name)

    def find(self, path):
        number = ROOT
        for name in filter(None, path.split(b"/")):
            number = self.nodes[number].now[name]
        return number

    def bytes(self, number):
        return self.nodes[number].now

    def apply(self, event):
        kind, *facts = event
        if kind == "told":
            self.told = True
        elif kind in ("new", "new_directory"):
            self.nodes[facts[0]] = _Node(bytearray() if kind == "new" else {}, facts[1])
        elif kind == "sync":
            self.nodes[facts[0]].sync()
        elif kind == "mode":
            self.nodes[facts[0]].mode = facts[1]
        else:
            self.nodes[facts[0]].do((kind, *facts[1:]))

    def loses(self, event):
        """Whether the event takes something from what can get lost."""
        node = self.nodes[event[1]] if event[0] == "sync" else None
        return node is not None and (bool(node.pending) or node.mode != node.kept_mode)

    # --- after the loss of power -------------------------------------------------------------------------------------

    def names_pending(self):
        """[(directory, position)] of all names whose directory was not synced since."""
        return [
            (number, position)
            for number, node in self.nodes.items()
            if node.is_directory
            for position in range(len(node.pending))
        ]

    def left(self, names, data):
        """{path: (mode, bytes or None)} after a crash.

        ``names`` holds those of `names_pending` that are there; ``data(number, node)`` gives a file's bytes.
        """
        found: dict = {}
        seen: dict = {}

        def walk(number, path):
            node = self.nodes[number]
            if not node.is_directory:
                # Two names of one file have the same bytes.
                if number not in seen:
                    seen[number] = bytes(data(number, node)) if node.pending else bytes(node.kept)
                found[path] = (node.kept_mode, seen[number], number)
                return
            found[path] = (node.kept_mode, None, number)
            entries = node.kept.copy()
            for position, change in enumerate(node.pending):
                if (number, position) in names:
                    _do(entries, change)
            for name, inner in entries.items():
                walk(inner, os.path.join(path, name))

        walk(ROOT, b"")
        return found


def nothing(_number, node):
    return node.kept


def everything(_number, node):
    return node.now


def size_only(_number, node):
    """As long as it was to be, with zeros for the bytes that were not there before."""
    content = node.kept[: len(node.now)]
    content.extend(bytes(len(node.now) - len(content)))
    return content


def some(random):
    """Of each file: nothing, everything, its size, the first changes, or sectors here and there."""

    def choose(_number, node):
        way = random.choice((nothing, everything, size_only, _first, _sectors, _sectors))
        return way(node, random) if way in (_first, _sectors) else way(_number, node)

    return choose


def _first(node, random):
    content = node.kept.copy()
    for change in node.pending[: random.randrange(len(node.pending) + 1)]:
        _do(content, change)
    return content


def _sectors(node, random):
    content, likely = node.kept.copy(), random.choice((0.1, 0.5, 0.9))
    for change in node.pending:
        if change[0] != "write":
            if random.random() < likely:
                _do(content, change)
            continue
        _kind, at, data = change
        while data:
            length = SECTOR - at % SECTOR
            if random.random() < likely:
                _do(content, ("write", at, data[:length]))
            at, data = at + length, data[length:]
    return content


def write(state, path):
    """Put a state of `Disk.left` where there is nothing."""
    written: dict = {}
    for name, (mode, content, number) in state.items():
        place = os.path.join(os.fsencode(path), name) if name else os.fsencode(path)
        if content is None:
            os.mkdir(place)
        elif number in written:
            os.link(written[number], place)
        else:
            with open(place, "wb") as file:
                file.write(content)
            written[number] = place
        os.chmod(place, mode)


def digest(state):
    summed = hashlib.sha256()
    for name in sorted(state):
        mode, content, _number = state[name]
        summed.update(b"%d %o %d %s" % (len(name), mode, -1 if content is None else len(content), name))
        summed.update(content or b"")
    return summed.digest()


def there(path):
    """{path: (mode, bytes or None)} as it lies there now."""
    found: dict = {}
    top = os.fsencode(path)
    for directory, _directories, names in os.walk(top):
        for place in (directory, *(os.path.join(directory, name) for name in names)):
            content = None
            if not os.path.isdir(place):
                with open(place, "rb") as file:
                    content = file.read()
            name = os.path.relpath(place, top)
            found[b"" if name == b"." else name] = (stat.S_IMODE(os.lstat(place).st_mode), content)
    return found
