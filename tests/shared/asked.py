# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What of the tests of faults is asked for: ``FAULTS=all`` for everything, ``FAULTS_SEED`` for another sample."""

from __future__ import annotations

import os

EVERYTHING = os.environ.get("FAULTS") == "all"
SEED = os.environ.get("FAULTS_SEED", "1")
