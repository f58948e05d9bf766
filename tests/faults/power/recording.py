# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run a program under strace and write down everything that it does to the files below one directory.

The result is a `disk.Disk` at the beginning, and the events by which it becomes the one at the end. A system call that
changes files below the directory and is not known here ends the recording: nothing is left out in silence. What a
process writes through a mapping strace does not see; SQLite does so to ``-shm`` only, which nobody reads after a crash.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import disk

CALLS = """
    open openat creat close dup dup2 dup3 lseek write writev pwrite64 pwritev pwritev2 ftruncate truncate fallocate
    copy_file_range sendfile splice ioctl fsync fdatasync rename renameat renameat2 link linkat unlink unlinkat rmdir
    mkdir mkdirat mknod mknodat symlink symlinkat chmod fchmod fchmodat
"""
_LINE = re.compile(r"(\d+) +(.*)")
_WHOLE = re.compile(r"(\w+)\((.*)\) += (-?\d+|\?)", re.DOTALL)
_CUT = " <unfinished ...>"
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)")
_HERE = "AT_FDCWD"
_LONGEST = 300.0


def obstacle():
    """Why strace cannot be used here, or None."""
    if shutil.which("strace") is None:
        return "there is no strace"
    tried = subprocess.run(["strace", "-f", "-o", os.devnull, "true"], capture_output=True, text=True, check=False)
    return f"strace cannot trace here: {tried.stderr.strip()}" if tried.returncode else None


def record(command, below, log, **options):
    """(what `subprocess.run` returned, the Disk as it was before, the events)."""
    before = disk.Disk.read(below)
    words = ["strace", "-f", "-qq", "-xx", "-s", str(1 << 24), "-e", "signal=none", "-o", log]
    words += ["-e", "trace=" + ",".join("?" + name for name in CALLS.split())]
    done = subprocess.run(
        [*words, "--", *command], capture_output=True, text=True, check=False, timeout=_LONGEST, **options
    )
    follower = _Follower(before.copy(), below)
    with open(log, encoding="ascii") as lines:
        for name, arguments, result in _calls(lines, follower.entered):
            follower.follow(name, arguments, result)
    return done, before, follower.events


def _calls(lines, entered):
    """(name, [arguments], result) of each call that succeeded, in the order in which they ended.

    ``entered(name, arguments)`` is told of those that another thread's call came in between of, when they begin.
    """
    begun = {}
    for line in lines:
        thread, shown = _LINE.match(line.rstrip("\n")).groups()
        if shown.endswith(_CUT):
            begun[thread] = shown[: -len(_CUT)]
            name, _bracket, rest = begun[thread].partition("(")
            entered(name, _split(rest))
            continue
        resumed = _RESUMED.match(shown)
        if resumed:
            shown = begun.pop(thread) + resumed.group(2)
        whole = _WHOLE.match(shown)
        if whole and whole.group(3) != "?" and int(whole.group(3)) >= 0:
            yield whole.group(1), _split(whole.group(2)), int(whole.group(3))


def _split(text):
    """The arguments; strings are hex escapes, so that there is no comma in them."""
    return [part.strip() for part in text.split(", ")]


def _bytes(argument):
    assert argument.startswith('"') and argument.endswith('"'), argument[:80]
    return bytes.fromhex(argument[1:-1].replace("\\x", ""))


def _offset(argument):
    """Of ``[4096]`` or ``[4096 => 8192]``; None for NULL."""
    found = re.match(r"\[(\d+)", argument)
    return int(found.group(1)) if found else None


class _Open:
    """An open file: which one, where it reads and writes, and whether it only appends."""

    def __init__(self, number, appends):
        self.number, self.position, self.appends = number, 0, appends


