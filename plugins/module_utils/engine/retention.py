# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which backups stay and which go: a pure function from the catalog and a policy, then its apply.

A verified regular backup stays when any rule wants it:

* ``keep_days`` and ``max_files`` are one rule: it is at most so many days old and among the newest so many files
  (``max_files`` 0: any number; ``keep_days`` 0: this rule keeps nothing);
* ``keep_last``, ``keep_hourly``, ``keep_daily``, ``keep_weekly``, ``keep_monthly``, ``keep_yearly``: the newest of each
  of the last so many hours, days, ISO weeks, months, years (UTC) that have a backup; -1 for all. They behave like those
  of restic's ``forget`` (https://restic.readthedocs.io/en/stable/060_forget.html), also in that a rule whose count is
  not used up keeps the oldest backup;
* the newest ``min_keep`` always stay;
* one that was made while the clock was behind stays as long as the one that was the newest then: its time says less.

Everything else never counts: pre-restore backups go after their own time to live once a newer verified one exists;
unverified backups of ours go when they are older than ``keep_days`` and a newer verified one exists; files without a
manifest of ours stay.

Nothing at all goes (a *hold*) while the newest backup is not verified, is in the future, or is older than ``max_age``
seconds: something is wrong with the backups or with the clock, and the old ones may be the last good ones. And a run
that would remove more than ``max_remove_percent`` of all at once is stopped (the brake).
"""

from __future__ import annotations

import os
from typing import NamedTuple

from . import clock, errors, files, manifest

DAY = 86400
# One file may always go: with few backups every removal is a large share.
BRAKE_FREE = 1


class Decision(NamedTuple):
    entry: object
    keep: bool
    reasons: tuple


class Plan(NamedTuple):
    """``hold`` is why nothing may go (or None), ``brake`` why a person must look first (or None)."""

    decisions: tuple
    hold: str | None
    brake: str | None

    @property
    def kept(self):
        return [row for row in self.decisions if row.keep]

    @property
    def removed(self):
        return [row for row in self.decisions if not row.keep]


def check_policy(policy):
    """Raise UsageError for a policy that cannot be meant."""
    for key, value in policy.items():
        lowest = -1 if key in _BUCKETS else 0
        if value < lowest:
            raise errors.UsageError(f"retention's '{key}' is {value}, and must be at least {lowest}")
    if policy["min_keep"] < 1:
        raise errors.UsageError("retention's 'min_keep' must be at least 1: the newest verified backup always stays")
    if policy["keep_days"] == 0 and not any(policy[key] for key in _BUCKETS):
        raise errors.UsageError("this retention policy keeps nothing: keep_days is 0 and no keep_* rule is set")


def _iso_week(moment):
    year, week, _day = moment.isocalendar()
    return year, week


_BUCKETS = {
    "keep_last": lambda moment, position: position,
    "keep_hourly": lambda moment, position: (moment.year, moment.month, moment.day, moment.hour),
    "keep_daily": lambda moment, position: (moment.year, moment.month, moment.day),
    "keep_weekly": lambda moment, position: _iso_week(moment),
    "keep_monthly": lambda moment, position: (moment.year, moment.month),
    "keep_yearly": lambda moment, position: moment.year,
}


def plan(entries, policy, now):
    """Decide for each entry of a catalog (newest first). Pure: reads no clock and no disk.

    ``policy`` has the keys of `settings.RETENTION`; ``now`` is an aware UTC time.
    """
    check_policy(policy)
    verified = [entry for entry in entries if entry.verified and entry.kind == "regular"]
    wanted = _wanted(verified, {entry.file for entry in entries}, policy, now)
    decisions = [_decide(entry, wanted, verified, policy, now) for entry in entries]
    hold = _hold(entries, policy, now)
    if hold:
        decisions = [row if row.keep else Decision(row.entry, True, (f"held: {hold}",)) for row in decisions]
    removed = [row for row in decisions if not row.keep and row.entry.kind == "regular"]
    return Plan(tuple(decisions), hold, _brake(len(removed), len(decisions), policy))


def _wanted(verified, there, policy, now):
    """{file: [reasons]} of the verified backups that a rule keeps; ``there`` are the files of all backups."""
    wanted: dict = {}

    def keep(entry, reason):
        wanted.setdefault(entry.file, []).append(reason)

    for position, entry in enumerate(verified):
        if position < policy["min_keep"]:
            keep(entry, f"min_keep: one of the newest {policy['min_keep']} verified")
        if _within(entry, policy["keep_days"], now) and (position < policy["max_files"] or not policy["max_files"]):
            keep(entry, f"keep_days: at most {policy['keep_days']:g} days old")
    for rule, bucket in _BUCKETS.items():
        left, last = policy[rule], None
        for position, entry in enumerate(verified):
            if left == 0:
                break
            value = bucket(entry.created_at, position)
            oldest = position == len(verified) - 1
            if value != last or oldest:
                keep(
                    entry,
                    f"{rule}: {'the oldest, while the rule has room' if value == last else 'newest of its bucket'}",
                )
                last, left = value, left - 1 if left > 0 else left
    for entry in verified:
        after = _made_after(entry)
        if after in there:
            keep(entry, f"made after {after}, when the clock was behind")
    return wanted


def _made_after(entry):
    """The file of the newest backup when this one was made, where its time is behind that one's; else None."""
    after = (entry.manifest or {}).get("made_after")
    return after if isinstance(after, str) else None


