# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether something has the fields of a report: what a host has answered, a report that is to be merged.

schema.json says which they are, and docs/DRILL_REPORT.md shows it. The part of JSON Schema that it uses is checked
here, because the controller needs no library for that elsewhere; a test holds it against one.
"""

from __future__ import annotations

import functools
import json
import os
import re

_PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "schema.json")
_TYPES = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


@functools.lru_cache(maxsize=1)
def schema():
    """The schema as data."""
    with open(_PATH, encoding="ascii") as source:
        return json.load(source)


def problem(value, part=None):
    """What is wrong with a report, or with the ``part`` of one ($defs), as ``.where is what``; None if nothing is."""
    return _check(part)(value)


@functools.lru_cache(maxsize=64)
def _check(part):
    """The check of a part, made once: a large fleet has many values."""
    return _compiled(schema()["$defs"][part] if part else schema())


def _compiled(rule):
    """A function from a value to what is wrong with it, or None."""
    if "$ref" in rule:
        name = rule["$ref"].rpartition("/")[2]

        def check_other(value):  # Looked up when it is called: a part may refer to itself.
            return _check(name)(value)

        return check_other
    types = rule["type"] if isinstance(rule["type"], list) else [rule["type"]]
    allowed = tuple(kind for name in types for kind in _TYPES[name])
    deeper = _deeper(rule)

    def check(value):
        # JSON's true is no number, although Python's is.
        if not isinstance(value, allowed) or (value is True or value is False) and bool not in allowed:
            return f" is not {' or '.join(types)}"
        return None if value is None else deeper(value)

    return check


def _deeper(rule):
    """The check of a value that has the right type."""
    if "properties" in rule:
        return _object(rule)
    if "items" in rule:
        return _array(_compiled(rule["items"]))
    if "enum" in rule:
        return lambda value: None if value in rule["enum"] else f" is none of {', '.join(map(str, rule['enum']))}"
    if "pattern" in rule:
        pattern = re.compile(rule["pattern"])
        return lambda value: None if pattern.fullmatch(value) else " has not the form of it"
    if "minimum" in rule:
        # Also no NaN, which is neither less nor more.
        return functools.partial(_bounds, rule["minimum"], rule["maximum"])
    return lambda value: None


def _bounds(least, most, value):
    return None if isinstance(value, str) or least <= value <= most else " is out of bounds"


def _object(rule):
    required = rule["required"]
    known = rule["properties"].keys()
    checks = [(key, _compiled(inner)) for key, inner in rule["properties"].items()]

    def check(value):
        for key in required:
            if key not in value:
                return f".{key} is missing"
        for key, inner in checks:
            if key in value:
                wrong = inner(value[key])
                if wrong is not None:
                    return f".{key}{wrong}"
        return None if value.keys() <= known else _unknown(value, known)

    return check


def _unknown(value, known):
    """What is wrong with fields that this version does not know: JSON has no NaN, no infinity, and is not endless."""
    for key in value.keys() - known:
        try:
            json.dumps(value[key], allow_nan=False)
        except (ValueError, RecursionError):
            return " has a field that is no JSON"
    return None


def _array(inner):
    def check(value):
        for number, item in enumerate(value):
            wrong = inner(item)
            if wrong is not None:
                return f"[{number}]{wrong}"
        return None

    return check
