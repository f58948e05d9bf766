#!/usr/bin/python
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_info
short_description: List the backups of a SQLite database
version_added: 0.1.0
author: The digitalme.backup authors (@digitalme)
description:
  - Reads the catalog of a name, newest first. A damaged, foreign or missing manifest is reported with its backup and
    never stops the listing.
  - Changes nothing and leaves no line in the audit log.
extends_documentation_fragment:
  - digitalme.backup.common
  - digitalme.backup.common.attributes
attributes:
  check_mode: {}
  diff_mode:
    support: none
options:
  backup:
    description:
      - Only the backup that this reference means, as in M(digitalme.backup.sqlite_restore).
    type: str
  status:
    description: Only backups of this status.
    type: str
    choices: [verified, unverified, unverifiable, invalid, missing]
  kind:
    description: Only regular or only pre-restore backups.
    type: str
    choices: [regular, pre_restore]
  since:
    description: Only backups not before this time, in ISO 8601, UTC unless it has an offset.
    type: str
  until:
    description: Only backups not after this time, in ISO 8601, UTC unless it has an offset.
    type: str
  limit:
    description: At most the newest so many. V(0) means all.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: List what can be restored
  digitalme.backup.backup_info:
    backup_dir: /var/backups/shop
    status: verified
  register: found

- name: Show the newest
  ansible.builtin.debug:
    msg: "{{ found.backups[0].file }} of {{ found.backups[0].created_at }}"
  when: found.backups | length > 0
"""

RETURN = r"""
name:
  description: The name whose backups were listed.
  returned: success
  type: str
  sample: shop
backup_dir:
  description: The directory they lie in.
  returned: success
  type: str
  sample: /var/backups/shop
total:
  description: How many match, also beyond O(limit).
  returned: success
  type: int
  sample: 7
backups:
  description: The backups, newest first.
  returned: success
  type: list
  elements: dict
  sample:
    - file: shop_20261122_020000.db
      path: /var/backups/shop/shop_20261122_020000.db
      name: shop
      kind: regular
      created_at: "2026-11-22T02:00:00.000Z"
      status: verified
      stored_bytes: 10485760
      size_bytes: 10485760
      compression: none
      pinned: false
      problems: []
      manifest: {schema_version: 1, method: online}
"""

from ansible_collections.digitalme.backup.plugins.module_utils import adapter


def main():
    spec = {
        **adapter.common(),
        "backup": {"type": "str"},
        "status": {"type": "str", "choices": ["verified", "unverified", "unverifiable", "invalid", "missing"]},
        "kind": {"type": "str", "choices": ["regular", "pre_restore"]},
        "since": {"type": "str"},
        "until": {"type": "str"},
        "limit": {"type": "int", "default": 0},
    }
    adapter.run(spec, "info", checks=False)


if __name__ == "__main__":
    main()
