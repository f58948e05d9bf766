# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""JSON that somebody else may have written: what is read here can be written again, as JSON."""

from __future__ import annotations

import json
import math


def decode(raw):
    """The value of JSON text. ValueError with the cause for what is none; also for NaN, infinity, and numbers that
    Python would read as infinity.
    """
    try:
        return json.loads(raw, parse_constant=_refuse, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _refuse(text):
    raise ValueError(f"{text} is no number of JSON")


def _finite(text):
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:20]} is too large")
    return number
