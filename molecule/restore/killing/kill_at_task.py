# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Kills ansible-playbook, as a lost controller would be, when the task of the number in KILL_AT_TASK begins."""

from __future__ import annotations

import os
import signal

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: kill_at_task
type: aggregate
short_description: Kill the play at the beginning of a task
description: For tests of what a killed play leaves behind.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "kill_at_task"

    def __init__(self):
        super().__init__()
        self.begun = 0

    def v2_playbook_on_task_start(self, task, is_conditional):
        self.begun += 1
        if self.begun == int(os.environ["KILL_AT_TASK"]):
            self._display.display(f"killed at task {self.begun}: {task.get_name()}")
            os.kill(os.getpid(), signal.SIGKILL)