class _Follower:
    """Turns calls into events, and keeps the disk as it is after them."""

    def __init__(self, now, below):
        self._disk, self._below = now, os.fsencode(below)
        self._opened: dict = {}
        self._closing: set = set()
        self.events: list = []

    def entered(self, name, arguments):
        # From here on another thread may be given the same number.
        if name == "close":
            self._opened.pop(int(arguments[0]), None)
            self._closing.add(arguments[0])

    def follow(self, name, arguments, result):
        handler = getattr(self, "_" + name, None)
        if handler is not None:
            handler(arguments, result)
        elif self._concerns(arguments):
            raise AssertionError(f"nobody has taught the recorder what {name}({', '.join(arguments)}) does")

    def _concerns(self, arguments):
        """Whether one of them is, or may be, one of our files: a number that is open, or a path."""
        return any(word.isdigit() and int(word) in self._opened for word in arguments) or any(
            word.startswith('"') and self._inside(_bytes(word)) for word in arguments
        )

    def _happens(self, *event):
        self.events.append(event)
        self._disk.apply(event)

    def _inside(self, path):
        return path == self._below or path.startswith(self._below + b"/")

    def _place(self, directory, name):
        """(number of the directory, last name), or None where it is none of ours."""
        path = _bytes(name)
        if directory != _HERE and not path.startswith(b"/"):
            at = self._opened.get(int(directory))
            return (at.number, path) if at is not None else None
        if not self._inside(path) or path == self._below:
            return None
        parent, base = os.path.split(path)
        return self._disk.find(parent[len(self._below) + 1 :]), base

    # --- descriptors -------------------------------------------------------------------------------------------------

    def _openat(self, arguments, result):
        directory, name, flags = arguments[:3]
        self._opened.pop(result, None)
        path = _bytes(name)
        if path == self._below:
            self._opened[result] = _Open(disk.ROOT, False)
            return
        place = self._place(directory, name)
        if place is None:
            return
        parent, base = place
        number = self._disk.look(parent, base)
        if number is None:
            number = self._disk.next_number()
            self._happens("new", number, int(arguments[3], 8))
            self._happens("bind", parent, base, number)
        elif "O_TRUNC" in flags:
            self._happens("size", number, 0)
        self._opened[result] = _Open(number, "O_APPEND" in flags)

    def _open(self, arguments, result):
        self._openat([_HERE, *arguments], result)

    def _close(self, arguments, _result):
        if arguments[0] in self._closing:
            self._closing.discard(arguments[0])
        else:
            self._opened.pop(int(arguments[0]), None)

    def _lseek(self, arguments, result):
        if int(arguments[0]) in self._opened:
            self._opened[int(arguments[0])].position = result

    # --- bytes -------------------------------------------------------------------------------------------------------

    def _write(self, arguments, result):
        if int(arguments[0]) == 1:
            self._happens("told")
        file = self._opened.get(int(arguments[0]))
        if file is not None:
            at = len(self._disk.bytes(file.number)) if file.appends else file.position
            self._happens("write", file.number, at, _bytes(arguments[1])[:result])
            file.position = at + result

    def _pwrite64(self, arguments, result):
        file = self._opened.get(int(arguments[0]))
        if file is not None:
            self._happens("write", file.number, int(arguments[3]), _bytes(arguments[1])[:result])

    def _copy_file_range(self, arguments, result):
        source, target = (self._opened.get(int(arguments[nth])) for nth in (0, 2))
        if target is None or not result:
            return
        begin, to = _offset(arguments[1]), _offset(arguments[3])
        assert source is not None and begin is not None and to is not None, arguments
        self._happens("write", target.number, to, bytes(self._disk.bytes(source.number)[begin : begin + result]))

    def _ftruncate(self, arguments, _result):
        file = self._opened.get(int(arguments[0]))
        if file is not None:
            self._happens("size", file.number, int(arguments[1]))

    def _truncate(self, arguments, _result):
        place = self._place(_HERE, arguments[0])
        if place is not None:
            self._happens("size", self._disk.look(*place), int(arguments[1]))

    def _fsync(self, arguments, _result):
        file = self._opened.get(int(arguments[0]))
        if file is not None:
            self._happens("sync", file.number)

    _fdatasync = _fsync

    # --- names and modes ---------------------------------------------------------------------------------------------

    def _renameat(self, arguments, _result):
        source, target = self._place(*arguments[:2]), self._place(*arguments[2:4])
        if source is None and target is None:
            return
        assert source is not None and target is not None, "into or out of what is looked at"
        number = self._disk.look(*source)
        if source[0] == target[0]:
            self._happens("move", source[0], source[1], target[1], number)
        else:  # Each directory is synced by itself: worse than any filesystem, which renames at once.
            self._happens("bind", *target, number)
            self._happens("unbind", *source)

    _renameat2 = _renameat

    def _rename(self, arguments, result):
        self._renameat([_HERE, arguments[0], _HERE, arguments[1]], result)

    def _linkat(self, arguments, _result):
        source, target = self._place(*arguments[:2]), self._place(*arguments[2:4])
        if target is not None:
            self._happens("bind", *target, self._disk.look(*source))

    def _link(self, arguments, result):
        self._linkat([_HERE, arguments[0], _HERE, arguments[1]], result)

    def _unlinkat(self, arguments, _result):
        place = self._place(*arguments[:2])
        if place is not None:
            self._happens("unbind", *place)

    def _unlink(self, arguments, result):
        self._unlinkat([_HERE, *arguments], result)

    _rmdir = _unlink

    def _mkdirat(self, arguments, _result):
        place = self._place(*arguments[:2])
        if place is not None:
            number = self._disk.next_number()
            self._happens("new_directory", number, int(arguments[2], 8))
            self._happens("bind", *place, number)

    def _mkdir(self, arguments, result):
        self._mkdirat([_HERE, *arguments], result)

    def _fchmod(self, arguments, _result):
        file = self._opened.get(int(arguments[0]))
        if file is not None:
            self._happens("mode", file.number, int(arguments[1], 8))

    def _fchmodat(self, arguments, _result):
        place = self._place(*arguments[:2])
        if place is not None:
            self._happens("mode", self._disk.look(*place), int(arguments[2], 8))

    def _chmod(self, arguments, result):
        self._fchmodat([_HERE, *arguments], result)

    # --- of no interest ----------------------------------------------------------------------------------------------

    def _ioctl(self, arguments, _result):
        assert "FICLONE" not in arguments[1], "blocks are shared: record where the filesystem cannot"

    def _sendfile(self, arguments, _result):
        assert int(arguments[0]) not in self._opened, arguments

    def _dup(self, arguments, result):
        """The engine reads only from such a second number; the full replay would show that it wrote."""
        self._opened.pop(result, None)

    _dup2 = _dup3 = _dup
