# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A program between a file and whoever asks for its output, as a stream of bounded memory."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import Any

from . import files, together


def output(words, reader, passing, failure):
    """The output of the program ``words``, in pieces, while it is fed from the open file ``reader``.

    A thread feeds it and shows ``passing`` every byte, so that the file is read once. Whoever stops asking closes the
    generator: the program is killed, the thread ends. Raises ``failure(complaint)`` with what the program says where it
    fails, and OSError where that is no fault of its input: it was killed, or the file could not be read.
    """
    import subprocess

    # The engine knows no Ansible module whose run_command it could use, and that one cannot stream.
    program: Any = subprocess.Popen(  # pylint: disable=ansible-bad-function
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    feeder = None
    try:
        with program.stdout, program.stderr:
            feeder = together.Aside(lambda report: _feed(reader, program.stdin, passing, report))
            while True:
                data = program.stdout.read(files.CHUNK)
                if not data:
                    break
                yield data
            complaint = program.stderr.read().decode("utf-8", "replace").strip()
        code = program.wait()
        feeder.result()
        if code < 0:
            raise OSError(errno.EIO, f"the program {words[0]} was ended by signal {-code}")
        if code:
            raise failure(complaint)
    finally:
        program.kill()
        program.wait()
        if feeder is None:  # There could be no thread.
            program.stdin.close()
        else:
            feeder.close()


def _feed(reader, stdin, passing, report):
    # Where the program has ended before, it says itself why.
    with contextlib.suppress(BrokenPipeError), contextlib.closing(stdin):
        while True:
            report(0, 0)
            data = os.read(reader, files.CHUNK)
            if not data:
                return
            passing(data)
            stdin.write(data)
