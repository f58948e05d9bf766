# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes the engine importable as ``engine`` and the sample application as ``sample_app``, from a plain checkout."""

from __future__ import annotations

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
for _directory in (ROOT / "plugins" / "module_utils", ROOT / "tools"):
    if str(_directory) not in sys.path:
        sys.path.insert(0, str(_directory))
