#!/usr/bin/python
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_health
short_description: Judge the backups of a SQLite database
version_added: 0.1.0
author: The digitalme.backup authors (@digitalme)
description:
  - Looks at the age of the newest backup, of the newest verified one and of the newest restore test, at counts and
    sizes, at a database or backup that suddenly shrank, at the disk, the schedule, the lock, the audit log's chain and
    at interrupted operations.
  - Changes nothing.
extends_documentation_fragment:
  - digitalme.backup.common
  - digitalme.backup.common.attributes
attributes:
  check_mode: {}
  diff_mode:
    support: none
options:
  database:
    description:
      - Path of the live SQLite file, to be looked at as well.
      - Where it is not given and the host's configuration knows O(name), that one's is taken.
    type: path
  max_age:
    description:
      - The newest backup may be so many seconds old. V(0) means any age.
      - Default C(93600), or what the host's configuration says.
    type: float
  max_verified_age:
    description:
      - The newest verified backup may be so many seconds old. V(0) means any age.
      - Default C(93600), or what the host's configuration says.
    type: float
  max_restore_test_age:
    description:
      - The newest successful restore test may be so many seconds old; where there was none yet, the oldest backup may.
        V(0) means any age.
      - Default C(2678400), or what the host's configuration says.
    type: float
  min_backups:
    description:
      - How many verified backups there must be.
      - Default C(1), or what the host's configuration says.
    type: int
  max_shrink_percent:
    description:
      - By how much, in percent, a backup may be smaller than the one before, and the live database than its newest
        backup. V(0) means by any amount.
      - Default C(50), or what the host's configuration says.
    type: float
  disk_limit_percent:
    description:
      - How full, in percent, the filesystem of the backup directory may be.
      - Default C(80), or what the host's configuration says.
    type: float
  verify:
    description:
      - Verify the newest backup again, at this level.
    type: str
    choices: [none, quick, full]
    default: none
  fail_on:
    description:
      - The task fails when the status is this or worse.
    type: str
    choices: [never, degraded, unhealthy]
    default: unhealthy
"""

EXAMPLES = r"""
- name: Fail when the shop has no backup of the last 26 hours
  digitalme.backup.backup_health:
    backup_dir: /var/backups/shop
    max_age: 93600

- name: Collect the state of every host, whatever it is
  digitalme.backup.backup_health:
    backup_dir: /var/backups/shop
    database: /srv/shop/shop.db
    verify: full
    fail_on: never
"""

RETURN = r"""
name:
  description: The name whose backups were judged.
  returned: always, unless the call was refused before
  type: str
  sample: shop
status:
  description: As bad as the worst check.
  returned: always, unless the call was refused before
  type: str
  sample: healthy
checks:
  description: Every check, with what it found and its limit.
  returned: always, unless the call was refused before
  type: list
  elements: dict
  sample:
    - {name: newest_backup, status: ok, message: the newest backup shop_20261122_020000.db is 3600 s old, value: 3600.0,
       limit: 93600}
statistics:
  description: Counts, sizes, success rate and durations.
  returned: always, unless the call was refused before
  type: dict
  sample:
    total_backups: 7
    verified_backups: 7
    stored_bytes: 73400320
    success_percent: 100.0
    duration_seconds: {min: 0.31, median: 0.41, max: 0.62}
    by_day: [{date: "2026-11-22", count: 1, stored_bytes: 10485760}]
error_code:
  description: What went wrong, as one of the collection's codes.
  returned: failure
  type: str
  sample: unhealthy
"""

from ansible_collections.digitalme.backup.plugins.module_utils import adapter


def main():
    spec = {
        **adapter.common(),
        "database": {"type": "path"},
        "max_age": {"type": "float"},
        "max_verified_age": {"type": "float"},
        "max_restore_test_age": {"type": "float"},
        "min_backups": {"type": "int"},
        "max_shrink_percent": {"type": "float"},
        "disk_limit_percent": {"type": "float"},
        "verify": {**adapter.VERIFY, "default": "none"},
        "fail_on": {"type": "str", "choices": ["never", "degraded", "unhealthy"], "default": "unhealthy"},
    }
    adapter.run(spec, "health", checks=False)


if __name__ == "__main__":
    main()
