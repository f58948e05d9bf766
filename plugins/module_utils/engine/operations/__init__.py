# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One function for each operation: the only door. Modules, command line and API call these and nothing else.

All arguments are by keyword. Common to them: ``database`` (path), ``backup_dir``, ``name``, ``config_path``; ``caller``
says who asked, for the audit log ({"via": "cli"}, with "subject" for the API); ``progress(stage, done, total)`` is told
how far a long step has come (total 0: unknown). What is None comes from the configuration. ``check`` plans and
rehearses, and changes nothing. Each returns plain data and raises the errors of `errors`; after an error everything is
as it was, or the error's details say what is not.
"""

from __future__ import annotations

from .backups import backup, delete, restore, retention
from .drills import drill
from .gamedays import gameday
from .gates import gate, token
from .hosts import discover, install, metrics, notify, run, schedule
from .reviews import review
from .transfers import transfer
from .views import audit_log, health, info, statistics, validate

__all__ = [
    "audit_log",
    "backup",
    "delete",
    "discover",
    "drill",
    "gameday",
    "gate",
    "health",
    "info",
    "install",
    "metrics",
    "notify",
    "restore",
    "retention",
    "review",
    "run",
    "schedule",
    "statistics",
    "token",
    "transfer",
    "validate",
]

# Each operation imports its own rooms when it is called: a command starts as fast as what it runs.
