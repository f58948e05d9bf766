#!/usr/bin/python
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: maintenance_log
short_description: Write the maintenance log of a fleet
version_added: 0.1.0
author: The digitalme.backup authors (@digitalme)
description:
  - Works on the controller alone. No host is asked, and none needs to be there.
  - First it begins a run of the calendar. The directory is checked, and a place is made for what the hosts answer,
    which M(digitalme.backup.backup_review) writes there.
  - At the end it adds one entry to C(maintenance.jsonl) and to C(MAINTENANCE_LOG.md), with the parts of the run, what
    was found, what to do about it, and what people have to do and sign.
extends_documentation_fragment:
  - digitalme.backup.common.attributes
attributes:
  check_mode:
    details:
      - The entry is also written in check mode.
  diff_mode:
    support: none
    details:
      - An entry is always new.
options:
  step:
    description: V(begin) a run, or V(record) what came of it.
    type: str
    choices: [begin, record]
    required: true
  directory:
    description: Directory of the controller for the log.
    type: path
    required: true
  kind:
    description: With V(begin), which run of the calendar it is.
    type: str
    choices: [daily, weekly, monthly, quarterly]
    default: daily
  checklist:
    description: With V(begin), what people have to do and sign.
    type: list
    elements: str
  run:
    description: With V(record), the RV(run) that V(begin) has returned.
    type: dict
  hosts:
    description: With V(record), the hosts of the run, by their names in the inventory.
    type: list
    elements: str
  reviewed:
    description: With V(record), whether the hosts were reviewed.
    type: bool
    default: true
  health:
    description: With V(record), the rows of the filter C(fleet_rows), where the health was asked for.
    type: list
    elements: dict
  reports:
    description: With V(record), what M(digitalme.backup.drill_report) has returned of a drill and of a game day.
    type: list
    elements: dict
"""

EXAMPLES = r"""
- name: Begin a run of the calendar
  digitalme.backup.maintenance_log:
    step: begin
    directory: maintenance
    kind: weekly
"""

RETURN = r"""
run:
  description: What V(begin) has begun, to be handed on.
  returned: with V(begin)
  type: dict
  sample: {id: weekly-20261122T100000Z-4f2a, kind: weekly}
verdict:
  description: C(ok), C(attention), or C(action) where a part failed or a finding is of high severity.
  returned: with V(record)
  type: str
  sample: ok
parts:
  description: The parts of the run, each with its status and what it says.
  returned: with V(record)
  type: list
  elements: dict
  sample: [{part: drill, status: ok, summary: 3 of 3 databases on 3 hosts passed}]
bad_parts:
  description: The parts that failed.
  returned: with V(record)
  type: list
  elements: str
  sample: []
findings:
  description: The first of what was found, the worst first.
  returned: with V(record)
  type: list
  elements: str
  sample: ["medium: shop-1/shop: no rpo_objective is set"]
files:
  description: The files of the log.
  returned: with V(record)
  type: dict
  sample: {json: /srv/maintenance/maintenance.jsonl, markdown: /srv/maintenance/MAINTENANCE_LOG.md}
error_code:
  description: What went wrong, as one of the collection's codes.
  returned: failure
  type: str
  sample: permission_denied
"""

from ansible_collections.digitalme.backup.plugins.module_utils import adapter

SPEC = {
    "step": {"type": "str", "choices": ["begin", "record"], "required": True},
    "directory": {"type": "path", "required": True},
    "kind": {"type": "str", "choices": ["daily", "weekly", "monthly", "quarterly"], "default": "daily"},
    "checklist": {"type": "list", "elements": "str"},
    "run": {"type": "dict"},
    "hosts": {"type": "list", "elements": "str"},
    "reviewed": {"type": "bool", "default": True},
    "health": {"type": "list", "elements": "dict"},
    "reports": {"type": "list", "elements": "dict"},
}


def main():
    adapter.controller_only(SPEC)


if __name__ == "__main__":
    main()
