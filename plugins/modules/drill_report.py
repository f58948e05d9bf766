#!/usr/bin/python
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: drill_report
short_description: Make the report of a drill over a fleet
version_added: 0.1.0
author: The digitalme.backup authors (@digitalme)
description:
  - Works on the controller alone. No host is asked, and none needs to be there.
  - First it begins a drill. The directory and the key are checked, and a place is made for the hosts' results, which
    M(digitalme.backup.backup_drill) writes there.
  - At the end it makes the report of them, as JSON, JUnit XML, Markdown and one HTML page, with checksums and, where a
    key is given, a signature. A host of which nothing was heard is in it, too.
  - It also makes one report of several, where a fleet was drilled in slices.
  - C(docs/DRILL_REPORT.md) of the collection describes the files and their fields.
extends_documentation_fragment:
  - digitalme.backup.common.attributes
attributes:
  check_mode:
    details:
      - The report is also written in check mode, and says that nothing was drilled.
  diff_mode:
    support: none
    details:
      - A report is always new.
options:
  step:
    description:
      - V(begin) a drill, V(make) its report, or V(merge) reports that are there.
    type: str
    choices: [begin, make, merge]
    required: true
  directory:
    description:
      - Directory of the controller for the reports. Each gets a directory of its own in it, C(latest) leads to the
        newest, and C(history.jsonl) has a line of every one.
    type: path
    required: true
  kind:
    description: What the report is of.
    type: str
    choices: [drill, gameday]
    default: drill
  key:
    description: File of an Ed25519 private key (PEM, without passphrase) that C(drill.json) is signed with.
    type: path
  selection:
    description: With V(begin), how the backups are chosen, for the report, with C(rule) and what else belongs to it.
    type: dict
  run:
    description: With V(make), the RV(run) that V(begin) has returned.
    type: dict
  hosts:
    description: With V(make), the hosts that were to be drilled, by their names in the inventory.
    type: list
    elements: str
  reports:
    description: With V(merge), the reports, each a C(drill.json) or the directory that it lies in.
    type: list
    elements: path
"""

EXAMPLES = r"""
- name: Make one report of the slices of a fleet
  digitalme.backup.drill_report:
    step: merge
    directory: reports
    reports:
      - slice-1/latest
      - slice-2/latest
"""

RETURN = r"""
run:
  description: What V(begin) has begun, to be handed on.
  returned: with V(begin)
  type: dict
  sample: {id: drill-20261122T120000Z-4f2a, kind: drill, parts: /srv/reports/.drill-20261122T120000Z-4f2a.parts}
verdict:
  description: C(passed) or C(failed).
  returned: with V(make) and V(merge)
  type: str
  sample: passed
counts:
  description: Hosts and databases, and how many databases have which status.
  returned: with V(make) and V(merge)
  type: dict
  sample: {hosts: 3, databases: 3, passed: 3, failed: 0, hosts_without_answer: 0}
files:
  description: Where the report lies.
  returned: with V(make) and V(merge)
  type: dict
  sample: {html: /srv/reports/drill-20261122T120000Z-4f2a/report.html}
failures:
  description: The first of what did not pass, with its cause.
  returned: with V(make) and V(merge)
  type: list
  elements: str
  sample: []
bad_hosts:
  description: The hosts that did not pass, with the causes.
  returned: with V(make) and V(merge)
  type: dict
  sample: {}
error_code:
  description: What went wrong, as one of the collection's codes.
  returned: failure
  type: str
  sample: permission_denied
"""

from ansible_collections.digitalme.backup.plugins.module_utils import adapter

SPEC = {
    "step": {"type": "str", "choices": ["begin", "make", "merge"], "required": True},
    "directory": {"type": "path", "required": True},
    "kind": {"type": "str", "choices": ["drill", "gameday"], "default": "drill"},
    "key": {"type": "path", "no_log": False},
    "selection": {"type": "dict"},
    "run": {"type": "dict"},
    "hosts": {"type": "list", "elements": "str"},
    "reports": {"type": "list", "elements": "path"},
}


def main():
    adapter.controller_only(SPEC)


if __name__ == "__main__":
    main()
