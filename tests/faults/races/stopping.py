# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Two more things that can happen to an operation at its Nth call that changes the disk, beside those of `killing`:

* it is stopped there, with all that it holds open and locked, while others do what they like; then it goes on, or is
  killed as it stands (`run`);
* from there on the disk is full, and stays so (`run_on_full_disk`).
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal

import killing

_TAKE_ROOM = ("write", "pwrite64", "writev", "open", "openat", "mkdir", "mkdirat", "copy_file_range", "fallocate")


class _Stopper(killing._Tracer):
    """``meanwhile(pid)`` is called while the child stands before the call number ``stop_at``; ``then_kill`` ends it."""

    def __init__(self, pid, below, stop_at, meanwhile, then_kill, counts):
        super().__init__(pid, os.fsencode(below), None, None, 0, counts, [])
        self._stop_at, self._meanwhile, self._then_kill = stop_at, meanwhile, then_kill

    def _at_call(self, thread):
        before = len(self._calls)
        super()._at_call(thread)
        if not before < len(self._calls) == self._stop_at:
            return
        try:
            self._meanwhile(self._pid)
        except BaseException:
            self._end()
            raise
        if self._then_kill:
            self._end()
            raise killing.Killed(self._calls[-1])

    def _end(self):
        os.kill(self._pid, signal.SIGKILL)
        while os.waitpid(-1, killing._ANY_THREAD)[0] != self._pid:
            pass  # The process has gone when all its threads have.


class _Filler(killing._Tracer):
    """From the call number ``full_at`` on every call that takes room fails."""

    def __init__(self, pid, below, full_at):
        super().__init__(pid, os.fsencode(below), None, None, 0, None, [])
        self._full_at = full_at

    def _at_call(self, thread):
        before = len(self._calls)
        super()._at_call(thread)
        if before < len(self._calls) >= self._full_at and self._calls[-1].split(" ", 1)[0] in _TAKE_ROOM:
            # There is no call of number -1: it is skipped, and what is in the register is its answer.
            killing._ptrace(killing._POKE_USER, thread, killing._NUMBER, ctypes.c_ulong(-1).value)
            killing._ptrace(killing._POKE_USER, thread, killing._RETURNED, ctypes.c_ulong(-errno.ENOSPC).value)


def run(function, below, stop_at, meanwhile, *, then_kill=False, counts=None):
    """What the function returned, in plain data; raises killing.Killed when it was killed where it stood."""
    return killing.traced(function, lambda pid: _Stopper(pid, below, stop_at, meanwhile, then_kill, counts))


def run_on_full_disk(function, below, full_at):
    """What the function returned, in plain data."""
    return killing.traced(function, lambda pid: _Filler(pid, below, full_at))
