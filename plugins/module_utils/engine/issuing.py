# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Signing tokens for the REST API, by the program that the role `api` has installed."""

from __future__ import annotations

import os

from . import errors, processes

HOME = "/opt/digitalme-backup-api"


def token(words, environment=None):
    """The signed token for the words of its command line. ``DIGITALME_BACKUP_API_HOME`` says where another home is.

    Raises UsageError where there is no API, and with what it says itself.
    """
    environment = os.environ if environment is None else environment
    home = environment.get("DIGITALME_BACKUP_API_HOME") or HOME
    python = os.path.join(home, "venv", "bin", "python")
    if not os.path.exists(python):
        hint = "Install it with the playbook api.yml, or sign on the controller (lookup digitalme.backup.jwt)."
        raise errors.UsageError("the REST API is not installed here", path=home, hint=hint)
    try:
        done = processes.run(
            [python, "-c", _PROGRAM, home, "--config", os.path.join(home, "api.json"), "token", *words]
        )
    except OSError as error:
        raise errors.from_os_error(error, python) from error
    if done.returncode:
        raise errors.UsageError(
            done.stderr.strip() or "no token was signed", hint="Correct the call, or run it as root."
        )
    return done.stdout.strip()


_PROGRAM = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from backup_api.__main__ import main
raise SystemExit(main())
"""
