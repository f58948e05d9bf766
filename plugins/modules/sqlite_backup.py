#!/usr/bin/python
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: sqlite_backup
short_description: Back up a live SQLite database
version_added: 0.1.0
author: The digitalme.backup authors (@digitalme)
description:
  - Makes one consistent, self-contained copy of a SQLite database while applications go on writing to it, verifies the
    copy, and puts it with its manifest into the backup directory.
  - In WAL mode nobody waits. In rollback mode writers wait while the database is read, as they do for
    C(sqlite3 .backup).
  - A backup appears under its name only when it is complete, on disk and verified. A copy that fails its verification
    is kept aside as C(*.quarantined), is never listed and never counted, and the task fails.
extends_documentation_fragment:
  - digitalme.backup.common
  - digitalme.backup.common.busy_timeout
  - digitalme.backup.common.verify
  - digitalme.backup.common.attributes
attributes:
  check_mode:
    details:
      - With O(skip_if_unchanged) the database is copied to a scratch place to learn whether its content has changed.
  diff_mode:
    support: full
options:
  database:
    description:
      - Path of the live SQLite file. A symbolic link is resolved once.
      - Where it is not given, the host's configuration says it for O(name).
    type: path
  method:
    description:
      - How the copy is taken.
      - V(clone) copies the raw bytes while a read transaction holds them still; on filesystems with reflinks it shares
        them. It is the fastest, and only on Linux, on a local filesystem, with SQLite's ordinary locks; elsewhere
        V(online) is taken, and the manifest says why.
      - V(online) lets SQLite copy page by page inside one read transaction.
      - V(vacuum) runs C(VACUUM INTO), which packs the copy, takes longer, and may renumber rows of tables that have no
        C(INTEGER PRIMARY KEY).
      - V(auto) is V(clone) where that is possible and the log has not grown too long, else V(online). The
        manifest says which and why.
      - Default C(auto), or what the host's configuration says.
    type: str
    choices: [auto, online, vacuum, clone]
  compression:
    description:
      - How the stored file is compressed. The stored bytes are expanded again and compared before the backup is
        published.
      - V(zstd) needs Python 3.14 or the C(zstd) program on the host. It is many times faster than V(gzip) and packs
        better, so V(gzip) is for where neither is there.
      - Default C(none), or what the host's configuration says.
    type: str
    choices: [none, gzip, zstd]
  skip_if_younger_than:
    description:
      - Make no backup when the newest verified one is younger than this many seconds. V(0) never skips.
    type: float
    default: 0
  skip_if_unchanged:
    description:
      - Keep no new backup when its content would equal that of the newest verified one.
    type: bool
    default: false
  disk_limit_percent:
    description:
      - Refuse a backup that would fill the filesystem of the backup directory to more than this share, in percent.
      - Default C(80), or what the host's configuration says.
    type: float
  pinned:
    description:
      - Pin the backup. Retention never removes it and deletion refuses it.
    type: bool
    default: false
  annotations:
    description:
      - Notes for the manifest, such as a ticket or a release. Never put a secret here.
    type: dict
  trigger:
    description:
      - Why the backup is made, for the manifest.
    type: str
    choices: [manual, scheduled, drill]
    default: manual
"""

EXAMPLES = r"""
- name: Back up the shop's database
  digitalme.backup.sqlite_backup:
    database: /srv/shop/shop.db
    backup_dir: /var/backups/shop

- name: Back it up at most once an hour, and check that it is the right one
  digitalme.backup.sqlite_backup:
    database: /srv/shop/shop.db
    backup_dir: /var/backups/shop
    skip_if_younger_than: 3600
    assertions:
      - sql: SELECT count(*) > 0 FROM orders
      - sql: PRAGMA user_version
        expect: 12

- name: Keep the state before a migration, packed, until somebody unpins it
  digitalme.backup.sqlite_backup:
    database: /srv/shop/shop.db
    backup_dir: /var/backups/shop
    compression: gzip
    pinned: true
    annotations:
      release: "4.2"
"""

RETURN = r"""
backup:
  description: The manifest of the backup and the path it lies at; null when none was made.
  returned: success
  type: dict
  sample:
    file: shop_20261122_020000.db
    path: /var/backups/shop/shop_20261122_020000.db
    name: shop
    created_at: "2026-11-22T02:00:00.000Z"
    duration_seconds: 0.412
    method: clone
    method_reason: "WAL mode: a raw copy inside one read transaction, writers go on; by copy_file_range"
    trigger: manual
    pinned: false
    size_bytes: 10485760
    stored_bytes: 10485760
    compression: none
    sha256: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
    verification: {level: full, status: ok, checked_at: "2026-11-22T02:00:00.300Z", duration_seconds: 0.101,
                   errors: [], warnings: [], assertions: []}
skipped_reason:
  description: Why no backup was needed; null when one was made.
  returned: success
  type: str
  sample: shop_20261122_020000.db is 840 s old, younger than 3600 s
recovered:
  description: An interrupted restore of this database that was finished or undone first; null when there was none.
  returned: success
  type: dict
  sample: {phase: swapping, outcome: undone, detail: the old file is in its place}
plan:
  description: In check mode, what would be done.
  returned: in check mode
  type: dict
  sample: {database: /srv/shop/shop.db, backup_dir: /var/backups/shop, file: shop_20261122_020000.db, method: clone}
error_code:
  description: What went wrong, as one of the collection's codes.
  returned: failure
  type: str
  sample: database_busy
"""

from ansible_collections.digitalme.backup.plugins.module_utils import adapter


def main():
    spec = {
        **adapter.common(),
        "database": {"type": "path"},
        "method": {"type": "str", "choices": ["auto", "online", "vacuum", "clone"]},
        "verify": adapter.VERIFY,
        "assertions": adapter.ASSERTIONS,
        "compression": {"type": "str", "choices": ["none", "gzip", "zstd"]},
        "busy_timeout": {"type": "float"},
        "skip_if_younger_than": {"type": "float", "default": 0},
        "skip_if_unchanged": {"type": "bool", "default": False},
        "disk_limit_percent": {"type": "float"},
        "pinned": {"type": "bool", "default": False},
        "annotations": {"type": "dict"},
        "trigger": {"type": "str", "choices": ["manual", "scheduled", "drill"], "default": "manual"},
    }
    adapter.run(spec, "backup", diff=adapter.backup_diff)


if __name__ == "__main__":
    main()
