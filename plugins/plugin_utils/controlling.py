# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An action that works on the controller alone, step by step, and the directories that it writes to."""

from __future__ import annotations

import os

from ansible.plugins.action import ActionBase
from ansible_collections.digitalme.backup.plugins.module_utils.engine import errors, files


class ControllerAction(ActionBase):
    """``SPEC`` is the argument spec of its module; ``STEPS`` has a function from the arguments to the result for each
    choice of its option ``step``. The engine's errors become the task's.
    """

    SPEC: dict = {}
    STEPS: dict = {}
    _supports_check_mode = True
    _supports_async = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        """Do one step."""
        result = super().run(tmp, task_vars)
        _validation, given = self.validate_argument_spec(self.SPEC)
        try:
            result.update(self.STEPS[given["step"]](given))
        except errors.BackupError as error:
            result.update(error.as_result(), failed=True)
        except OSError as error:
            result.update(errors.from_os_error(error, given["directory"]).as_result(), failed=True)
        return result


def require_writable(directory):
    """Make the directory if need be, and see that files can be made in it. Raises BackupError."""
    try:
        files.make_directory(directory, mode=0o755)
        probe = os.path.join(directory, f".probe.{os.getpid()}{files.PARTIAL}")
        files.remove(probe)  # Of a process of this number that was killed.
        files.write_new(probe, b"")
        files.remove(probe)
    except OSError as error:
        translated = errors.from_os_error(error, directory)
        translated.hint = "Name a directory that can be written; no host has been asked."
        raise translated from error
