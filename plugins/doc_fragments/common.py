# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    """Options and attributes that recur in the collection's modules."""

    DOCUMENTATION = r"""
options:
  backup_dir:
    description:
      - Directory that holds the backups and their manifests.
      - It must be a directory of its own, not the one the database lies in.
      - Where it is not given, the host's configuration says it, else it is C(/var/backups/digitalme/NAME).
    type: path
  name:
    description:
      - Name of the backup set. Backup files are called C(NAME_YYYYMMDD_HHMMSS.db), in UTC.
      - Where it is not given, it is the stem of the database's file name, or the only name that O(backup_dir) has
        backups of.
    type: str
notes:
  - The host needs Python 3.9 or newer and nothing else.
  - Every operation, also a refused or a failed one, adds a line to the audit log, which lies in
    C(.state/audit.jsonl) in the backup directory unless the host's configuration names another place.
  - Two operations on the same name and backup directory never run at the same time, whether they come from Ansible, a
    timer, the API or a shell.
seealso:
  - name: The SQLite file format
    description: What the header checks and the page counts rest on.
    link: https://www.sqlite.org/fileformat2.html
"""

    BUSY_TIMEOUT = r"""
options:
  busy_timeout:
    description:
      - How long to wait, in seconds, for the lock of another operation on this name, and for a lock that an application
        holds on the database.
      - Default C(30), or what the host's configuration says.
    type: float
"""

    VERIFY = r"""
options:
  verify:
    description:
      - How thoroughly SQLite looks at the copy.
      - V(full) runs C(integrity_check) and C(foreign_key_check), counts the rows of every table and hashes the schema.
      - V(quick) runs C(quick_check), which misses damaged indexes and takes about a tenth of the time.
      - V(none) relies on checksums alone; such a backup counts as unverified.
      - Default C(full), or what the host's configuration says.
    type: str
    choices: [none, quick, full]
  assertions:
    description:
      - SQL that must hold in the copy, run read-only.
    type: list
    elements: dict
    suboptions:
      sql:
        description: A statement whose first value in the first row is looked at.
        type: str
        required: true
      expect:
        description: What that value must be. Without it the value must be true.
        type: raw
"""

    ATTRIBUTES = r"""
attributes:
  check_mode:
    support: full
    description: Can run in C(check_mode) and return changed status prediction without modifying the host.
  diff_mode:
    description: Returns details on what has changed, or would change, when in diff mode.
  platform:
    platforms: posix
    support: full
    description: Target OS families that can be operated against.
  action_group:
    support: full
    membership: [digitalme.backup.backup]
    description: Use C(group/digitalme.backup.backup) in C(module_defaults) to set defaults for this module.
"""
