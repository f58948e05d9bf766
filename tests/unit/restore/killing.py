# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run a function in a child process and, from outside, kill it before its Nth system call that changes the disk, or
make that call fail.

The child is traced with all its threads (ptrace and seccomp, Linux on x86_64), so SQLite's own writes count as well as
the engine's, and no seam of the engine has to be trusted. Only calls that change something below one directory count;
what is written into a ``-shm`` file does not, because nobody reads it after a crash. Counting up until a run survives
visits every state that a kill can leave on the disk.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import struct
import traceback

_TRACEME, _PEEK, _POKE_USER, _CONTINUE, _SETOPTIONS, _GET_SYSCALL_INFO = 0, 1, 6, 7, 0x4200, 0x420E
_FOLLOW_THREADS, _STOP_AT_SECCOMP, _END_WITH_TRACER = 0x08, 0x80, 0x100000
_ANY_THREAD = 0x40000000
_SECCOMP_STOP = signal.SIGTRAP | (7 << 8)
_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2
# Where the registers lie in the child's user area, in bytes: the number of the call, and what it returns.
_NUMBER, _RETURNED = 15 * 8, 10 * 8
# Number of the call: its name, and how it names its file: "fd", "to" (the third argument), "path", "at" (directory and
# path), "open".
_CALLS = {
    1: ("write", "fd"),
    18: ("pwrite64", "fd"),
    20: ("writev", "fd"),
    74: ("fsync", "fd"),
    75: ("fdatasync", "fd"),
    76: ("truncate", "path"),
    77: ("ftruncate", "fd"),
    91: ("fchmod", "fd"),
    93: ("fchown", "fd"),
    285: ("fallocate", "fd"),
    2: ("open", "path"),
    82: ("rename", "path"),
    83: ("mkdir", "path"),
    84: ("rmdir", "path"),
    86: ("link", "path"),
    87: ("unlink", "path"),
    90: ("chmod", "path"),
    92: ("chown", "path"),
    188: ("setxattr", "path"),
    197: ("removexattr", "path"),
    199: ("fremovexattr", "fd"),
    257: ("openat", "open"),
    258: ("mkdirat", "at"),
    260: ("fchownat", "at"),
    263: ("unlinkat", "at"),
    264: ("renameat", "at"),
    265: ("linkat", "at"),
    268: ("fchmodat", "at"),
    316: ("renameat2", "at"),
    326: ("copy_file_range", "to"),
}
_GONE = ("unlink", "unlinkat", "rmdir")


class _Info(ctypes.Structure):
    _fields_ = (
        ("op", ctypes.c_uint8),
        ("pad", ctypes.c_uint8 * 3),
        ("arch", ctypes.c_uint32),
        ("ip", ctypes.c_uint64),
        ("sp", ctypes.c_uint64),
        ("nr", ctypes.c_uint64),
        ("args", ctypes.c_uint64 * 6),
        ("rest", ctypes.c_uint8 * 64),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))


_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong)


