# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The soak, for two minutes; `make soak` runs it for an hour."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

SOAK = pathlib.Path(__file__).resolve().parent.parent / "soak.py"


def test_soak_of_some_minutes_finds_nothing(quick_place, everything):
    command = [sys.executable, str(SOAK), "--seconds", "600" if everything else "120", "--place", str(quick_place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout)
    assert figures["wrong"] == figures["stray"] == 0
    assert figures["listed"] > 0 and figures["backups"] == figures["turns"]
