# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How figures are said to people: spans of time, sizes, moments. Pure."""

from __future__ import annotations

import re

_SPANS = ((86400, "d"), (3600, "h"), (60, "min"))
_SIZES = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


def span(seconds):
    """``31 ms``, ``0.31 s``, ``60 s``, ``4.2 min``, ``25 h``, ``12 d``; a dash where it is not known."""
    if seconds is None:
        return "\N{EN DASH}"
    if abs(seconds) < 0.0995:
        return f"{seconds * 1000:.0f} ms"
    for unit, name in _SPANS:
        if abs(seconds) >= 2 * unit:
            return f"{_short(seconds / unit)} {name}"
    return f"{seconds:.2f}".removesuffix(".00") + " s" if abs(seconds) < 10 else f"{_short(seconds)} s"


def _short(number):
    return f"{number:.1f}".removesuffix(".0")


def size(count):
    """``12.3 MB``; a dash where it is not known."""
    if count is None:
        return "\N{EN DASH}"
    for unit, name in _SIZES:
        if abs(count) >= unit:
            return f"{_short(count / unit)} {name}"
    return f"{count} B"


def moment(text):
    """``2026-11-23 12:00:03 UTC`` of an ISO time."""
    return "\N{EN DASH}" if not text else f"{text[:10]} {text[11:19]} UTC"


def status(word):
    """A status as a person reads it."""
    return _STATUS.get(word, word.replace("_", " "))


_STATUS = {
    "passed": "passed",
    "objective_missed": "objective missed",
    "failed": "failed",
    "no_backup": "no backup",
    "not_run": "not run",
    "timed_out": "timed out",
}


# A cause, a next step or a warning that is longer tells nobody more.
LONGEST = 2000


def clean(text, longest=LONGEST):
    """A text of a host as one bounded line, without what would break a document or turn it around.

    Control characters, and the marks that change the direction of writing, are escaped.
    """
    text = str(text)
    if len(text) <= longest and text.isascii() and text.isprintable() and "  " not in text:
        return text.strip()  # Nearly all of them, and a large fleet has many.
    line = " ".join(text[: 8 * longest].split())
    shown = "".join(char if char.isprintable() and char not in _MARKS else f"\\u{ord(char):04x}" for char in line)
    return shown if len(shown) <= longest else shown[:longest] + "..."


# Printable by Unicode, but they turn what follows around.
_MARKS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~&@-])")


def markdown(text, longest=200):
    """A host's words as Markdown that shows them and does nothing else."""
    return _SPECIAL.sub(r"\\\1", clean(text, longest))
