#!/usr/bin/python
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_gameday
short_description: Put faults into copies of a host's backups, and see that each is noticed or survived
version_added: 0.1.0
author: The digitalme.backup authors (@digitalme)
description:
  - Works on the databases that the host's configuration lists, all in one task.
  - Of each one the newest verified backup is copied into a scratch place, with its manifest. The copy is first proved
    to be one that can be restored; then one fault after the other is put into it, and the operations of this
    collection have to notice it or to survive it.
  - The faults are a flipped byte in the backup, the manifest of another backup, a backup that is missing, a full disk,
    a database of another owner, content whose key is gone, and a restore that is killed at nine moments.
    C(docs/GAME_DAY.md) of the collection says what each of them is and what passes.
  - Nothing but the copies is touched. The backups, their manifests and the databases are left as they are, and nobody
    is notified; the audit log gets one line for each database.
  - The copies are removed whatever happens; what a game day that was killed has left is removed by the next one.
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
        C(path), or C(name) and C(backup_dir), and C(assertions), which the copy is also proved by.
    type: list
    elements: dict
  skip:
    description:
      - Faults that are left out. A fault that cannot be tried on a host fails its databases unless it is named here.
    type: list
    elements: str
    choices:
      - flipped_byte
      - foreign_manifest
      - missing_backup
      - full_disk
      - wrong_owner
      - missing_key
      - interrupted_restore
  scratch_dir:
    description:
      - A directory of the host for the copies. Beside the backups where it is not given.
      - A game day needs five times the room of the largest database.
    type: path
  time_limit:
    description: Seconds for all databases of the host. What is not done by then is reported as not run.
    type: float
    default: 3600
  fail_on:
    description: V(failed) makes the task fail when a database has not passed.
    type: str
    choices: [never, failed]
    default: failed
  parts:
    description:
      - A directory of the controller, which M(digitalme.backup.drill_report) has made. The host's result is written
        into it, also when the host could not be reached, and what the task returns is only a summary.
      - The task does then not fail. The report does, at the end.
    type: path
  config_path:
    description: The host's configuration. The usual one where it is not given.
    type: path
notes:
  - The host needs Python 3.9 or newer and nothing else.
  - As root all faults are tried in full. Anybody else cannot mount a filesystem or give a file away, so that the disk
    is only full half way through a restore, and of a file only its mode is looked at.
seealso:
  - module: digitalme.backup.backup_drill
"""

EXAMPLES = r"""
- name: See that no fault goes unnoticed on this host
  digitalme.backup.backup_gameday:
    fail_on: failed

- name: Try one database, in another place, without the fault that takes the longest
  digitalme.backup.backup_gameday:
    names: [shop]
    scratch_dir: /var/tmp
    skip: [interrupted_restore]
"""

RETURN = r"""
databases:
  description: Every database with what came of it.
  returned: always, unless the call was refused before, or O(parts) is given
  type: list
  elements: dict
  sample:
    - {name: shop, status: passed, recoverable: true, seconds: 1.9}
  contains:
    name:
      description: The name of the backup set.
      type: str
      sample: shop
    status:
      description:
        - C(passed) when each fault that was not left out was noticed or survived. C(failed) when one was missed or
          could not be tried, or the backup cannot be restored without any fault.
        - C(no_backup) where there is none, C(not_run) when the time was over.
      type: str
      sample: passed
    error_code:
      description: What went wrong, as one of the collection's codes.
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
    backup:
      description: The backup that was copied, with the hashes of its manifest.
      type: dict
      sample: {file: shop_20261122_020000.db, created_at: "2026-11-22T02:00:00.000Z", tables: 12, rows: 4711}
    recoverable:
      description: Whether that backup can be restored, null where that is not known.
      type: bool
      sample: true
    faults:
      description: Every fault, with what it had to lead to and what happened.
      type: list
      elements: dict
      contains:
        name:
          description: The fault.
          type: str
          sample: flipped_byte
        outcome:
          description: C(noticed), C(survived), C(missed) or C(not_run).
          type: str
          sample: noticed
        expected:
          description: What passes.
          type: str
          sample: The restore test says backup_invalid.
        what:
          description: What happened, with the error code.
          type: str
          sample: "byte 7632 in a page: backup_invalid"
        seconds:
          description: How long it took.
          type: float
          sample: 0.03
    phases:
      description: What was done, in order, with its seconds.
      type: list
      elements: dict
      sample: [{name: faults, status: ok, seconds: 1.7, detail: "5 noticed, 2 survived"}]
    seconds:
      description: How long the game day of this database took.
      type: float
      sample: 1.9
    warnings:
      description: What else is to be said.
      type: list
      elements: str
      sample: []
hostname:
  description: The host's own name.
  returned: always, unless the call was refused before, or O(parts) is given
  type: str
  sample: shop1
clock:
  description: The host's time when the game day began.
  returned: always, unless the call was refused before, or O(parts) is given
  type: str
  sample: "2026-11-22T10:00:03.120Z"
seconds:
  description: How long the game day of all databases took.
  returned: always, unless the call was refused before, or O(parts) is given
  type: float
  sample: 1.9
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
  sample: gameday_failed
"""

from ansible_collections.digitalme.backup.plugins.module_utils import adapter


def main():
    faults = [
        "flipped_byte",
        "foreign_manifest",
        "missing_backup",
        "full_disk",
        "wrong_owner",
        "missing_key",
        "interrupted_restore",
    ]
    spec = {
        "names": {"type": "list", "elements": "str"},
        "databases": {"type": "list", "elements": "dict"},
        "skip": {"type": "list", "elements": "str", "choices": faults},
        "scratch_dir": {"type": "path"},
        "time_limit": {"type": "float", "default": 3600},
        "fail_on": {"type": "str", "choices": ["never", "failed"], "default": "failed"},
        "parts": {"type": "path"},
        "config_path": {"type": "path"},
    }
    adapter.run(spec, "gameday", without=("parts",))


if __name__ == "__main__":
    main()
