# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a drill compares its figures with: the objectives, which decide, and the limits, which are only shown."""

from __future__ import annotations

import math
from typing import NamedTuple

from .. import errors

OBJECTIVES = ("rpo_objective", "rto_objective")
_LONGEST_SECONDS = 10 * 366 * 86400
# Of the collection's first specification, for a database of 10 MB.
LIMITS = (
    ("restore_test", "seconds", 15),
    ("full_restore", "seconds", 60),
    ("validation", "seconds", 10),
    ("memory", "bytes", 100_000_000),
)


class Objectives(NamedTuple):
    """Seconds, or None where nobody has said any."""

    rpo: float | None
    rto: float | None


def of(settings):
    """The Objectives of a database. Raises ConfigError for one that no restore could ever be measured by."""
    for key in OBJECTIVES:
        value = settings[key]
        if value is None:
            continue
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if not number or not 0 < value <= _LONGEST_SECONDS:
            raise errors.ConfigError(
                f"'{key}' is {errors.excerpt(value)}, which is no time to restore in",
                hint="Give seconds, more than 0 and at most ten years.",
            )
    return Objectives(settings["rpo_objective"], settings["rto_objective"])


def missing(objectives):
    """A warning for each objective that nobody has said."""
    return [
        f"no {key} is set: what was measured is compared with nothing"
        for key, value in zip(OBJECTIVES, objectives)
        if value is None
    ]


def measured(achieved, objective):
    """{achieved_seconds, objective_seconds, met}; ``met`` is None where one of the two is not known.

    An objective for which nothing at all could be achieved is not met.
    """
    met = None if objective is None else achieved is not None and achieved <= objective
    return {"achieved_seconds": achieved, "objective_seconds": objective, "met": met}


def unknown(objective):
    """As `measured`, of what was not looked at."""
    return {"achieved_seconds": None, "objective_seconds": objective, "met": None}


def limits(**figures):
    """The rows of the limits: {name, unit, limit, measured, met}; what was not measured is None."""
    return [
        {
            "name": name,
            "unit": unit,
            "limit": limit,
            "measured": figures.get(name),
            "met": None if figures.get(name) is None else figures[name] <= limit,
        }
        for name, unit, limit in LIMITS
    ]
