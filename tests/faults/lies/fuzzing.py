# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A small coverage-guided fuzzer: an input that reaches what none before it reached is kept, and changed further.

What is reached are the steps from one line to the next in the files of the parser, seen with ``sys.settrace``, which
every Python has. The same seed makes the same inputs.
"""

from __future__ import annotations

import json
import random
import sys
from typing import NamedTuple

import documents


class Fuzzed(NamedTuple):
    """``lines`` were reached ``of_lines`` in the functions that were entered at all. ``failures`` are
    [(input, what came out)], one for each place that it came from.
    """

    executions: int
    accepted: int
    kept: int
    lines: int
    of_lines: int
    failures: list


def run(modules, seeds, words, work, *, refusals, check, executions, seed):
    """Call ``work(raw)`` with so many inputs: it may only return or raise ``refusals``; ``check`` holds what it
    returned to its promises and raises AssertionError. ``words`` are bytes that the parser knows.
    """
    numbers = random.Random(seed)
    watch = _Watch(modules)
    corpus, sound = list(seeds), list(seeds)
    accepted, failures = 0, {}
    for number in range(executions):
        raw = corpus[number] if number < len(seeds) else _changed(numbers, numbers.choice((corpus, sound)), words)
        refused = True
        try:
            with watch:
                value = work(raw)
            accepted, refused = accepted + 1, False
            check(value)
        except refusals:
            pass
        except Exception as error:
            failures.setdefault((type(error).__name__, _place(error)), (raw[:2000], f"{type(error).__name__}: {error}"))
        if watch.reached_more() and number >= len(seeds) and len(raw) < 20_000:
            corpus.append(raw)
            if not refused:
                sound.append(raw)
    lines = {(file, line) for file, _before, line in watch.known}
    return Fuzzed(executions, accepted, len(corpus), len(lines), len(_lines(modules, lines)), list(failures.values()))


class _Watch:
    """The steps between lines of the modules that happen in a ``with`` block."""

    def __init__(self, modules):
        self._files = {module.__file__ for module in modules}
        self.known, self._now, self._before = set(), set(), {}

    def __enter__(self):
        self._now = set()
        sys.settrace(self._call)

    def __exit__(self, *_raised):
        sys.settrace(None)

    def reached_more(self):
        more = self._now - self.known
        self.known |= more
        return bool(more)

    def _call(self, frame, _event, _argument):
        file = frame.f_code.co_filename
        if file not in self._files:
            return None
        before = 0

        def step(frame, event, _argument):
            nonlocal before
            if event == "line":
                self._now.add((file, before, frame.f_lineno))
                before = frame.f_lineno
            return step

        return step


def _lines(modules, reached):
    """(file, line) of all that can be executed in the functions of which something was."""
    found = set()
    for module in modules:
        with open(module.__file__, encoding="utf-8") as source:
            pending = [compile(source.read(), module.__file__, "exec")]
        while pending:
            code = pending.pop()
            pending += [constant for constant in code.co_consts if hasattr(constant, "co_code")]
            # What stands on the first line of a function, its "def", runs when it is made.
            own = {(module.__file__, line) for line in _of(code) if line and line != code.co_firstlineno}
            if code.co_name != "<module>" and own & reached:
                found |= own
    return found


def _of(code):
    import dis

    return {line for _offset, line in dis.findlinestarts(code)}


def _place(error):
    found = error.__traceback__
    while found.tb_next is not None:
        found = found.tb_next
    return found.tb_frame.f_code.co_filename, found.tb_lineno


# --- how inputs change -----------------------------------------------------------------------------------------------


def _changed(numbers, corpus, words):
    raw = numbers.choice(corpus)
    if numbers.randrange(2):
        raw = _changed_document(numbers, raw) or raw
    for _time in range(numbers.choice((0, 1, 1, 2, 4))):
        raw = numbers.choice((_bit, _removed, _word, _word, _spliced, _repeated))(numbers, raw, corpus, words)
    return raw


def _changed_document(numbers, raw):
    """One value of JSON exchanged for an odd one, or its key removed; None where it is no object."""
    try:
        document = json.loads(raw)
        ways = tuple(documents.places(document))
        way = numbers.choice(ways)
        holder = documents.holder(document, way)
        if numbers.randrange(4):
            holder[way[-1]] = numbers.choice(
                (numbers.choice(documents.ODD), documents.value_at(document, numbers.choice(ways)))
            )
        else:
            holder.pop(way[-1], None)
        return json.dumps(document).encode("ascii")
    except (ValueError, AttributeError, IndexError, RecursionError):
        return None


def _bit(numbers, raw, _corpus, _words):
    if not raw:
        return b"\0"
    at = numbers.randrange(len(raw))
    return raw[:at] + bytes([raw[at] ^ 1 << numbers.randrange(8)]) + raw[at + 1 :]


def _removed(numbers, raw, _corpus, _words):
    at = numbers.randrange(len(raw) + 1)
    return raw[:at] + raw[at + numbers.choice((1, 1, 2, 8, 64)) :]


def _word(numbers, raw, _corpus, words):
    at = numbers.randrange(len(raw) + 1)
    return raw[:at] + numbers.choice(words) + raw[at + numbers.choice((0, 0, 1, 3)) :]


def _spliced(numbers, raw, corpus, _words):
    other = numbers.choice(corpus)
    return raw[: numbers.randrange(len(raw) + 1)] + other[numbers.randrange(len(other) + 1) :]


def _repeated(numbers, raw, _corpus, _words):
    at, length = numbers.randrange(len(raw) + 1), numbers.choice((1, 2, 8))
    return raw[:at] + raw[at : at + length] * numbers.choice((2, 5, 300)) + raw[at:]
