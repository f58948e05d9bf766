# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Restore: plan, stage, swap, recover. Private to the collection.

Killed at any instant, a restore leaves the old content or the new, whole; `journal` is what the next run finishes or
undoes it by, and each function that touches the live database says what a crash after each step leaves behind.
"""

from __future__ import annotations
