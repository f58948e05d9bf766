# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is known of each database, asked of its gate again only when something has changed; and the answers made of it,
kept as bytes as long as they hold.
"""

from __future__ import annotations

import asyncio
import time

from .gate import quietly
from .problems import Problem

# So long what was asked for holds for everybody.
_SHARED_SECONDS = 0.05
# Up to this age it is answered with while it is asked for anew: a request need not wait for a busy machine to give the
# gate its turn. What this service itself has changed is never answered from before.
_OLDEST_SECONDS = 1.0
_ANSWERS = 16


class Known:
    """The state of one database (the gate's ``state``), and what was made of it."""

    def __init__(self, gate):
        self.gate = gate
        self._state = None
        self._asked = 0.0
        self._changed = 0.0
        self._asking = None
        self._turn = asyncio.Lock()
        self._answers = {}

    async def state(self, fresh=False):
        """The state as of at most a second ago, and after whatever this service has done; ``fresh``: as of now.

        Raises Problem.
        """
        begun = time.monotonic()
        if self._state is not None and not fresh and self._asked > self._changed:
            if begun - self._asked < _SHARED_SECONDS:
                return self._state
            if begun - self._asked < _OLDEST_SECONDS:
                if self._asking is None or self._asking.done():
                    self._asking = asyncio.get_running_loop().create_task(quietly(self._ask(begun)))
                return self._state
        await self._ask(begun)
        return self._state

    async def _ask(self, begun):
        """Whoever waits here for another is served by what was asked for after it came."""
        async with self._turn:
            if self._state is None or self._asked < begun:
                at = time.monotonic()
                found = await self.gate.look(begun, known=self._state["version"] if self._state else None)
                if not found["same"]:
                    self._take(found)
                self._asked = at

    def changed(self):
        """Something has been done: what was asked for before is out of date."""
        self._changed = time.monotonic()

    def _take(self, found):
        views = found["backups"]
        found["by_file"] = {view["file"]: view for view in views}
        regular = [view for view in views if view["kind"] == "regular" and view["status"] == "verified"]
        found["latest"] = regular[0] if regular else None
        # A problem names the file, not where the host keeps it.
        backups, live = found["backup_dir"], found["database"]
        found["hidden"] = self.gate.hidden = {backups: "the backup directory", backups + "/": ""}
        if live:
            self.gate.hidden[live] = "the database"
            self.gate.hidden[live.rpartition("/")[0] + "/"] = ""
        self._state = found
        self._answers.clear()

    async def backup(self, file):
        """The view of one backup, by its name or as the newest. Raises the Problem 404."""
        state = await self.state()
        view = state["latest"] if file in LATEST else state["by_file"].get(file)
        if view is None:
            state = await self.state(fresh=True)
            view = state["latest"] if file in LATEST else state["by_file"].get(file)
        if view is None:
            raise Problem(404, "backup_not_found", "there is no such backup", next_step="List the backups.")
        return view

    async def answer(self, key, make, valid_seconds=None):
        """The bytes that ``make(state)`` gives, kept until the state changes or so many seconds have passed."""
        state = await self.state()
        found = self._answers.get(key)
        if found is None or found[0] < time.monotonic():
            until = float("inf") if valid_seconds is None else time.monotonic() + valid_seconds
            if len(self._answers) >= _ANSWERS:
                self._answers.clear()
            found = self._answers[key] = (until, make(state))
        return found[1]


LATEST = ("latest", "latest_backup.db")
