# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Code that runs as an ordinary user, started by root."""

from __future__ import annotations

import sys

NOBODY = 65534
# Everything is imported first: what an ordinary user may read of the interpreter and the checkout is not the question.
AS_NOBODY = f"""
import _strptime, concurrent.futures.thread, importlib, os, pkgutil, pwd, shutil, subprocess, sys, tempfile, zlib
import engine
for found in pkgutil.walk_packages(engine.__path__, "engine."):
    importlib.import_module(found.name)
os.setgroups([])
os.setgid({NOBODY})
os.setuid({NOBODY})
code = sys.argv.pop(1)
exec(code)
"""
MAIN = "from engine.__main__ import main; sys.exit(main(sys.argv[1:]))"


def command(*words):
    """The command line as an ordinary user calls it."""
    return [sys.executable, "-c", AS_NOBODY, MAIN, *words]
