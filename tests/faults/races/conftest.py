# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What these tests share."""

from __future__ import annotations

import asked
import pytest


@pytest.fixture(scope="session")
def everything():
    """Whether all is asked for (`make faults`), and not what fits into CI."""
    return asked.EVERYTHING
