# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Notifications: who is told when a run starts, succeeds, fails or is held back. Private to the collection.

`load` reads which channels there are, `send` tells an `Event` to those that want it. Nothing of the network is imported
before something is sent: a run that tells nobody starts as fast as before.
"""

from __future__ import annotations

from .channels import load
from .delivery import send
from .event import Event

__all__ = ["Event", "load", "send"]
