# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which processes hold a file open, read from /proc where there is one; and what the engine starts: programs, and
copies of itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys

_LAST_BYTES = 4096


def holders(paths):
    """The other processes that hold any of the files open, as a list of {pid, command}; and how many could not be seen.

    Where /proc is missing, nothing can be seen and the second number is -1. Windows tells that a file is open, not who
    has it; a connection of this process counts there, too.
    """
    if os.name == "nt":
        from . import windows

        somebody = {"pid": None, "command": "a process that Windows does not name"}
        return [somebody] if any(windows.is_open(path) for path in paths) else [], 0
    wanted = set()
    for path in paths:
        try:
            facts = os.stat(path)
        except OSError:
            continue
        wanted.add((facts.st_dev, facts.st_ino))
    found, unseen = users(wanted)
    rows = {row["pid"]: row for each in found.values() for row in each}
    return [rows[pid] for pid in sorted(rows)], unseen


def users(identities):
    """{(device, inode): [{pid, command}]} of the other processes that hold one of the files open, in one look at /proc;
    and how many processes could not be seen, -1 where there is no /proc.

    Files are compared by device and inode, so that other names, mount namespaces and unlinked names do not hide one.
    """
    found: dict = {}
    try:
        if os.name == "nt":
            return found, -1
        pids = sorted(int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    except OSError:
        return found, -1
    unseen = 0
    for pid in pids:
        if pid == os.getpid():
            continue
        held = _held(pid)
        if held is None:
            unseen += 1
            continue
        for identity in held & identities:
            found.setdefault(identity, []).append({"pid": pid, "command": command(pid)})
    return found, unseen


def _held(pid):
    """The identities of the files that a process holds open; None where we may not look, empty where it has gone."""
    directory = f"/proc/{pid}/fd"
    held: set = set()
    try:
        descriptors = os.listdir(directory)
    except PermissionError:
        return None
    except OSError:
        return held
    for descriptor in descriptors:
        try:
            facts = os.stat(f"{directory}/{descriptor}")
        except OSError:
            continue
        held.add((facts.st_dev, facts.st_ino))
    return held


def command(pid):
    """The program's short name. Arguments are left out: they can carry secrets."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as source:
            return source.read().strip()
    except OSError:
        return "?"


def describe(found):
    """``pid 812 (python3), pid 977 (gunicorn)``; without a number what is said instead."""
    return ", ".join(f"pid {row['pid']} ({row['command']})" if row["pid"] else row["command"] for row in found)


def run(words):
    """Run a program to its end and return its completed process, with its output as text. Raises OSError."""
    import subprocess

    # There is no AnsibleModule here: the engine also runs without Ansible.
    return subprocess.run(  # pylint: disable=ansible-bad-function
        words, capture_output=True, text=True, check=False
    )


def run_within(words, seconds, environment=None):
    """Run a program and whatever it starts, for so many seconds at most: (status or None when it was ended, output).

    ``output`` is the last of what it said, as text. Raises OSError where it cannot be started.
    """
    import subprocess
    import tempfile

    # A file takes what it says: a pipe would be held open by whatever it has left running.
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(  # pylint: disable=ansible-bad-function,consider-using-with
            words,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            # The whole session: what a check has started must not go on working in a place that is removed.
            with contextlib.suppress(OSError, AttributeError):
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            process.wait()
        end = said.seek(0, os.SEEK_END)
        said.seek(max(0, end - _LAST_BYTES))
        return status, said.read().decode("utf-8", "replace").strip()


def apart(function):
    """Call the function in a child process, a copy of this one: (what it returned, the signal that ended it).

    One of the two is None. What it returns is plain data. Where the child could neither return nor was ended by a
    signal, its own traceback is raised, as RuntimeError. Not on Windows, which has no fork.
    """
    # An interrupt between the fork and its number being known would leave the child to itself: it waits that long.
    waiting = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, waiting)
        os.close(reading)
        _answer(function, writing)
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, waiting)
        os.close(writing)
        with os.fdopen(reading, "rb") as said:
            raw = said.read()
        _pid, status = os.waitpid(pid, 0)
    except BaseException:
        # Whoever is interrupted here must leave nobody behind who goes on writing.
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        raise
    if os.WIFSIGNALED(status):
        return None, os.WTERMSIG(status)
    answer = json.loads(raw)
    if "traceback" in answer:
        raise RuntimeError(answer["traceback"])
    return answer["value"], None


def _answer(function, writing):
    """Call it and answer through the pipe. Does not return: the rest of the program is not the child's."""
    from . import files

    try:
        try:
            text = json.dumps({"value": function()})
        except BaseException as error:
            raised = error
            text = json.dumps({"traceback": _traceback(raised)})
        files.write_all(writing, text.encode("ascii"))
    finally:
        os._exit(0)


def _traceback(error):
    import traceback

    return "".join(traceback.format_exception(type(error), error, error.__traceback__))


def peak_memory_bytes():
    """The most memory that this process has had so far; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def start(words):
    """Start a program that shares our standard streams; returns the running process."""
    import subprocess

    return subprocess.Popen(words)  # pylint: disable=ansible-bad-function,consider-using-with
