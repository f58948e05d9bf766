# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The record of what a restore did: name, status, seconds and detail of each step."""

from __future__ import annotations

import contextlib

from .. import clock, errors


class Steps:
    """Collects the rows; an error that passes through a step carries all rows so far in its details."""

    def __init__(self):
        self.rows = []
        self._started = clock.monotonic()

    @property
    def seconds(self):
        return round(clock.monotonic() - self._started, 3)

    @contextlib.contextmanager
    def step(self, name):
        """Time a step; the block may set ``row["detail"]``."""
        row = {"name": name, "status": "ok", "seconds": 0.0, "detail": ""}
        self.rows.append(row)
        started = clock.monotonic()
        try:
            yield row
        except BaseException as error:
            row["status"] = "failed"
            row["detail"] = error.cause if isinstance(error, errors.BackupError) else str(error)
            if isinstance(error, errors.BackupError):
                error.details.setdefault("steps", self.rows)
            raise
        finally:
            row["seconds"] = round(clock.monotonic() - started, 3)

    def skipped(self, name, detail):
        self.rows.append({"name": name, "status": "skipped", "seconds": 0.0, "detail": detail})
