#!/usr/bin/python
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: sqlite_restore
short_description: Restore a SQLite database from a backup, or prove that it could be
version_added: 0.1.0
author: The digitalme.backup authors (@digitalme)
description:
  - Restores a backup over a SQLite database so that no data can be lost by it, or rehearses that in a scratch place.
  - Before the live database is touched, the backup is copied beside it and has passed its checks there, there is room
    for every step, and the old content has been kept as a pre-restore backup.
  - Killed at any instant, it leaves the old content or the new, whole; the next operation on this database finishes or
    undoes what was interrupted.
  - After the restore the rows of every table and the schema are compared with the manifest. When that or an assertion
    fails, the old content comes back by itself.
extends_documentation_fragment:
  - digitalme.backup.common
  - digitalme.backup.common.busy_timeout
  - digitalme.backup.common.verify
  - digitalme.backup.common.attributes
attributes:
  check_mode:
    details:
      - Check mode is the restore test of what was asked for. The restore is planned, the backup is restored into a
        scratch place and proved there; the live database is only read.
  diff_mode:
    support: full
options:
  database:
    description:
      - Path of the SQLite file to restore. A symbolic link is resolved once.
      - A directory with V(/) at its end means the file in it that the backup was made of.
      - Not needed with O(test), or where the host's configuration says it for O(name).
    type: path
  backup:
    description:
      - Which backup to restore.
      - V(latest) is the newest verified one, and so is V(latest_backup.db).
      - A file name in O(backup_dir), or a path.
      - A time in ISO 8601, meaning the newest verified backup that is not younger. Without an offset it is UTC, and a
        date alone is its midnight.
    type: str
    default: latest
  test:
    description:
      - Rehearse the restore in a scratch place and look at no live database. Never changes anything but the note in
        the backup's manifest that it was tested.
    type: bool
    default: false
  force:
    description:
      - Replace a database that exists. Without it an existing database is left alone and the task fails.
    type: bool
    default: false
  pre_backup:
    description:
      - Keep the old content first, as a pinned pre-restore backup. What SQLite cannot read is kept byte for byte.
      - Without it a restore in place cannot be rolled back.
    type: bool
    default: true
  rollback:
    description:
      - Bring the old content back when a check after the restore fails.
    type: bool
    default: true
  confirm:
    description:
      - In place of O(force), the C(id) in RV(plan) of the plan that was confirmed, as check mode has shown it.
      - The task fails when the plan is another by now. Another backup is the newest, the database came or went, or a
        restore has been done since.
    type: str
  fall_back:
    description:
      - Where the backup turns out to be damaged, take the newest verified one before it, with a warning.
    type: bool
    default: false
  other_database:
    description:
      - Restore a backup of another database, whose application_id or schema is not that of the live one.
      - A backup that was made of this path on this host is never taken for another database's.
    type: bool
    default: false
  resume:
    description:
      - Bring a restore to its end that was interrupted. Where none was, nothing is done.
    type: bool
    default: false
  undo:
    description:
      - Bring the content back that was there before the last restore, interrupted or finished. O(backup) may name what
        is to be brought back, as RV(pre_restore_backup) told it.
      - What is there now is kept in turn. For a finished restore this needs O(force), too.
    type: bool
    default: false
  config_path:
    description:
      - The host's configuration, where it is not in its usual place.
    type: path
  strategy:
    description:
      - V(in_place) lets SQLite write the backup into the live file in one transaction. Connections of applications stay
        valid and see the new content.
      - V(replace) renames a finished file over the live one. It is refused, naming the processes, while anybody holds
        the file open.
      - V(replace_if_free) is for a database whose application has been stopped. Where nobody holds the file it is
        replaced, which is faster than V(in_place) for a large one; else it is as V(auto).
      - V(auto) restores in place where SQLite can open the live database, and replaces the file otherwise.
    type: str
    choices: [auto, in_place, replace, replace_if_free]
    default: auto
"""

EXAMPLES = r"""
- name: Prove that the newest backup can be restored
  digitalme.backup.sqlite_restore:
    backup_dir: /var/backups/shop
    test: true

