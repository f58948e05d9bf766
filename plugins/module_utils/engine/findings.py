# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a verification finds, and its verdict."""

from __future__ import annotations

from . import clock


class Findings:
    """What a verification collects; ``as_dict`` is what the manifest records."""

    def __init__(self, level):
        self.level = level
        self.errors = []
        self.warnings = []
        self.assertions = []
        self.tables = None
        self.schema_sha256 = None
        self._worst = "ok" if level != "none" else "none"

    _ORDER = ("none", "ok", "unverifiable", "failed", "corrupt")

    def add(self, status, check, message):
        """Record an error; the verdict is the worst of all."""
        self.errors.append({"check": check, "message": message})
        if self._ORDER.index(status) > self._ORDER.index(self._worst):
            self._worst = status

    def merge(self, other):
        """Take over what a part of the verification has found."""
        self.errors += other.errors
        self.warnings += other.warnings
        self.tables = self.tables if other.tables is None else other.tables
        self.schema_sha256 = self.schema_sha256 or other.schema_sha256
        if self._ORDER.index(other.status) > self._ORDER.index(self._worst):
            self._worst = other.status

    @property
    def status(self):
        return self._worst

    def as_dict(self, checked_at, seconds):
        return {
            "level": self.level,
            "status": self.status,
            "checked_at": clock.iso(checked_at),
            "duration_seconds": round(seconds, 3),
            "errors": self.errors,
            "warnings": self.warnings,
            "assertions": self.assertions,
        }

    def summary(self):
        """The errors as one line, for messages."""
        shown = "; ".join(f"{row['check']}: {row['message']}" for row in self.errors[:3])
        more = len(self.errors) - 3
        return shown + (f" (and {more} more)" if more > 0 else "")
