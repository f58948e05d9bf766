# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which backup a drill takes. Pure: from the catalog's entries, the rule and the time to one entry.

* ``latest``: the newest verified one, as a restore would take;
* ``oldest``: the oldest verified one that is kept;
* ``random``: one of the verified ones, by the seed, so that over months all are exercised and anybody can tell
  afterwards that it was this one's turn;
* ``untested``: the one whose last restore test is the longest ago, those that never had one first;
* an age such as ``7d``: the newest one that is at least so old, where none is, the oldest;
* else a reference as everywhere: a file name or a time.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .. import catalog, clock, errors

RULES = ("latest", "oldest", "random", "untested")
_AGE = re.compile(r"(\d+)([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Selection(NamedTuple):
    """``rule``, over the backups of the last ``window_days`` (None: all); ``seed`` is for ``random``."""

    rule: str = "latest"
    window_days: float | None = None
    seed: str | None = None


class Choice(NamedTuple):
    """The entry, of how many it was chosen, and what is to be said of that."""

    entry: catalog.Entry
    candidates: int
    warnings: tuple = ()


def check(selection):
    """Raise UsageError for a selection that means nothing."""
    if not selection.rule:
        raise errors.UsageError("no rule says which backup is to be drilled", hint=_HINT)
    days = selection.window_days
    if days is not None and not 0 < days < float("inf"):
        raise errors.UsageError(f"a window of {days:g} days has no backup in it")


_HINT = "Give latest, oldest, random, untested, an age such as 7d, a file name or a time."


def choose(entries, selection, target, now, host):
    """The Choice among the entries of a scan. Raises BackupNotFound, which says what there is."""
    check(selection)
    usable = [entry for entry in entries if entry.verified and entry.kind == "regular"]
    if selection.window_days is not None:
        usable = [
            entry for entry in usable if clock.seconds_between(entry.created_at, now) <= selection.window_days * 86400
        ]
    age = _AGE.fullmatch(selection.rule)
    if not (age or selection.rule in RULES):
        return Choice(catalog.resolve(selection.rule, target.backup_dir, target.name, entries), len(usable))
    if not usable:
        within = "" if selection.window_days is None else f" of the last {selection.window_days:g} days"
        raise errors.BackupNotFound(
            f"there is no verified backup{within} of '{target.name}' ({catalog.what_there_is(entries)})",
            path=target.backup_dir,
            hint="Back it up now (command 'run'), and see why nobody did: its schedule and its last errors.",
        )
    if age:
        return _of_age(usable, int(age.group(1)) * _UNITS[age.group(2)], selection.rule, now)
    return Choice(_BY_RULE[selection.rule](usable, selection, host), len(usable), _newer_ones(entries, usable))


def _of_age(usable, seconds, rule, now):
    old = [entry for entry in usable if clock.seconds_between(entry.created_at, now) >= seconds]
    if old:
        return Choice(old[0], len(usable))
    return Choice(usable[-1], len(usable), (f"no backup is {rule} old yet: the oldest was taken",))


def _newer_ones(entries, usable):
    """A damaged backup that is newer than all the good ones would go unseen: nobody restores it."""
    newest = usable[0].created_at
    bad = [
        e.file
        for e in entries
        if e.kind == "regular" and e.status == "invalid" and e.created_at and e.created_at > newest
    ]
    return (f"newer than any good backup, but damaged: {', '.join(bad[:3])}",) if bad else ()


def _random(usable, selection, host):
    import hashlib

    # By a hash, so that it can be told again in any language: the number of the entry, the oldest being 0.
    turn = hashlib.sha256("\n".join((str(selection.seed), host, usable[0].name)).encode("utf-8", "surrogateescape"))
    return usable[::-1][int.from_bytes(turn.digest(), "big") % len(usable)]


def _untested(usable, _selection, _host):
    def tested(entry):
        test = entry.manifest.get("restore_test")
        return str(test.get("checked_at") or "") if isinstance(test, dict) else ""

    return min(reversed(usable), key=tested)


_BY_RULE = {
    "latest": lambda usable, _selection, _host: usable[0],
    "oldest": lambda usable, _selection, _host: usable[-1],
    "random": _random,
    "untested": _untested,
}
