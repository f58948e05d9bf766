#!/usr/bin/python
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_validate
short_description: Verify stored backups of SQLite databases again
version_added: 0.1.0
author: The digitalme.backup authors (@digitalme)
description:
  - Reads backups again, compares their bytes with the manifest, lets SQLite check them, and records the result in their
    manifests.
  - The task fails when one of them is not sound, after all were looked at.
  - The task is changed when a recorded verdict or its level changes, or when a backup is adopted; a new time of the
    same verdict is no change.
extends_documentation_fragment:
  - digitalme.backup.common
  - digitalme.backup.common.busy_timeout
  - digitalme.backup.common.verify
  - digitalme.backup.common.attributes
attributes:
  check_mode:
    details:
      - In check mode the backups are verified and nothing is recorded.
  diff_mode:
    support: full
options:
  backups:
    description:
      - References of the backups to verify, as in M(digitalme.backup.sqlite_restore). Without it all of the name are.
    type: list
    elements: str
  adopt:
    description:
      - Give a backup that has no manifest of its own one, so that it counts. Its time is the one in its file name,
        taken as UTC, or else the file's modification time.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Verify the newest backup again
  digitalme.backup.backup_validate:
    backup_dir: /var/backups/shop
    backups: [latest]

- name: Take over the backups of the older script
  digitalme.backup.backup_validate:
    backup_dir: /var/backups/shop
    name: digitalme
    adopt: true
"""

RETURN = r"""
backups:
  description: One row for each backup that was looked at.
  returned: always, unless the call was refused before
  type: list
  elements: dict
  sample:
    - file: shop_20261122_020000.db
      path: /var/backups/shop/shop_20261122_020000.db
      status: ok
      level: full
      errors: []
      warnings: []
      seconds: 0.182
      adopted: false
      changed: false
error_code:
  description: What went wrong, as one of the collection's codes.
  returned: failure
  type: str
  sample: backup_invalid
"""

from ansible_collections.digitalme.backup.plugins.module_utils import adapter


def main():
    spec = {
        **adapter.common(),
        "backups": {"type": "list", "elements": "str"},
        "verify": adapter.VERIFY,
        "assertions": adapter.ASSERTIONS,
        "adopt": {"type": "bool", "default": False},
        "busy_timeout": {"type": "float"},
    }
    adapter.run(spec, "validate", diff=adapter.validate_diff)


if __name__ == "__main__":
    main()
