#!/usr/bin/python
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: sqlite_discover
short_description: Find the SQLite databases of a host that no backup protects
version_added: 0.1.0
author: The digitalme.backup authors (@digitalme)
description:
  - Looks at the first 100 bytes of every regular file below some directories, whatever its name is, and compares what
    it finds with the configuration of the host.
  - Follows no symbolic link and opens nothing but regular files. Databases are not opened with SQLite, and no lock is
    taken on them.
  - Backups of this collection are counted and are not reported as databases. They are known by their manifest, by the
    configured backup directories, and by the names that unfinished and quarantined ones have.
  - Changes nothing and leaves no line in the audit log.
extends_documentation_fragment:
  - digitalme.backup.common.attributes
attributes:
  check_mode: {}
  diff_mode:
    support: none
options:
  roots:
    description:
      - Directories to search, with all that is below them, or single files. Absolute paths; symbolic links in them are
        resolved.
      - One that is missing is named in RV(roots) and in a warning, and is no failure.
    type: list
    elements: path
    required: true
  excludes:
    description:
      - What to leave out, with all that is below it, as shell patterns. One with a C(/) is matched against whole paths
        and begins with C(/) or C(*), where C(*) also matches C(/); one without is matched against names.
      - They are added to those that always hold, C(/proc), C(/sys), C(/dev), C(/run), C(*/docker/overlay2),
        C(*/docker/aufs), C(*/docker/btrfs), C(*/docker/devicemapper), C(*/docker/vfs),
        C(*/containers/storage/overlay*), C(*/containers/storage/vfs*), C(*/io.containerd.*) and C(*/.snapshots). The
        volumes of containers are searched.
      - A directory that O(roots) names is searched even if a pattern matches it.
    type: list
    elements: str
  min_bytes:
    description: Leave out databases that are smaller than so many bytes.
    type: int
    default: 0
  same_filesystem:
    description:
      - Enter no other filesystem than that of each of the O(roots). Subvolumes of btrfs count as others.
      - Network, FUSE and overlay filesystems and read-only images are entered only where O(roots) names a place on
        them, and what the kernel makes up never is; see RV(skipped_mounts).
    type: bool
    default: false
notes:
  - The host needs Python 3.9 or newer and nothing else.
  - Run it as root. What another user may not read is counted in RV(unreadable).
  - A database that is encrypted as a whole cannot be told from noise, and is not found; nor is one that is compressed.
  - What is protected is said by the configuration that the install role has put on the host, so run it after that role.
seealso:
  - module: digitalme.backup.sqlite_backup
  - name: The SQLite file format
    description: What the header says.
    link: https://www.sqlite.org/fileformat2.html
"""

EXAMPLES = r"""
- name: Find every database of the host
  digitalme.backup.sqlite_discover:
    roots: [/home, /opt, /srv, /var]
    excludes: [/var/cache, "*/.mozilla", "*.tmp"]
    min_bytes: 4096
  register: found

- name: Require that each one is protected
  ansible.builtin.assert:
    that: found.unprotected | length == 0
    fail_msg: "Add these to digitalme_backup_databases: {{ found.suggested.databases }}"
"""

RETURN = r"""
databases:
  description:
    - The databases, each once, sorted by path, at most 10000; see RV(truncated).
    - Of several names of one file the configured one is shown, else the first.
  returned: success
  type: list
  elements: dict
  sample:
    - {path: /srv/wiki/data.sqlite3, size_bytes: 1048576, owner: wiki, journal_mode: wal, protected: false}
  contains:
    path:
      description: The path, with symbolic links resolved. Bytes that are not UTF-8 are escaped.
      type: str
      sample: /srv/shop/shop.db
    size_bytes:
      description: Bytes of the file itself, without what lies beside it.
      type: int
      sample: 10485760
    owner:
      description: Name of the owner, null where the number has none.
      type: str
      sample: shop
    group:
      description: Name of the group, null where the number has none.
      type: str
      sample: shop
    uid:
      description: Number of the owner.
      type: int
      sample: 1001
    gid:
      description: Number of the group.
      type: int
      sample: 1001
    mode:
      description: Permissions in octal.
      type: str
      sample: "0640"
    journal_mode:
      description: C(wal), or C(rollback) for every mode with a rollback journal.
      type: str
      sample: wal
    page_size:
      description: Bytes of a page.
      type: int
      sample: 4096
    application_id:
      description: The number that its application has set, V(0) for none.
      type: int
      sample: 0
    modified_at:
      description: When the file or its C(-wal) was written last, UTC.
      type: str
      sample: "2026-11-22T14:03:11.482Z"
    has_sidecars:
      description: Whether a C(-wal), C(-shm) or C(-journal) lies beside it.
      type: bool
      sample: true
    in_use_by:
      description: The processes that hold it open, as far as the user may look.
      type: list
      elements: dict
      sample: [{pid: 812, command: gunicorn}]
    protected:
      description: Whether the configuration has it, by this or by another name of the same file.
      type: bool
      sample: true
    name:
      description: The name of its backup set, null where it is not protected.
      type: str
      sample: shop
unprotected:
  description: The paths of the databases that the configuration does not have.
  returned: success
  type: list
  elements: str
  sample: [/srv/wiki/data.sqlite3]
protected_count:
  description: How many of the databases the configuration has.
  returned: success
  type: int
  sample: 1
backups_seen:
  description: How many files were seen that are backups themselves. Compressed ones are not counted.
  returned: success
  type: int
  sample: 30
unreadable:
  description:
    - What could not be read or entered, or begins like a database with a damaged first page; the count of all, and the
      first 20 with the reason.
  returned: success
  type: dict
  sample: {count: 1, examples: [{path: /srv/private, reason: Permission denied}]}
skipped_mounts:
  description: Mounted filesystems that were not entered, with their types.
  returned: success
  type: list
  elements: dict
  sample: [{path: /srv/media, type: nfs4}]
roots:
  description: The directories, with symbolic links resolved, and why one was not searched.
  returned: success
  type: list
  elements: dict
  sample: [{path: /srv, problem: null}, {path: /data, problem: No such file or directory}]
files_seen:
  description: How many regular files were opened.
  returned: success
  type: int
  sample: 48211
seconds:
  description: How long the search took.
  returned: success
  type: float
  sample: 0.412
truncated:
  description: Whether the search ended early, because there are more than 10000 databases.
  returned: success
  type: bool
  sample: false
suggested:
  description:
    - What to add to the configuration, or to C(digitalme_backup_databases), so that every database is protected. The
      names are valid, and differ from each other and from the configured ones.
    - A path that is not valid UTF-8 is left out, with a warning.
  returned: success
  type: dict
  sample: {databases: [{path: /srv/wiki/data.sqlite3, name: data}]}
error_code:
  description: What went wrong, as one of the collection's codes.
  returned: failure
  type: str
  sample: usage
"""

from ansible_collections.digitalme.backup.plugins.module_utils import adapter


def main():
    spec = {
        "roots": {"type": "list", "elements": "path", "required": True},
        "excludes": {"type": "list", "elements": "str"},
        "min_bytes": {"type": "int", "default": 0},
        "same_filesystem": {"type": "bool", "default": False},
    }
    adapter.run(spec, "discover", checks=False)


if __name__ == "__main__":
    main()
