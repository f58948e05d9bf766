# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Work over many plain values without Python's search for circles among them."""

from __future__ import annotations

import functools
import gc


def calm(function):
    """The function, during which nothing is searched for circles: the report of a large fleet is millions of values
    that are in none, and to walk them again and again takes as long as all the rest.
    """

    @functools.wraps(function)
    def called(*given, **named):
        was = gc.isenabled()
        gc.disable()
        try:
            return function(*given, **named)
        finally:
            if was:
                gc.enable()

    return called
