#!/usr/bin/python
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_retention
short_description: Expire backups of SQLite databases
version_added: 0.1.0
author: The digitalme.backup authors (@digitalme)
description:
  - Removes the backups of a name that no rule wants any more. A verified backup stays when any rule wants it.
  - Only verified backups count. The newest verified one, pinned ones and files that are not ours always stay.
    Pre-restore backups stay until their own time to live is over.
  - Nothing is removed while the newest backup is not verified, lies in the future, or is older than O(max_age), because
    then the old ones may be the last good ones.
extends_documentation_fragment:
  - digitalme.backup.common
  - digitalme.backup.common.busy_timeout
  - digitalme.backup.common.attributes
attributes:
  check_mode: {}
  diff_mode:
    support: full
options:
  keep_days:
    description:
      - Keep a verified backup for so many days, as long as it is among the newest O(max_files).
      - V(0) switches this rule off, so that only the calendar rules keep anything.
      - Default C(7), or what the host's configuration says.
    type: int
  max_files:
    description:
      - How many files the rule O(keep_days) keeps at most. V(0) means any number.
      - Default C(30), or what the host's configuration says.
    type: int
  keep_last:
    description: Also keep the newest so many. V(-1) keeps all. Default C(0), or what the host's configuration says.
    type: int
  keep_hourly:
    description:
      - Also keep the newest of each of the last so many hours that have a backup. V(-1) means all of them.
      - Default C(0), or what the host's configuration says.
    type: int
  keep_daily:
    description: The same by days, in UTC. Default C(0), or what the host's configuration says.
    type: int
  keep_weekly:
    description: The same by ISO weeks. Default C(0), or what the host's configuration says.
    type: int
  keep_monthly:
    description: The same by months. Default C(0), or what the host's configuration says.
    type: int
  keep_yearly:
    description: The same by years. Default C(0), or what the host's configuration says.
    type: int
  min_keep:
    description:
      - How many of the newest verified backups always stay, whatever the other rules say. At least V(1).
      - Default C(1), or what the host's configuration says.
    type: int
  max_age:
    description:
      - Remove nothing while the newest backup is older than so many seconds. V(0) means whatever its age.
      - Default C(172800), or what the host's configuration says.
    type: float
  max_remove_percent:
    description:
      - Fail and remove nothing when a run would remove more than this share of all backups, in percent. One backup may
        always go.
      - Default C(50), or what the host's configuration says.
    type: float
"""

EXAMPLES = r"""
- name: Keep a week, at most thirty
  digitalme.backup.backup_retention:
    backup_dir: /var/backups/shop

- name: Keep two days, then one a day for two weeks and one a month for a year
  digitalme.backup.backup_retention:
    backup_dir: /var/backups/shop
    name: shop
    keep_days: 2
    keep_daily: 14
    keep_monthly: 12
"""

RETURN = r"""
kept:
  description: What stays, each with its reasons, newest first.
  returned: success
  type: list
  elements: dict
  sample:
    - file: shop_20261122_020000.db
      reasons: ["min_keep: one of the newest 1 verified", "keep_days: at most 7 days old"]
removed:
  description: What was removed, or would be in check mode, each with its reasons.
  returned: success
  type: list
  elements: dict
  sample:
    - {file: shop_20261101_020000.db, reasons: [older than 7 days and wanted by no other rule]}
held:
  description: Why nothing may be removed now; null when nothing is held.
  returned: success
  type: str
  sample: the newest backup shop_20261122_020000.db is unverified
freed_bytes:
  description: Bytes that the removed files had.
  returned: success
  type: int
  sample: 10485760
error_code:
  description: What went wrong, as one of the collection's codes.
  returned: failure
  type: str
  sample: retention_brake
"""

from ansible_collections.digitalme.backup.plugins.module_utils import adapter

COUNTS = (
    "keep_days",
    "max_files",
    "keep_last",
    "keep_hourly",
    "keep_daily",
    "keep_weekly",
    "keep_monthly",
    "keep_yearly",
    "min_keep",
)


def main():
    spec = {
        **adapter.common(),
        **{option: {"type": "int"} for option in COUNTS},
        "max_age": {"type": "float"},
        "max_remove_percent": {"type": "float"},
        "busy_timeout": {"type": "float"},
    }
    adapter.run(spec, "retention", diff=adapter.retention_diff)


if __name__ == "__main__":
    main()
