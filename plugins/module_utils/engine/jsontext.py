# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""JSON that somebody else may have written: what is read here can be written again, as JSON."""

from __future__ import annotations

import json
import math


def decode(raw, no_number):
    """The value of JSON text; ValueError with the cause for what is none.

    ``no_number`` is given the text of what Python reads and JSON has not, NaN and infinity, also as 1e999; what it
    returns stands for it.
    """

    def finite(text):
        number = float(text)
        return number if math.isfinite(number) else no_number(text)

    try:
        return json.loads(raw, parse_constant=no_number, parse_float=finite)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def refuse(text):
    raise ValueError(f"{text[:20]} is no number of JSON")
