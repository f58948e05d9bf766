#!/usr/bin/python
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_run
short_description: Do what the timers do for the databases of a host, now
version_added: 0.1.0
author: The digitalme.backup authors (@digitalme)
description:
  - Works on the databases that the host's configuration lists, all in one task.
  - For each one, backs up and verifies, expires, judges the health, writes the metrics and tells the channels that are
    configured, in this order. Each part leaves its own line in the audit log.
  - A part that fails does not hide the others, and nothing expires after a backup that failed.
extends_documentation_fragment:
  - digitalme.backup.common.attributes
attributes:
  check_mode: {}
  diff_mode:
    support: full
options:
  names:
    description: Only these of the configured databases, by their names. All where it is not given.
    type: list
    elements: str
  parts:
    description:
      - Only these parts of a run. All where it is not given.
      - V(health) alone changes nothing and tells the state of every database of the host.
    type: list
    elements: str
    choices: [backup, retention, health, metrics, notify]
  trigger:
    description: Why the backups are made, for their manifests.
    type: str
    choices: [scheduled, manual]
    default: manual
  config_path:
    description: The host's configuration.
    type: path
    default: /etc/digitalme-backup/config.json
  fail_on:
    description:
      - The task fails when the status is this or worse.
      - V(degraded) is a run whose backup is good while something else is amiss, V(failed) one without a good backup.
    type: str
    choices: [never, degraded, failed]
    default: failed
notes:
  - The host needs Python 3.9 or newer and nothing else.
"""

EXAMPLES = r"""
- name: Back up every database of the host now
  digitalme.backup.backup_run:
    fail_on: degraded

- name: Collect the state of every host, whatever it is
  digitalme.backup.backup_run:
    parts: [health]
    fail_on: never
  register: state

- name: Show what would expire
  digitalme.backup.backup_run:
    names: [shop]
    parts: [retention]
  check_mode: true
  diff: true
"""

RETURN = r"""
status:
  description: As bad as the worst database, C(ok), C(degraded) or C(failed).
  returned: always, unless the call was refused before
  type: str
  sample: ok
databases:
  description: Every database with what its parts did.
  returned: always, unless the call was refused before
  type: list
  elements: dict
  sample:
    - {name: shop, status: ok, changed: true, message: "shop_20261122_020000.db, verification full: ok; healthy"}
  contains:
    name:
      description: The name of the backup set.
      type: str
      sample: shop
    status:
      description: C(ok), C(degraded) or C(failed).
      type: str
      sample: ok
    message:
      description: What was made, or the first thing that went wrong, in one line.
      type: str
      sample: "shop_20261122_020000.db, verification full: ok; healthy"
    changed:
      description: Whether a backup was made or removed.
      type: bool
      sample: true
    parts:
      description: What each part did, with its seconds.
      type: list
      elements: dict
      sample: [{part: backup, status: ok, seconds: 0.41, detail: "shop_20261122_020000.db, verification full: ok",
                error_code: null}]
    backup:
      description: The manifest of the backup that was made, with its path.
      type: dict
      sample: {file: shop_20261122_020000.db, path: /var/backups/digitalme/shop/shop_20261122_020000.db}
    removed:
      description: The backups that expired.
      type: list
      elements: str
      sample: [shop_20261115_020000.db]
    held:
      description: Why nothing expires at present.
      type: str
      sample: null
    health:
      description: C(healthy), C(degraded) or C(unhealthy).
      type: str
      sample: healthy
    checks:
      description: The checks that are not ok, as M(digitalme.backup.backup_health) returns them.
      type: list
      elements: dict
      sample: []
error_code:
  description: What went wrong, as one of the collection's codes.
  returned: failure
  type: str
  sample: run_failed
"""

from ansible_collections.digitalme.backup.plugins.module_utils import adapter


def main():
    spec = {
        "names": {"type": "list", "elements": "str"},
        "parts": {
            "type": "list",
            "elements": "str",
            "choices": ["backup", "retention", "health", "metrics", "notify"],
        },
        "trigger": {"type": "str", "choices": ["scheduled", "manual"], "default": "manual"},
        "config_path": {"type": "path", "default": "/etc/digitalme-backup/config.json"},
        "fail_on": {"type": "str", "choices": ["never", "degraded", "failed"], "default": "failed"},
    }
    adapter.run(spec, "run", diff=adapter.run_diff)


if __name__ == "__main__":
    main()
