# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The way to the gate of a database: one connection for an operation, one that stays for looking."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
import subprocess
import time

from . import problems

# One line with the catalog of thousands of backups. It takes several times as much memory, and the service has little:
# what is longer, because somebody has filled the directory, must not end it for all the other databases.
_LONGEST = 24 * 1024 * 1024
_CONNECT_SECONDS = 5.0
# The state of thousands of backups takes a few seconds where the host is busy.
LOOK_SECONDS = 15.0
_SILENT_SECONDS = 5.0
_NEEDS_SECONDS = 60.0
_SURROGATE = re.compile(rb"\\ud[89a-f]", re.IGNORECASE)


class Gone(Exception):
    """The gate has closed the connection, or there is none."""


class Gate:
    """Asks the gate of one database. ``hidden`` are the host's paths that problems do not show."""

    def __init__(self, database):
        self.name = database.name
        self.hidden = {}
        self._place = database.gate
        self._looking = None
        self._turn = asyncio.Lock()
        self._silent_until = 0.0

    async def look(self, since, **arguments):
        """Ask for the state, on the connection that stays. ``since`` is when the asker came. Raises Problem.

        A gate that is silent (its user can stop it) keeps nobody waiting after the first: all who came meanwhile, and
        for a while after it, are told at once.
        """
        async with self._turn:
            for attempt in (1, 2):
                if since < self._silent_until:
                    raise self._unreachable(TimeoutError())
                try:
                    if self._looking is None:
                        self._looking = await self._connect()
                    answer = await asyncio.wait_for(_ask(*self._looking, "state", arguments, {}), LOOK_SECONDS)
                except Gone as error:
                    self._hang_up()
                    if attempt == 2:
                        raise self._unreachable(error) from error
                except asyncio.TimeoutError as error:
                    self._hang_up()
                    self._silent_until = time.monotonic() + _SILENT_SECONDS
                    raise self._unreachable(error) from error
                except BaseException:
                    # What it would still answer must not be taken for the next answer.
                    self._hang_up()
                    raise
                else:
                    return self._result(answer)
        raise AssertionError("unreachable")

    async def needs(self, file):
        """What a restore of the file needs: it may wait for the database, so it has a connection of its own."""
        try:
            reader, writer = await self._connect()
            with contextlib.closing(writer):
                asked = _ask(reader, writer, "requirements", {"file": file}, {})
                answer = await asyncio.wait_for(asked, _NEEDS_SECONDS)
        except (Gone, asyncio.TimeoutError) as error:
            raise self._unreachable(error) from error
        return self._result(answer)

    async def do(self, operation, by, handed_over=None, **arguments):
        """Have an operation done, on a connection of its own. Raises Problem. Cancelled, the operation goes on.

        The event ``handed_over`` is set when the request lies with the gate, whatever becomes of this process.
        """
        try:
            reader, writer = await self._connect()
        except Gone as error:
            raise self._unreachable(error) from error
        try:
            return self._result(await _ask(reader, writer, operation, arguments, by, handed_over))
        except Gone as error:
            raise problems.Problem(
                502, "gate_gone", "the operation's process has ended without an answer; ask for its state", begun=True
            ) from error
        finally:
            writer.close()

    async def open(self, by, file):
        """The open descriptor of a backup: ({file, stored_bytes, sha256}, descriptor). The caller closes it."""
        return await asyncio.get_running_loop().run_in_executor(None, self._open, by, file)

    def _open(self, by, file):
        try:
            with self._socket() as connection:
                connection.settimeout(60)
                connection.sendall(_line("download", {"file": file}, by))
                message, descriptors, _flags, _address = socket.recv_fds(connection, 65536, 1)
        except OSError as error:
            raise self._unreachable(error) from error
        try:
            answer = decoded(message)
            if "error" not in answer and not descriptors:
                raise Gone("no file")
            return self._result(answer), descriptors[0]
        except Gone as error:
            for descriptor in descriptors:
                os.close(descriptor)
            raise self._unreachable(error) from error
        except BaseException:
            for descriptor in descriptors:
                os.close(descriptor)
            raise

    def _result(self, answer):
        if "error" in answer:
            raise problems.of_engine(answer["error"], self.hidden)
        return answer["result"]

    def _unreachable(self, error):
        return problems.unavailable(f"the gate of '{self.name}' does not answer ({type(error).__name__})")

    def _socket(self):
        """A connected socket. One process for each connection: systemd starts it, or this does."""
        if isinstance(self._place, str):
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.settimeout(_CONNECT_SECONDS)
                connection.connect(self._place)
                connection.settimeout(None)
            except BaseException:
                connection.close()
                raise
            return connection
        ours, theirs = socket.socketpair()
        with theirs:
            # A session of its own: a signal to this service's group must not reach a restore that runs.
            process = subprocess.Popen(self._place, stdin=theirs, stdout=subprocess.DEVNULL, start_new_session=True)
        _CHILDREN.append(process)
        _CHILDREN[:] = [child for child in _CHILDREN if child.poll() is None]
        return ours

    async def _connect(self):
        try:
            connection = await asyncio.get_running_loop().run_in_executor(None, self._socket)
            return await asyncio.open_unix_connection(sock=connection, limit=_LONGEST)
        except OSError as error:
            raise Gone(str(error)) from error

    def _hang_up(self):
        if self._looking is not None:
            self._looking[1].close()
            self._looking = None

    def close(self):
        self._hang_up()


# Started by `Gate._socket`: kept to be reaped, with each new one.
_CHILDREN: list = []


def _line(operation, arguments, by):
    return json.dumps({"operation": operation, "arguments": arguments, "by": by}).encode("ascii") + b"\n"


async def _ask(reader, writer, operation, arguments, by, handed_over=None):
    try:
        writer.write(_line(operation, arguments, by))
        await writer.drain()
        if handed_over is not None:
            handed_over.set()
        line = await reader.readline()
    except (OSError, ValueError) as error:
        raise Gone(str(error)) from error
    if not line.endswith(b"\n"):
        raise Gone("no answer")
    return decoded(line)


def decoded(line):
    """The JSON of bytes. A byte of a file's name that is no UTF-8 comes as half a surrogate, which no answer may have.

    Raises Gone.
    """
    try:
        answer = json.loads(line)
        return _legible(answer) if _SURROGATE.search(line) else answer
    except (ValueError, RecursionError) as error:
        raise Gone("no answer that makes sense") from error


def _legible(value):
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, list):
        return [_legible(each) for each in value]
    if isinstance(value, dict):
        return {_legible(key): _legible(each) for key, each in value.items()}
    return value


async def quietly(awaitable):
    """Wait for it, whatever comes of it."""
    with contextlib.suppress(problems.Problem, Gone):
        await awaitable
