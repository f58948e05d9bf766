#!/usr/bin/python
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_drill
short_description: Prove on a host that its SQLite databases can be brought back
version_added: 0.1.0
author: The digitalme.backup authors (@digitalme)
description:
  - Works on the databases that the host's configuration lists, all in one task.
  - Of each one a backup is chosen, restored into a scratch place, verified in full, opened and written to as an
    application would, and compared with the rows and the schema of its manifest. Every phase is measured, and the whole
    compared with the objectives of the database.
  - The live database is not opened. The scratch copies are removed whatever happens; what a drill that was killed has
    left is removed by the next one.
  - Where a backup turns out to be no good, the newest one that can be restored in its place is looked for and told.
  - In each manifest it is noted that the backup was tested, and how it went.
extends_documentation_fragment:
  - digitalme.backup.common.attributes
attributes:
  check_mode:
    details:
      - In check mode the backups are only chosen.
  diff_mode:
    support: none
    details:
      - Nothing of the host is changed.
options:
  names:
    description: Only these of the databases, by their names. All where it is not given.
    type: list
    elements: str
  databases:
    description:
      - The databases, where the host has no configuration of its own. Each is a mapping as in the configuration, with
        C(path), or C(name) and C(backup_dir), and what of its settings matters here, C(assertions), C(rpo_objective),
        C(rto_objective) (both in seconds) and C(drill_check).
      - C(drill_check) is the application's own check, as a list of words. It runs with the rights of this task, with
        C({database}) as the path of the restored copy, and passes with exit status 0.
    type: list
    elements: dict
  selection:
    description:
      - Which backup is drilled.
      - V(latest) and V(oldest) are the newest and the oldest verified one.
      - V(random) is one of the verified ones, by O(seed).
      - V(untested) is the one whose last restore test is the longest ago.
      - An age such as V(7d) is the newest one that is at least so old.
      - Else a file name or a time in ISO 8601, as O(digitalme.backup.sqlite_restore#module:backup) takes it.
    type: str
    default: latest
  window_days:
    description: Only the backups of the last so many days. All where it is not given.
    type: float
  seed:
    description: What V(random) chooses by. The same seed chooses the same backups.
    type: str
  full_restore:
    description:
      - Also make a whole restore over the scratch copy, with a pre-restore backup and the comparison afterwards.
      - It needs four times the room of the database, and is what the RTO is then measured by.
    type: bool
    default: false
  scratch_dir:
    description: A directory of the host for the scratch copies. Beside the backups where it is not given.
    type: path
  time_limit:
    description: Seconds for all databases of the host. What is not done by then is reported as not run.
    type: float
    default: 3600
  fail_on:
    description:
      - The task fails when a database's status is this or worse.
      - V(objective_missed) is one that can be brought back, but not as fast, or not as new, as its objectives say.
    type: str
    choices: [never, failed, objective_missed]
    default: objective_missed
  parts:
    description:
      - A directory of the controller, which M(digitalme.backup.drill_report) has made. The host's result is written
        into it, also when the host could not be reached, and what the task returns is only a summary.
      - The task does then not fail. The report does, at the end.
    type: path
  chosen:
    description:
      - With O(parts), where the task is delegated to a drill host, RV(databases) as the task has returned them on the
        host itself in check mode. The backups were brought to the drill host, and O(databases) says where.
    type: list
    elements: dict
  lacking:
    description: With O(parts), why the host cannot be asked. It is noted, and the host is left alone.
    type: str
  config_path:
    description: The host's configuration. The usual one where it is not given.
    type: path
notes:
  - The host needs Python 3.9 or newer and nothing else.
"""

EXAMPLES = r"""
- name: Prove that the newest backup of every database can be restored
  digitalme.backup.backup_drill:
    selection: latest

- name: Have another backup of the last month its turn, and restore it as in an emergency
  digitalme.backup.backup_drill:
    selection: random
    window_days: 30
    seed: "2026-11"
    full_restore: true

- name: Drill a database of a host that has no configuration
  digitalme.backup.backup_drill:
    databases:
      - name: shop
        backup_dir: /var/backups/shop
        rto_objective: 60
        drill_check: [/usr/bin/shop, --check, "{database}"]
"""

RETURN = r"""
databases:
  description: Every database with what came of it.
  returned: always, unless the call was refused before, or O(parts) is given
  type: list
  elements: dict
  sample:
    - {name: shop, status: passed, recoverable: true, seconds: 0.42}
  contains:
    name:
      description: The name of the backup set.
      type: str
      sample: shop
    status:
      description: C(passed), C(objective_missed), C(failed), C(no_backup) or C(not_run).
      type: str
      sample: passed
    error_code:
      description: What went wrong, as one of the collection's codes or C(objective_missed).
      type: str
      sample: null
    cause:
      description: What went wrong, in one line.
      type: str
      sample: null
    next_step:
      description: What to do about it.
      type: str
      sample: null
    selection:
      description: The rule by which the backup was chosen, and among how many.
      type: dict
      sample: {rule: latest, window_days: null, seed: null, candidates: 7}
    backup:
      description: The backup that was chosen, with the hashes of its manifest.
      type: dict
      sample: {file: shop_20261122_020000.db, created_at: "2026-11-22T02:00:00.000Z", tables: 12, rows: 4711}
    recoverable:
      description: Whether this database can be brought back at all, null where that is not known.
      type: bool
      sample: true
    recoverable_from:
      description: The backup that a restore has to use, where the chosen one is no good.
      type: dict
      sample: null
    phases:
      description: What was done, in order, with its seconds.
      type: list
      elements: dict
      sample: [{name: verify, status: ok, seconds: 0.085, detail: "level full: ok"}]
    seconds:
      description: How long the drill of this database took.
      type: float
      sample: 0.42
    rto:
      description: Seconds that a restore takes, against the objective.
      type: dict
      sample: {achieved_seconds: 0.31, objective_seconds: 60, met: true}
    rpo:
      description: Age in seconds of what a restore of now would bring back, against the objective.
      type: dict
      sample: {achieved_seconds: 4500.2, objective_seconds: 86400, met: true}
    limits:
      description: The figures against the limits that are promised for a database of 10 MB. They decide nothing.
      type: list
      elements: dict
      sample: [{name: restore_test, unit: seconds, limit: 15, measured: 0.31, met: true}]
    warnings:
      description: What else is to be said.
      type: list
      elements: str
      sample: [no rpo_objective is set]
hostname:
  description: The host's own name.
  returned: always, unless the call was refused before, or O(parts) is given
  type: str
  sample: shop1
clock:
  description: The host's time when the drill began.
  returned: always, unless the call was refused before, or O(parts) is given
  type: str
  sample: "2026-11-22T10:00:03.120Z"
seconds:
  description: How long the drill of all databases took.
  returned: always, unless the call was refused before, or O(parts) is given
  type: float
  sample: 1.9
peak_memory_bytes:
  description: The most memory that it took.
  returned: always, unless the call was refused before, or O(parts) is given
  type: int
  sample: 31457280
outcome:
  description: C(answered), C(unreachable), C(timed_out) or C(failed).
  returned: when O(parts) is given
  type: str
  sample: answered
counts:
  description: How many databases have which status.
  returned: when O(parts) is given
  type: dict
  sample: {passed: 3}
error_code:
  description: What went wrong, as one of the collection's codes.
  returned: failure
  type: str
  sample: drill_failed
"""

from ansible_collections.digitalme.backup.plugins.module_utils import adapter

# What the controller's part of it, the action plugin, keeps to itself.
OF_THE_CONTROLLER = ("parts", "chosen", "lacking")


def main():
    spec = {
        "names": {"type": "list", "elements": "str"},
        "databases": {"type": "list", "elements": "dict"},
        "selection": {"type": "str", "default": "latest"},
        "window_days": {"type": "float"},
        "seed": {"type": "str"},
        "full_restore": {"type": "bool", "default": False},
        "scratch_dir": {"type": "path"},
        "time_limit": {"type": "float", "default": 3600},
        "fail_on": {
            "type": "str",
            "choices": ["never", "failed", "objective_missed"],
            "default": "objective_missed",
        },
        "parts": {"type": "path"},
        "chosen": {"type": "list", "elements": "dict"},
        "lacking": {"type": "str"},
        "config_path": {"type": "path"},
    }
    adapter.run(spec, "drill", without=OF_THE_CONTROLLER)


if __name__ == "__main__":
    main()
