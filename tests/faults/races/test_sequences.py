# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Any sequence of operations and faults against a model of what must be there (`model` has the promises).

Hypothesis chooses what happens: backups, restores, rehearsals, retention, deletions, pins, transfers to a vault, writes
of the application, steps of the clock up to a year in both directions, damage to stored files; and any of these may be
killed at a random call that changes the disk, or find the disk full from there on.
"""

from __future__ import annotations

import model
from asked import EVERYTHING
from engine import catalog
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

DAY = 86400
FAULTS = st.one_of(st.none(), st.none(), st.tuples(st.sampled_from(["kill", "full"]), st.integers(1, 70)))
ANY = st.integers(0, 99)
POLICIES = st.fixed_dictionaries(
    {
        "keep_days": st.sampled_from([0, 1, 7]),
        "max_files": st.integers(0, 4),
        "keep_last": st.integers(1, 3),
        "min_keep": st.integers(1, 3),
        "max_age": st.sampled_from([0, 2 * DAY]),
        "max_remove_percent": st.sampled_from([50, 100]),
    }
)


class Sequences(RuleBasedStateMachine):
    """Each rule is one thing that can happen to a host."""

    @initialize(mode=st.sampled_from(["wal", "delete"]))
    def begin(self, mode):
        self.host = model.Host(mode)

    def _entries(self, *statuses, kind="regular"):
        found = self.host.scan() if hasattr(self, "host") else []
        return [entry for entry in found if entry.kind == kind and entry.status in (statuses or ("verified",))]

    def _one(self, number, **options):
        entries = self._entries(**options)
        return entries[number % len(entries)]

    @rule(rows=st.integers(1, 40))
    def application_writes(self, rows):
        self.host.write(rows)

    @rule(
        fault=FAULTS,
        compression=st.sampled_from(["none", "none", "gzip"]),
        pinned=st.booleans(),
        unless=st.booleans(),
    )
    def backup(self, fault, compression, pinned, unless):
        options = {"compression": compression, "pinned": pinned, "skip_if_unchanged": unless}
        newest = catalog.newest_verified(self.host.scan())
        answer = self.host.act("backup", fault, database=self.host.path, disk_limit_percent=100, **options)
        if fault is None:
            assert "error_code" not in answer, answer
        if answer and answer.get("skipped_reason"):
            assert unless and self.host.known[newest.file] == self.host.live

    @rule(
        fault=FAULTS,
        number=ANY,
        latest=st.booleans(),
        strategy=st.sampled_from(["auto", "replace", "replace_if_free"]),
        pre_backup=st.booleans(),
    )
    def restore(self, fault, number, latest, strategy, pre_backup):
        entries = self._entries()
        if not entries:
            return
        entry = entries[0] if latest else entries[number % len(entries)]
        wanted = self.host.known[entry.file]
        options = {"backup": "latest" if latest else entry.file, "strategy": strategy, "pre_backup": pre_backup}
        answer = self.host.act("restore", fault, new=[wanted], database=self.host.path, force=True, **options)
        if fault is not None:
            return
        if entry.file in self.host.damaged:
            assert answer["error_code"] == "backup_invalid", answer
        else:
            assert "error_code" not in answer, answer
            assert self.host.live == wanted

    @rule(fault=FAULTS)
    def undo(self, fault):
        kept = self._entries(kind="pre_restore")
        if not kept:
            return
        # Which one is meant is told by the names; any that was kept is a whole content.
        wanted = sorted(kept, key=lambda entry: entry.created_at)
        name = wanted[-1].file
        new = [self.host.known[name], *self.host.before_kill]
        self.host.act("restore", fault, new=new, database=self.host.path, force=True, undo=True, backup=name)

    @rule(fault=FAULTS, number=ANY)
    def rehearse(self, fault, number):
        entries = self._entries()
        if not entries:
            return
        entry = entries[number % len(entries)]
        answer = self.host.act("restore", fault, backup=entry.file, test=True)
        if fault is None:
            assert (answer.get("error_code") == "backup_invalid") == (entry.file in self.host.damaged), answer

    @rule(fault=FAULTS)
    def validate(self, fault):
        answer = self.host.act("validate", fault)
        if fault is None and self.host.scan():
            entries = self.host.scan()
            bad = [entry for entry in entries if entry.file in self.host.damaged or entry.status == "missing"]
            assert ("error_code" in answer) == bool(bad), answer
            assert all(entry.status in ("invalid", "missing") for entry in bad)

    @rule(fault=FAULTS, policy=POLICIES)
    def retention(self, fault, policy):
        self.host.expire(fault, policy)

    @rule(fault=FAULTS, number=ANY)
    def delete(self, fault, number):
        entries = self.host.scan()
        if not entries:
            return
        entry = entries[number % len(entries)]
        answer = self.host.act("delete", fault, removes="delete", backup=entry.file)
        verified = [other.file for other in entries if other.verified and other.kind == "regular"]
        if entry.pinned(self.host.moment) or (entry.status != "missing" and verified == [entry.file]):
            assert answer is None or answer["error_code"] in ("not_confirmed", "no_space"), answer

    @rule(number=ANY)
    def pin(self, number):
        entries = self._entries()
        if entries:
            self.host.pin(entries[number % len(entries)])

    @rule(fault=FAULTS)
    def transfer(self, fault):
        self.host.carry(fault)
        answer = self.host.carry(None)
        if answer.get("rows") and any(row["problem"] for row in answer["rows"]):
            answer = self.host.carry(None)  # What was left of another backup of that name is gone now.
        assert "error_code" not in answer and not any(row["problem"] for row in answer["rows"]), answer

    @rule(seconds=st.sampled_from([1, 3600, DAY, 8 * DAY, 366 * DAY, -3600, -DAY, -366 * DAY]))
    def clock_steps(self, seconds):
        self.host.moment = model.clock.after(self.host.moment, seconds)

    @precondition(lambda self: len(self._entries()) > 1)
    @rule(number=ANY, place=st.integers(0, 1 << 30))
    def stored_file_is_damaged(self, number, place):
        entry = self._one(number)
        if entry.file not in self.host.damaged:
            self.host.damage(entry, place)

    @rule()
    def ordinary_run(self):
        self.host.settle()

    def teardown(self):
        if not hasattr(self, "host"):
            return
        try:
            self.host.settle()
            for entry in self._entries():
                if entry.file not in self.host.damaged:
                    answer = self.host.act("restore", backup=entry.file, test=True)
                    assert "error_code" not in answer, answer
        finally:
            self.host.close()


TestSequences = Sequences.TestCase
TestSequences.settings = settings(
    max_examples=400 if EVERYTHING else 12,
    stateful_step_count=60 if EVERYTHING else 30,
    deadline=None,
    database=None,
    print_blob=True,
    # CI tries the same sequences each time; the long run others each time.
    derandomize=not EVERYTHING,
    suppress_health_check=list(HealthCheck),
)