- name: Go back to the state of last night
  digitalme.backup.sqlite_restore:
    database: /srv/shop/shop.db
    backup_dir: /var/backups/shop
    backup: "2026-11-22T02:30:00Z"
    force: true

- name: Restore one backup and refuse a result without orders
  digitalme.backup.sqlite_restore:
    database: /srv/shop/shop.db
    backup_dir: /var/backups/shop
    backup: shop_20261122_020000.db
    force: true
    assertions:
      - sql: SELECT count(*) FROM orders WHERE total < 0
        expect: 0
"""

RETURN = r"""
recoverable:
  description: Whether the backup passed every check on its scratch copy.
  returned: always, unless the call was refused before
  type: bool
  sample: true
steps:
  description: What was done, in order.
  returned: always, unless the call was refused before
  type: list
  elements: dict
  sample:
    - {name: resolve, status: ok, seconds: 0.004, detail: "shop_20261122_020000.db, verified"}
    - {name: stage, status: ok, seconds: 0.031, detail: "10485760 bytes, SHA-256 as in the manifest"}
    - {name: verify, status: ok, seconds: 0.085, detail: "level full: ok"}
    - {name: compare, status: ok, seconds: 0.012, detail: 12 tables, 4711 rows and the schema as backed up}
backup:
  description: The catalog's entry of the backup that was used; null when an interrupted restore was only settled.
  returned: success
  type: dict
  sample: {file: shop_20261122_020000.db, created_at: "2026-11-22T02:00:00.000Z", status: verified}
pre_restore_backup:
  description: Path of what was kept of the old content; null when nothing was or nothing needed to be.
  returned: success
  type: str
  sample: /var/backups/shop/shop_pre_recovery_20261122_031500.db
rolled_back:
  description: Whether a check failed after the restore and the old content was brought back. The task has then failed.
  returned: always, unless the call was refused before
  type: bool
  sample: false
rto_seconds:
  description: Seconds that the restore took, or its rehearsal.
  returned: success
  type: float
  sample: 0.712
rpo_seconds:
  description: Age of the restored data in seconds, from the backup's start until now; null when its time is not known.
  returned: success
  type: float
  sample: 4500.2
plan:
  description:
    - What was planned, unless this was a restore test. Its C(id) is the same until another backup is chosen, the
      database comes or goes, or a restore has been done.
    - In check mode also C(rows) of every table now and in the backup (null where there is no such table, or it cannot
      be read), C(seconds_expected), and C(planned_at), the host's time.
  returned: success
  type: dict
  sample:
    id: 0f6a2b9c1d3e4f50
    database: /srv/shop/shop.db
    live: sound
    strategy: in_place
    needed_bytes: 20971520
    in_use_by: [{pid: 812, command: python3}]
    rows: [{table: orders, now: 4711, then: 4690}]
    seconds_expected: 1.4
recovered:
  description: An interrupted restore of this database that was finished or undone first; null when there was none.
  returned: success
  type: dict
  sample: {phase: swapping, outcome: undone, detail: the old file is in its place}
error_code:
  description: What went wrong, as one of the collection's codes.
  returned: failure
  type: str
  sample: rolled_back
"""

from ansible_collections.digitalme.backup.plugins.module_utils import adapter


def main():
    spec = {
        **adapter.common(),
        "database": {"type": "path"},
        "backup": {"type": "str", "default": "latest"},
        "test": {"type": "bool", "default": False},
        "force": {"type": "bool", "default": False},
        "pre_backup": {"type": "bool", "default": True},
        "verify": adapter.VERIFY,
        "assertions": adapter.ASSERTIONS,
        "rollback": {"type": "bool", "default": True},
        "strategy": {"type": "str", "choices": ["auto", "in_place", "replace", "replace_if_free"], "default": "auto"},
        "confirm": {"type": "str"},
        "fall_back": {"type": "bool", "default": False},
        "other_database": {"type": "bool", "default": False},
        "config_path": {"type": "path"},
        "resume": {"type": "bool", "default": False},
        "undo": {"type": "bool", "default": False},
        "busy_timeout": {"type": "float"},
    }
    adapter.run(spec, "restore", diff=adapter.restore_diff)


if __name__ == "__main__":
    main()