def _within(entry, days, now):
    return days > 0 and clock.seconds_between(entry.created_at, now) <= days * DAY


def _decide(entry, wanted, verified, policy, now):
    if entry.pinned(now):
        until = entry.manifest.get("pinned_until")
        return Decision(entry, True, ("pinned" + (f" until {until}" if until else ""),))
    if entry.status == "missing":
        return _decide_orphan(entry, verified)
    if entry.manifest is None:
        why = "; ".join(entry.problems) or "it has no manifest that belongs to it"
        return Decision(entry, True, (f"not ours, as far as can be told: {why}",))
    newer = bool(verified) and verified[0].created_at > entry.created_at  # The newest of them is the first.
    if entry.kind == "pre_restore":
        reason = "a pre-restore backup past its time to live"
        return Decision(entry, not newer, (reason + ("" if newer else ", but nothing newer is verified"),))
    if entry.verified:
        reasons = tuple(wanted.get(entry.file, ()))
        return Decision(entry, bool(reasons), reasons or (_why_not(entry, verified, policy, now),))
    if newer and policy["keep_days"] and not _within(entry, policy["keep_days"], now):
        return Decision(
            entry, False, (f"{entry.status}, older than {policy['keep_days']:g} days, a newer one is verified",)
        )
    return Decision(entry, True, (f"{entry.status}: never counted",))


def _why_not(entry, verified, policy, now):
    if _within(entry, policy["keep_days"], now):
        return f"max_files: there are {policy['max_files']} newer ones"
    if not policy["keep_days"]:
        return "wanted by no rule"
    return f"older than {policy['keep_days']:g} days and wanted by no other rule"


def _decide_orphan(entry, verified):
    """A manifest without its file is evidence of a loss, until every backup of its time has expired anyway."""
    # One that was made while the clock was behind says nothing, and may itself stay as long as this one.
    oldest = next((other.created_at for other in reversed(verified) if not _made_after(other)), None)
    if oldest and entry.created_at and entry.created_at < oldest:
        return Decision(entry, False, ("a manifest without its file, older than every backup that is left",))
    return Decision(entry, True, ("a manifest without its file: reported by health",))


def _hold(entries, policy, now):
    regular = [entry for entry in entries if entry.kind == "regular" and entry.created_at and entry.status != "missing"]
    if not regular:
        return None
    newest = regular[0]
    age = clock.seconds_between(newest.created_at, now)
    if clock.ahead(newest.created_at, now):
        return f"the newest backup {newest.file} is {-age:.0f} s in the future: was the clock set back?"
    if not newest.verified:
        return f"the newest backup {newest.file} is {newest.status}"
    if policy["max_age"] and age > policy["max_age"]:
        return f"the newest backup {newest.file} is {age:.0f} s old, more than max_age {policy['max_age']:g} s"
    return None


def _brake(removed, total, policy):
    share = policy["max_remove_percent"]
    if removed > max(BRAKE_FREE, total * share / 100):
        return f"it would remove {removed} of {total} backups at once, more than {share:g} %"
    return None


def apply(decided, backup_dir):
    """Remove what the plan removes; returns (rows removed, bytes freed, rows that could not be removed with the cause).

    The backup goes first and its manifest last: a crash in between leaves a manifest that says what was there. The
    oldest go first, so that such a manifest is older than all backups that are left, by which the next run removes it.
    One that cannot be removed does not stop the rest.
    """
    removed: list = []
    failed, freed = [], 0
    for row in reversed(decided.removed):
        try:
            if files.remove(row.entry.path):
                freed += row.entry.stored_bytes
            files.sync_directory(backup_dir)
            files.remove(manifest.path_for(row.entry.path))
            removed.insert(0, row)
        except OSError as error:
            failed.append({"file": row.entry.file, "error": errors.from_os_error(error, row.entry.path).message})
    if removed and os.path.isdir(backup_dir):
        files.sync_directory(backup_dir)
    return removed, freed, failed
