# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The gate itself: reads requests from a connected socket, one JSON object a line, and answers each with one:
``{"result": ...}`` or ``{"error": ...}`` (`running.failure`). With the result of ``download`` comes the descriptor of
the backup, open for reading.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import sys

from .. import errors, files
from . import running, vocabulary

# Whoever does not read the answer for so long gets none.
_SEND_SECONDS = 30


class Gate:
    """``target()`` tells what the name is about, as it is configured now. ``doors`` maps each operation of the
    vocabulary to what does it: called with its arguments and ``caller``, it returns plain data; ``download``
    (plain data, path).
    """

    def __init__(self, connection, target, doors):
        self._connection = connection
        self._target_now = target
        self._doors = doors
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _SEND_SECONDS, 0))

    def serve(self):
        """Answer until the other side closes; how many requests there were."""
        answered = 0
        with self._connection.makefile("rb") as lines:
            while True:
                line = lines.readline(vocabulary.LONGEST_REQUEST + 1)
                if not line:
                    return answered
                answered += 1
                if not line.endswith(b"\n"):
                    self._refuse(errors.UsageError("the request is too long, or has no end"))
                    return answered
                self._answer(line)

    def _answer(self, line):
        place = None
        try:
            operation, arguments, caller = vocabulary.checked(json.loads(line))
            target = self._target_now()
            place = target.backup_dir
            if "file" in arguments:
                vocabulary.file_of(arguments["file"], target.backup_dir, target.name)
        except ValueError:
            self._refuse(errors.UsageError("the request is no JSON"))
        except RecursionError:
            self._refuse(errors.UsageError("the request is nested too deeply"))
        except errors.BackupError as error:
            self._refuse(error)
        except OSError as error:
            self._refuse(errors.from_os_error(error, place))
        else:
            self._do(target, operation, arguments, caller)

    def _refuse(self, error):
        """What the engine has not begun leaves no audit line here: the API asks for one (``refused``)."""
        self._send({"error": {**running.failure(error), "begun": False}})

    def _do(self, target, operation, arguments, caller):
        kept = None
        if operation in vocabulary.LONG and "request" in caller:
            facts = {"operation": operation, "file": arguments.get("file"), "by": caller}
            kept = running.Running(target, caller["request"], facts)
        defect = None
        try:
            answer = {"result": self._doors[operation](**arguments, caller=caller)}
        except errors.BackupError as error:
            answer = {"error": running.failure(error)}
        except Exception as error:
            defect = error
        if defect is not None:
            _to_journal(defect)
            answer = {"error": running.defect()}
        if kept is not None:
            kept.ended(status="failed" if "error" in answer else "succeeded", **answer)
        if operation == "download" and "result" in answer:
            self._hand_over(*answer["result"])
        else:
            self._send(answer)

    def _hand_over(self, facts, path):
        try:
            descriptor = files.open_regular(path)
        except OSError as error:
            self._send({"error": running.failure(errors.from_os_error(error, path))})
            return
        try:
            if os.fstat(descriptor).st_size != facts["stored_bytes"]:
                changed = errors.BackupInvalid("its size is not that of the catalog", path=path)
                self._send({"error": running.failure(changed)})
                return
            with contextlib.suppress(OSError):
                socket.send_fds(self._connection, [_line({"result": facts})], [descriptor])
        finally:
            os.close(descriptor)

    def _send(self, message):
        # Whoever asked may be gone. What is under way goes on: that is why it runs here.
        with contextlib.suppress(OSError):
            self._connection.sendall(_line(message))


def _line(message):
    return json.dumps(message, ensure_ascii=True).encode("ascii") + b"\n"


def _to_journal(error):
    import traceback

    sys.stderr.write("".join(traceback.format_exception(type(error), error, error.__traceback__)))
