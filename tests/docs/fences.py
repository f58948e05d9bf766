# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The fenced commands of a document and what is said of each: run it, expect a status, or skip it for a reason.

A comment right before a fence says which:

    <!-- test: run -->                 every line of the fence is run in one shell and succeeds
    <!-- test: exit 4 -->              its last line ends with this status
    <!-- test: host ... -->            on_host.py runs it on a real host
    <!-- test: controller ... -->      on_host.py runs it on the controller of that host
    <!-- test: output -->              on_host.py compares it with what the fence before has printed
    <!-- test: playbook -->            it is a playbook that passes ansible-playbook --syntax-check
    <!-- test: skip REASON -->         it is not run, for this reason
"""

from __future__ import annotations

import re
from typing import NamedTuple

# Languages that somebody may type; the others (text, json) only show.
TYPED = ("console", "sh", "bash", "shell", "powershell", "yaml", "yml")
ALL = (*TYPED, "text")
_FENCE = re.compile(
    r"(?:<!-- test: (?P<verb>\w+) ?(?P<rest>[^>]*?) ?-->\n)?```(?P<language>\w*)\n(?P<body>.*?)^```", re.S | re.M
)


class Fence(NamedTuple):
    document: str
    line: int
    language: str
    verb: str | None
    rest: str
    body: str


def of(document, text, languages=TYPED):
    """All fences of a document in these languages: those that somebody may type."""
    found = []
    for match in _FENCE.finditer(text):
        if match["language"] in languages:
            line = text.count("\n", 0, match.start("body"))
            found.append(Fence(document, line, match["language"], match["verb"], match["rest"] or "", match["body"]))
    return found


def problems(fences):
    """What is wrong with the marks: a fence without one, an unknown verb, a skip without a reason."""
    wrong = []
    for fence in fences:
        where = f"{fence.document}:{fence.line}"
        if fence.verb is None:
            wrong.append(f"{where}: the fence has no mark, so nobody knows whether it works")
        elif fence.verb not in ("run", "exit", "playbook", "skip", "host", "controller", "output"):
            wrong.append(f"{where}: unknown mark '{fence.verb}'")
        elif fence.verb == "skip" and not fence.rest:
            wrong.append(f"{where}: skipped without a reason")
        elif fence.verb == "exit" and not fence.rest.isdigit():
            wrong.append(f"{where}: 'exit' needs a status")
    return wrong
