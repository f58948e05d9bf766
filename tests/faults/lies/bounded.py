# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Each try in a process of its own: how it ended, how long it took, and how much memory it and its programs had.

Memory is the peak of resident pages, of the process over what it had when it was forked. The limit of the address space
lies far above, because threads reserve what they never use; it only guards the host.
"""

from __future__ import annotations

import os
import pickle
import resource
import select
import signal
import time
import traceback
from typing import Any, NamedTuple

SECONDS = 30
MIB = 1024 * 1024
MEMORY = 64 * MIB
_RESERVED = 2048 * MIB


class Ended(NamedTuple):
    """``value`` is what the work returned; ``failure`` says what was wrong, None where nothing was."""

    value: Any
    failure: str | None
    where: str = ""
    peak: int = 0
    peak_of_programs: int = 0


def alone(work):
    """Call ``work`` in a forked process within the limits; returns how it Ended."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _work(work, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        raw, late = _read(answer)
    if late:
        os.kill(child, signal.SIGKILL)
    _child, status = os.waitpid(child, 0)
    if late:
        return Ended(None, f"it took longer than {SECONDS} s")
    if status or not raw:
        return Ended(None, f"the process crashed: status {status}")
    ended = pickle.loads(raw)
    for peak in (ended.peak, ended.peak_of_programs):
        if peak > MEMORY and ended.failure is None:
            return ended._replace(failure=f"it used {peak / MIB:.0f} MiB, more than {MEMORY / MIB:.0f}")
    return ended


def _read(answer):
    """(all that the process said, whether it was too late)."""
    raw, end = b"", time.monotonic() + SECONDS
    while select.select([answer], [], [], max(0, end - time.monotonic()))[0]:
        data = os.read(answer.fileno(), MIB)
        if not data:
            return raw, False
        raw += data
    return raw, True


def _peak(whose):
    return resource.getrusage(whose).ru_maxrss * 1024


def _work(work, writer):
    """Never returns: nothing of the tests runs twice."""
    status = 1
    try:
        resource.setrlimit(resource.RLIMIT_AS, (_RESERVED, _RESERVED))
        before = _peak(resource.RUSAGE_SELF)
        try:
            ended = Ended(work(), None)
        except AssertionError as error:
            ended = Ended(None, str(error), "".join(traceback.format_exception(error.__cause__)))
        # A program begins with the pages of the process that started it.
        peaks = [_peak(whose) - before for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        with os.fdopen(writer, "wb") as answer:
            answer.write(pickle.dumps(ended._replace(peak=max(0, peaks[0]), peak_of_programs=max(0, peaks[1]))))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)
