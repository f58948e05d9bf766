#!/usr/bin/python
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_review
short_description: Review what the backups of a host have been doing
version_added: 0.1.0
author: The digitalme.backup authors (@digitalme)
description:
  - Works on the databases that the host's configuration lists, all in one task. Changes nothing and takes no lock.
  - Looks at the audit log and its chain, the success rates, the growth and the disk, what retention would do, how long
    operations take from month to month, who can read and change the files, and whether the settings keep what the
    objectives promise.
  - Every finding says how bad it is, why it matters, and what to do.
extends_documentation_fragment:
  - digitalme.backup.common.attributes
attributes:
  check_mode:
    details:
      - It is the same in check mode, but leaves no line in the audit log.
  diff_mode:
    support: none
    details:
      - Nothing is changed.
options:
  names:
    description: Only these of the databases, by their names. All where it is not given.
    type: list
    elements: str
  look_at:
    description: Only this. All where it is not given.
    type: list
    elements: str
    choices: [log, disk, retention, performance, access, configuration, strategy]
  since_days:
    description: The days of the audit log to look at. The success rates are compared with those of as many days before.
    type: float
    default: 7
  fail_on:
    description:
      - The task fails when the status is this or worse.
      - V(action) is a finding of high severity, V(attention) one of any other.
    type: str
    choices: [never, action, attention]
    default: never
  parts:
    description:
      - A directory of the controller, which M(digitalme.backup.maintenance_log) has made. The host's result is written
        into it, also when the host could not be reached, and what the task returns is only a summary.
    type: path
  config_path:
    description: The host's configuration. The usual one where it is not given.
    type: path
"""

EXAMPLES = r"""
- name: See what the last month's log has to tell
  digitalme.backup.backup_review:
    look_at: [log, performance]
    since_days: 31

- name: Have somebody look where others can read the backups
  digitalme.backup.backup_review:
    look_at: [access]
    fail_on: action
"""

RETURN = r"""
status:
  description: C(ok), C(attention), C(action), or C(failed) where something could not be looked at.
  returned: always, unless the call was refused before, or O(parts) is given
  type: str
  sample: attention
audit:
  description: Whether the audit log's chain is whole.
  returned: always, unless the call was refused before, or O(parts) is given
  type: dict
  sample: {path: /var/log/digitalme-backup/audit.jsonl, lines: 812, intact: true, torn: 0}
findings:
  description: What concerns the host as a whole, the worst first.
  returned: always, unless the call was refused before, or O(parts) is given
  type: list
  elements: dict
  sample: []
databases:
  description: Every database with its status, its findings and what they are told from.
  returned: always, unless the call was refused before, or O(parts) is given
  type: list
  elements: dict
  sample:
    - name: shop
      status: attention
      findings:
        - {id: rpo_objective_missing, severity: medium, finding: no rpo_objective is set, why: ..., todo: ...}
error_code:
  description: What went wrong, as one of the collection's codes.
  returned: failure
  type: str
  sample: review_failed
"""

from ansible_collections.digitalme.backup.plugins.module_utils import adapter


def main():
    spec = {
        "names": {"type": "list", "elements": "str"},
        "look_at": {
            "type": "list",
            "elements": "str",
            "choices": ["log", "disk", "retention", "performance", "access", "configuration", "strategy"],
        },
        "since_days": {"type": "float", "default": 7},
        "fail_on": {"type": "str", "choices": ["never", "action", "attention"], "default": "never"},
        "parts": {"type": "path"},
        "config_path": {"type": "path"},
    }
    adapter.run(spec, "review", without=("parts",))


if __name__ == "__main__":
    main()
