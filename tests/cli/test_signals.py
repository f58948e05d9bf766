# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A signal ends a command with its own exit status, after it has cleaned up and left its audit line."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time

import pytest


def _begin(site, *words, **options):
    return subprocess.Popen(
        site.command(*words),
        env=site.environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def _until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not come so far"
        time.sleep(0.02)


def _has_open(process, path):
    found = f"/proc/{process.pid}/fd"
    try:
        return any(os.path.samefile(os.path.join(found, each), path) for each in os.listdir(found))
    except OSError:
        return False


@pytest.fixture
def waiting(site):
    """(waiting(**options): a backup that waits for its lock, let_go())."""
    site.make()
    site.made()
    path = site.backups / ".state" / "app.lock"
    with open(path, "r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)

        def begin(**options):
            words = ("backup", "--database", site.database, "--backup-dir", site.backups, "--busy-timeout", "60")
            process = _begin(site, *words, stdout=subprocess.PIPE, **options)
            _until(lambda: _has_open(process, path))
            return process

        yield begin, lambda: fcntl.flock(held, fcntl.LOCK_UN)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGHUP, 129), (signal.SIGTERM, 143)], ids=lambda one: str(one)
)
def test_signal_ends_a_command_with_its_status_and_an_audit_line(site, waiting, number, status):
    begin, _let_go = waiting
    process = begin()
    process.send_signal(number)
    _answer, said = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in said) == (status, False), said
    assert "the next run removes or settles what was left" in said
    assert [line["outcome"] for line in site.audit_lines()] == ["ok", "interrupted"]


def test_command_under_nohup_goes_on_when_the_terminal_is_closed(site, waiting):
    begin, let_go = waiting
    process = begin(preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    let_go()
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert [line["outcome"] for line in site.audit_lines()] == ["ok", "ok"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM], ids=str)
def test_signal_while_the_answer_waits_for_its_reader_ends_without_a_traceback(site, number):
    site.make()
    site.made()
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETFL, os.O_NONBLOCK)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writing, bytes(4096))
    fcntl.fcntl(writing, fcntl.F_SETFL, 0)
    process = _begin(site, "list", "--backup-dir", site.backups, "--name", "app", stdout=writing)
    _until(lambda: _waits_in_write(process))
    process.send_signal(number)
    _nothing, said = process.communicate(timeout=60)
    os.close(reading)
    os.close(writing)
    assert (process.returncode, "Traceback" in said) == (128 + number, False), said


def _waits_in_write(process):
    with open(f"/proc/{process.pid}/wchan", encoding="ascii") as told:
        return "pipe_write" in told.read()
