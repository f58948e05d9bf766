# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run a program under strace: write down which file-changing system calls it makes, and let one of them fail or be the
last.

strace counts calls for each name and each thread by itself, from the program's start on. So a run that nobody disturbs
is written down first, and each of its calls below one directory is a point that later runs can be struck at.
"""

from __future__ import annotations

import contextlib
import datetime
import itertools
import os
import re
import shutil
import signal
import subprocess
import time
from typing import NamedTuple

NAMES = """
    open openat creat write writev pwrite64 pwritev pwritev2 fsync fdatasync sync_file_range rename renameat renameat2
    unlink unlinkat rmdir link linkat symlink symlinkat chmod fchmod fchmodat chown fchown lchown fchownat
    truncate ftruncate fallocate copy_file_range ioctl mkdir mkdirat utimensat setxattr fsetxattr lsetxattr removexattr
    fremovexattr
"""
FAULTS = {
    "ENOSPC": "error=ENOSPC",
    "EIO": "error=EIO",
    "EACCES": "error=EACCES",
    "EINTR": "error=EINTR",
    "KILL": "signal=KILL",
}
_WRITES = (
    "write",
    "writev",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "truncate",
    "ftruncate",
    "fallocate",
    "copy_file_range",
)
_OPENS = ("open", "openat")
_SYNCS = ("fsync", "fdatasync", "sync_file_range")
_LINE = re.compile(r"(\d+) +(\w+)\((.*)")
_STAMP = re.compile(r"\d{8}_\d{6}")
# A name in an open directory.
_RELATIVE = re.compile(r'<(/[^>]*)>, "([^/"][^"]*)"')
_PID = re.compile(r"\.\d+\.partial")
# A file that is named by the second in which it is made is looked for under the names of so many of them.
_SECONDS = 30
_LONGEST = 300.0
_STOPPED = re.compile(r"^(\d+) +--- stopped by SIGSTOP", re.MULTILINE)
_POLL_SECONDS = 0.005


def _paths(text, below):
    return re.findall(rf'[<"]({re.escape(below)}/[^>"]*)[>"]', text)


class Call(NamedTuple):
    """One call: its thread, its name, the how manieth of its name in its thread, its arguments as strace shows them."""

    thread: str
    name: str
    nth: int
    shown: str

    def paths(self, below):
        """The paths below a directory that it is about."""
        return set(_paths(_RELATIVE.sub(r'"\1/\2"', self.shown), below))

    def arguments(self, below):
        """The paths below a directory in its arguments, as strace compares them: of a renaming only the old name."""
        found = _paths(self.shown.rsplit(" = ", 1)[0], below)
        return found[:1] if self.name.startswith("rename") else found

    def changes(self, below):
        """Whether it is about a file below the directory; of all that ioctl can do only to share blocks counts."""
        return bool(self.paths(below)) and (self.name != "ioctl" or "FICLONE" in self.shown)

    def alike(self, other, below):
        """Whether another call does the same with the same file."""
        return self.name == other.name and self.paths(below) == other.paths(below)

    def is_lost(self, fault):
        """Whether it tells the program that something did not get to the disk."""
        return self.name in ("fsync", "fdatasync") and fault in ("ENOSPC", "EIO", "EACCES")

    def faults(self):
        """The faults that can make a difference at it."""
        if self.name in _OPENS and not re.search("O_CREAT|O_WRONLY|O_RDWR|O_TRUNC", self.shown):
            return ("EIO", "EACCES")
        # A kill loses nothing that was written: to be killed there is to be killed at the next call.
        return tuple(fault for fault in FAULTS if fault != "KILL" or self.name not in _SYNCS)


class Aim(NamedTuple):
    """How to strike a call: the how manieth of its name, of those about ``path`` only where that is not None."""

    call: Call
    path: str | None
    nth: int


def obstacle():
    """Why strace cannot be used here, or None."""
    if shutil.which("strace") is None:
        return "there is no strace"
    tried = subprocess.run(
        ["strace", "-f", "-o", os.devnull, "-e", "trace=openat", "-e", "inject=openat:error=EIO:when=9999", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"strace cannot trace here: {tried.stderr.strip()}" if tried.returncode else None


def record(command, log, **options):
    """(what `subprocess.run` returned, every call of NAMES in the order in which they began)."""
    return _traced(command, log, [f"trace={','.join('?' + name for name in NAMES.split())}"], (), options)


def strike(command, log, aim, fault, **options):
    """(what `subprocess.run` returned, the calls that the fault met): several where threads made as many calls each."""
    expressions = [f"trace={aim.call.name}", f"inject={aim.call.name}:{FAULTS[fault]}:when={aim.nth}"]
    done, calls = _traced(command, log, expressions, _as_now(aim.path), options)
    return done, [call for call in calls if call.nth == aim.nth]


def halt(command, log, aim, meanwhile, **options):
    """(what `subprocess.run` would have returned, whether it was stopped): just after the call it stands still, until
    ``meanwhile()`` has been done.
    """
    expressions = [f"trace={aim.call.name}", f"inject={aim.call.name}:signal=STOP:when={aim.nth}"]
    words = [*_words(log, expressions, _as_now(aim.path), "SIGSTOP,SIGCONT"), *command]
    with contextlib.suppress(FileNotFoundError):
        os.unlink(log)
    outputs = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    stopped = None
    with subprocess.Popen(words, **outputs, **options) as running:
        try:
            stopped = _stopped(running, log)
            if stopped:
                meanwhile()
            said, told = _go_on(running, log)
        except BaseException:
            running.kill()
            if stopped:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(stopped, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(words, running.returncode, said, told), bool(stopped)


def _stopped(running, log):
    """The thread of a traced program that has stopped; None where the program ends before."""
    while True:
        over = running.poll() is not None
        found = _STOPPED.search(_text(log))
        if found or over:
            return int(found.group(1)) if found else None
        time.sleep(_POLL_SECONDS)


def _go_on(running, log):
    """(standard output, standard error) when it has ended. It is sent on as often as it stands still: each thread
    counts its calls by itself, and a signal that comes before strace has let go is lost.
    """
    deadline = time.monotonic() + _LONGEST
    while True:
        text = _text(log)
        stopped = list(_STOPPED.finditer(text))
        if stopped and stopped[-1].start() > text.rfind("--- SIGCONT"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(stopped[-1].group(1)), signal.SIGCONT)
        try:
            return running.communicate(timeout=_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            if time.monotonic() > deadline:
                raise


def _text(log):
    with contextlib.suppress(FileNotFoundError), open(log, encoding="utf-8", errors="surrogateescape") as lines:
        return lines.read()
    return ""


def not_durable(calls, below):
    """What a crash of the machine could take from names that are given by renaming: [what is wrong], of a whole run.

    What is renamed has been synced since it was last written, and so has every finished file beside its new name, such
    as its manifest; afterwards the directory is synced.
    """
    found, dirty, unsynced = [], set(), set()
    for call in calls:
        paths = call.paths(below)
        if call.name in _WRITES or (call.name == "ioctl" and call.changes(below)):
            dirty |= {path for path in paths if not path.endswith("-shm")}  # Nobody reads that after a crash.
        elif call.name in ("fsync", "fdatasync"):
            dirty -= paths
            unsynced -= paths
        elif call.name.startswith("rename") and paths:
            source, target = re.findall(r'"([^"]*)"', _RELATIVE.sub(r'"\1/\2"', call.shown))[:2]
            directory = os.path.dirname(target)
            finished = {path for path in dirty if re.match(rf"{re.escape(directory)}/[^./][^/]*\.json$", path)}
            found += [f"{path} is not on the disk when {target} appears" for path in dirty & {source} | finished]
            unsynced.add(directory)
    return found + [f"what was renamed in {directory} is not on the disk" for directory in unsynced]


def points(calls, below, only=()):
    """[(Aim, fault)] for each call that changes something below the directory, of these names if any are given.

    Where many calls of one name follow each other on one file, as when pages are written one by one, those between the
    first and the last have one fault each, in turn.
    """
    found = [call for call in calls if call.changes(below)]
    turn = itertools.cycle(FAULTS)
    chosen = []
    for before, call, after in zip([None, *found], found, [*found[1:], None]):
        inside = all(other is not None and other.alike(call, below) for other in (before, after))
        faults = (next(turn),) if inside else call.faults()
        if not only or call.name in only:
            aim = _aim(calls, call, below)
            chosen += [(aim, fault) for fault in faults]
    return chosen


def _aim(calls, call, below):
    """How to strike this call and no other of its name.

    Counted are the calls about its file alone: then neither what is told on standard output nor what a restore opens
    in ``/proc`` counts. Where another thread would be struck before, all calls are counted, if that helps; an opened
    file is one of very many. Else both are struck.
    """
    path = call.arguments(below)[0]
    ways = (None,) if _PID.search(path) else (path,) if call.name in _OPENS else (path, None)
    found = []
    for only in ways:
        counted = [other for other in calls if other.name == call.name and (not only or only in other.arguments(below))]
        numbers = _numbered(counted)
        found.append(Aim(call, only, numbers[call]))
        if next(other for other in counted if numbers[other] == numbers[call]) == call:
            return found[-1]
    return found[0]


def _numbered(calls):
    """{call: the how manieth of its thread it is}."""
    counts: dict = {}
    numbers = {}
    for call in calls:
        numbers[call] = counts[call.thread] = counts.get(call.thread, 0) + 1
    return numbers


def _as_now(path):
    if path is None:
        return ()
    if os.path.lexists(path) or not _STAMP.search(path):
        return (path,)
    now = datetime.datetime.now(datetime.timezone.utc)
    moments = (now + datetime.timedelta(seconds=second) for second in range(_SECONDS))
    return tuple(_STAMP.sub(moment.strftime("%Y%m%d_%H%M%S"), path) for moment in moments)


def _words(log, expressions, paths, signals="none"):
    words = ["strace", "-f", "-qq", "-y", "-s", "0", "-e", f"signal={signals}", "-o", log]
    for expression in expressions:
        words += ["-e", expression]
    for path in paths:
        words += ["-P", path]
    return [*words, "--"]


def _traced(command, log, expressions, paths, options):
    done = subprocess.run(
        [*_words(log, expressions, paths), *command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=_LONGEST,
        **options,
    )
    return done, list(_calls(log))


def _calls(log):
    counts: dict = {}
    with open(log, encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            found = _LINE.match(line)
            if found:
                thread, name, shown = found.groups()
                counts[thread, name] = counts.get((thread, name), 0) + 1
                yield Call(thread, name, counts[thread, name], shown.rstrip("\n"))
