# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How often a subject and an address may ask; the counting is the library `limits`'."""

from __future__ import annotations

import ipaddress
import math
import time

import limits
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from .problems import Problem

_IPV6_NETWORK = 64


class Rates:
    """Counts in this process's memory: there is one process, and a restart forgets.

    Two numbers for each who asks, not a list of when: a flood costs nothing.
    """

    def __init__(self, settings):
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._limits = {kind: limits.parse(text) for kind, text in settings.model_dump().items()}

    def count(self, kind, who):
        """Count one; raises the Problem 429 with Retry-After where it is one too many."""
        if not self._limiter.hit(self._limits[kind], kind, who):
            raise self._too_many(kind, who)

    def _too_many(self, kind, who):
        reset = self._limiter.get_window_stats(self._limits[kind], kind, who).reset_time
        seconds = max(1, math.ceil(reset - time.time()))
        return Problem(
            429,
            "too_many_requests",
            f"too many requests; ask again in {seconds} s",
            headers={"Retry-After": str(seconds)},
        )


def network(address):
    """By what an address is counted: IPv6 by its /64, which is what one customer is given."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if known.version == 4 or known.ipv4_mapped:
        return str(known.ipv4_mapped or known) if known.version == 6 else str(known)
    return str(ipaddress.ip_network((known, _IPV6_NETWORK), strict=False))
