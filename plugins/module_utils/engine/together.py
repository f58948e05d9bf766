# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Do several pieces of work at once, in threads, so that an interrupt ends them all.

It pays for work that Python's lock does not hold up, such as SQLite's checks.
"""

from __future__ import annotations

import collections
import os
import threading
from typing import NamedTuple

from . import errors

_LOOK_UP = 0.05
_FEW = "Raise the limit of the user's processes (ulimit -u) or of the unit's tasks (TasksMax) and run it again."


def too_few(error):
    """The engine's error for Python's RuntimeError of a thread that could not be started."""
    return errors.IoError(f"{error}: the system lets this process have no more of them", hint=_FEW)


class Worker:
    """A daemon thread of which the end can be awaited while signals raise exceptions.

    ``threading.Thread.join`` with a limit cannot: interrupted by one, Python 3.9 to 3.12 take a thread for ended that
    is not (a mistake in what mended https://bugs.python.org/issue45274), and whoever then takes away what it works on
    waits for ever, or worse.
    """

    def __init__(self, function, *arguments, name=None):
        self._over = threading.Event()
        self._function, self._arguments = function, arguments
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def _run(self):
        try:
            self._function(*self._arguments)
        finally:
            self._over.set()

    def start(self):
        """Begin; returns itself. Raises IoError where the system lets this process have no more threads."""
        try:
            self._thread.start()
        except RuntimeError as error:
            raise too_few(error) from error
        return self

    def ended(self):
        return self._over.is_set()

    def wait(self, tick=None):
        """Wait for its end; ``tick()`` is called now and then meanwhile."""
        while not self._over.wait(_LOOK_UP):
            if tick is not None:
                tick()
        self.join()

    def join(self):
        """Wait for its end; nothing where it was never started."""
        if self._thread.ident is not None:
            self._over.wait()
            self._thread.join()


class Aside:
    """One piece of work in a thread of its own: ``function(report)``, which calls ``report(done, total)`` meanwhile.

    `result` waits for it and returns what it returned, or raises what it raised. `close` ends it and must be called.
    """

    def __init__(self, function):
        self._outcome, self._given_up = Outcome(None, None), threading.Event()
        self._worker = Worker(self._run, function).start()

    def _run(self, function):
        self._outcome = _outcome(function, self._report)

    def _report(self, _done, _total):
        if self._given_up.is_set():
            raise Stopped

    def result(self, tick=None):
        if tick is not None:
            tick()
        self._worker.wait(tick)
        if self._outcome.error is not None:
            raise self._outcome.error
        return self._outcome.value

    def close(self):
        self._given_up.set()
        self._worker.join()


class Stopped(Exception):
    """Raised by ``report`` in work that was given up; nobody hears of it."""


class Outcome(NamedTuple):
    """What a task returned, or the exception that it raised."""

    value: object
    error: BaseException | None


def processors():
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run(tasks, hands, *, stop, tick=None):
    """An Outcome for each task, in their order.

    There is a thread for each of ``hands``, which does one task after the other as ``task(hand)``. ``tick()`` is called
    by the caller's own thread now and then. What it raises, or a signal, ends everything: ``stop()`` has to end the
    tasks that are being done, the threads are awaited, and it is raised.
    """
    todo, outcomes = collections.deque(enumerate(tasks)), [Outcome(None, None)] * len(tasks)

    def work(hand):
        while True:
            try:
                index, task = todo.popleft()
            except IndexError:
                return
            outcomes[index] = _outcome(task, hand)

    workers = [Worker(work, hand) for hand in hands]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.wait(tick)
    except BaseException:
        todo.clear()
        stop()
        for worker in workers:
            worker.join()
        raise
    return outcomes


def _outcome(task, argument):
    try:
        return Outcome(task(argument), None)
    except BaseException as error:  # pylint: disable=broad-exception-caught
        kept = error
    return Outcome(None, kept)