def _stop_only_at(numbers):
    """Let the kernel stop this process for its tracer at these system calls; all others run at full speed."""
    load, equal, answer = 0x20, 0x15, 0x06
    trace, allow = 0x7FF00000, 0x7FFF0000
    steps = [(load, 0, 0, 0)]
    for position, number in enumerate(numbers):
        steps.append((equal, len(numbers) - position, 0, number))
    steps += [(answer, 0, 0, allow), (answer, 0, 0, trace)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = _Program(len(steps), ctypes.addressof(code))
    if _libc.prctl(_NO_NEW_PRIVILEGES, 1, None, 0, 0) or _libc.prctl(
        _SET_SECCOMP, _FILTER, ctypes.addressof(program), 0, 0
    ):
        raise OSError(ctypes.get_errno(), "the system calls cannot be filtered")


def _ptrace(request, pid, address=0, data=0):
    ctypes.set_errno(0)
    result = _libc.ptrace(request, pid, address, data)
    if result == -1 and ctypes.get_errno():
        raise OSError(ctypes.get_errno(), f"ptrace {request}: {os.strerror(ctypes.get_errno())}")
    return result


class Killed(Exception):
    """The child was killed at the wanted call."""


def run(function, below, *, kill_at=None, fail_at=None, error=0, counts=None, calls=None):
    """What the function returned in a child (plain data); raises Killed when it was killed.

    An exception of the function comes back as AssertionError with its traceback. ``kill_at`` and ``fail_at`` count from
    1; the call that fails does nothing and returns the error number ``error``. ``counts(text)`` tells whether a call
    counts, ``calls`` collects those that do, as text: ``rename /live/app.db-wal``.
    """
    noted = [] if calls is None else calls
    return traced(function, lambda pid: _Tracer(pid, os.fsencode(below), kill_at, fail_at, error, counts, noted))


def traced(function, tracer):
    """What the function returned in a child that ``tracer(pid)`` follows to its end."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _child(function, writing)
    os.close(writing)
    try:
        tracer(pid).follow()
        with os.fdopen(reading, "rb", closefd=False) as stream:
            answer = json.loads(stream.read())
    finally:
        os.close(reading)
    if "traceback" in answer:
        raise AssertionError(answer["traceback"])
    return answer["value"]


def _child(function, writing):
    answer = {}
    try:
        _ptrace(_TRACEME, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        _stop_only_at(list(_CALLS))
        answer["value"] = function()
    except BaseException:
        answer["traceback"] = traceback.format_exc()
    finally:
        os.write(writing, json.dumps(answer).encode())
        os._exit(0)


class _Tracer:
    def __init__(self, pid, below, kill_at, fail_at, error, counts, calls):
        self._pid, self._below = pid, below
        self._kill_at, self._fail_at, self._error = kill_at, fail_at, error
        self._counts, self._calls = counts, calls
        self._info = _Info()

    def follow(self):
        """Until the child has gone, with its threads."""
        os.waitpid(self._pid, 0)
        _ptrace(_SETOPTIONS, self._pid, 0, _FOLLOW_THREADS | _STOP_AT_SECCOMP | _END_WITH_TRACER)
        _ptrace(_CONTINUE, self._pid)
        known = {self._pid}
        while True:
            thread, status = os.waitpid(-1, _ANY_THREAD)
            if not os.WIFSTOPPED(status):
                if thread == self._pid:
                    return
                continue
            with contextlib.suppress(ProcessLookupError):  # It has ended meanwhile, with the whole process.
                signal_to_pass = 0
                if status >> 8 == _SECCOMP_STOP:
                    self._at_call(thread)
                elif thread in known and not status >> 16:
                    signal_to_pass = os.WSTOPSIG(status)
                known.add(thread)  # A new one has stopped to be followed, and gets no signal.
                _ptrace(_CONTINUE, thread, 0, signal_to_pass)

    def _at_call(self, thread):
        _ptrace(_GET_SYSCALL_INFO, thread, ctypes.sizeof(self._info), ctypes.addressof(self._info))
        seen = self._change(thread)
        if seen is None or (self._counts and not self._counts(seen)):
            return
        self._calls.append(seen)
        if len(self._calls) == self._kill_at:
            os.kill(self._pid, signal.SIGKILL)
            while os.waitpid(-1, _ANY_THREAD)[0] != self._pid:
                pass  # The process has gone when all its threads have.
            raise Killed(seen)
        if len(self._calls) == self._fail_at:
            # There is no call of number -1: it is skipped, and what is in the register is its answer.
            _ptrace(_POKE_USER, thread, _NUMBER, ctypes.c_ulong(-1).value)
            _ptrace(_POKE_USER, thread, _RETURNED, ctypes.c_ulong(-self._error).value)

    def _change(self, thread):
        """``name path`` when the call changes something below the directory, else None."""
        name, where = _CALLS.get(self._info.nr, (None, None))
        if name is None:
            return None
        args = self._info.args
        if where == "fd":
            path = self._opened(thread, args[0])
        elif where == "to":
            path = self._opened(thread, args[2])
        elif where == "path":
            path = self._text(thread, args[0])
        else:
            path = os.path.join(self._opened(thread, args[0]), self._text(thread, args[1]))
        flags = {"open": args[1], "openat": args[2]}.get(name)
        if not path.startswith(self._below):
            return None
        there = os.path.lexists(path)
        if flags is not None and not flags & os.O_TRUNC and (there or not flags & os.O_CREAT):
            return None
        if name in _GONE and not there:
            return None
        if path.endswith(b"-shm") and name in ("pwrite64", "ftruncate"):
            return None
        return f"{name} {os.fsdecode(path[len(self._below) :])}"

    def _opened(self, thread, descriptor):
        try:
            return os.readlink(b"/proc/%d/fd/%d" % (thread, descriptor))
        except OSError:
            return b""

    def _text(self, thread, address):
        found = b""
        while b"\0" not in found and len(found) < 4096:
            word = _ptrace(_PEEK, thread, address + len(found))
            found += ctypes.c_ulong(word).value.to_bytes(8, "little")
        return found.split(b"\0")[0]
