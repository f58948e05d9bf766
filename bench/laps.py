#!/usr/bin/env python3
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the time of one clone with SHA-256 goes: ``laps.py SOURCE TARGET``, with the engine on PYTHONPATH.

Prints a JSON list of [what, seconds], one after the other in time; the last is no part of the sum: what the SHA-256 of
the same bytes takes by itself, in one thread.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time

from engine import behind, clone, files, snapshot

laps: dict = {}


def timed(name, function):
    def call(*arguments, **options):
        begun = time.monotonic()
        try:
            return function(*arguments, **options)
        finally:
            laps[name] = laps.get(name, 0) + time.monotonic() - begun

    return call


def main():
    source, target = sys.argv[1:]
    clone.copy = timed("copied under the lock", clone.copy)
    clone.fold = timed("log replayed", clone.fold)
    behind.Passing.finish = timed("written back", behind.Passing.finish)
    files.sync = timed("fsync", files.sync)
    taken = snapshot.take(source, target, "clone", hashing=True)
    with contextlib.closing(taken.digest):
        timed("hashed to the end", taken.digest.hexdigest)()
    timed("SHA-256 alone", files.sha256)(target)
    print(json.dumps([[name, round(seconds, 3)] for name, seconds in laps.items()]))


if __name__ == "__main__":
    main()
