#!/usr/bin/python
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_transfer
short_description: Bring backups with their manifests from a host to the controller, or back
version_added: 0.1.0
author: The digitalme.backup authors (@digitalme)
description:
  - Brings the backups of a name from a host into a directory of the controller, or from there to a host.
  - The bytes of each backup are compared with the SHA-256 of its manifest where they are sent and where they arrive.
  - A backup appears under its name only when it is whole and on disk. One that is damaged is not sent, and the task
    fails after the others have been.
  - A transfer that was interrupted goes on where it was. What is there already is not sent again. A backup is never
    replaced by another of the same name.
  - Files travel in parts through Ansible's own connection, so the host needs nothing but Python, and neither side holds
    a part in memory. Backups that only root may read travel with C(become) as they do without.
extends_documentation_fragment:
  - digitalme.backup.common.attributes
attributes:
  check_mode:
    details:
      - Tells what would travel. The bytes of that are read at the sending side, and nothing is written.
  diff_mode:
    support: full
options:
  direction:
    description:
      - V(fetch) brings backups from the host to the controller, V(push) from the controller to the host.
    type: str
    choices: [fetch, push]
    required: true
  backup_dir:
    description: The directory of the backups on the host.
    type: path
    required: true
  name:
    description: Name of the backup set.
    type: str
    required: true
  vault:
    description: The directory of the backups on the controller. It is made where it is missing.
    type: path
    required: true
  backups:
    description: References of the backups to bring. All that the other options let through where none is given.
    type: list
    elements: str
  newest:
    description: Only the newest so many. V(0) means all.
    type: int
    default: 0
  unverified:
    description: Bring also backups that have not been verified, or cannot be on that host.
    type: bool
    default: false
  pre_restore:
    description: Bring also pre-restore backups.
    type: bool
    default: false
  there:
    description:
      - Manifests of backups that need not travel because they have arrived at a further place, to which the destination
        is only a station. M(digitalme.backup.backup_info) shows them; their C(file) and C(sha256) count.
    type: list
    elements: dict
  part_bytes:
    description: How many bytes travel at a time. Sender and receiver need so much room beside the backup.
    type: int
    default: 67108864
  step:
    description: Which part of a transfer is done on the host. The task itself gives this and the options below.
    type: str
    choices: [have, offer, read, accept, receive, finish]
  manifests:
    description: Manifests of the backups that are offered.
    type: list
    elements: str
  file:
    description: The file of which a part is read.
    type: str
  offset:
    description: Where the part begins, in bytes.
    type: int
    default: 0
  part:
    description: The file that holds the part.
    type: path
"""

EXAMPLES = r"""
- name: Bring every verified backup to the controller
  digitalme.backup.backup_transfer:
    direction: fetch
    backup_dir: /var/backups/digitalme/shop
    name: shop
    vault: "{{ lookup('ansible.builtin.env', 'HOME') }}/vault/{{ inventory_hostname }}/shop"

- name: Bring the newest one back
  digitalme.backup.backup_transfer:
    direction: push
    backup_dir: /var/backups/digitalme/shop
    name: shop
    vault: "{{ lookup('ansible.builtin.env', 'HOME') }}/vault/{{ inventory_hostname }}/shop"
    newest: 1
"""

RETURN = r"""
files:
  description: Every backup that was offered, oldest first. O(pre_restore) and the like say which are.
  returned: always, unless the sending side could not be asked
  type: list
  elements: dict
  sample:
    - {file: shop_20261122_020000.db, state: sent, bytes: 10485760, problem: null}
    - {file: shop_20261121_020000.db, state: there, bytes: 0, problem: null}
bytes:
  description: How many bytes have travelled, or would in check mode. What had arrived before is not counted.
  returned: always, unless the sending side could not be asked
  type: int
  sample: 10485760
error_code:
  description: What went wrong, as one of the collection's codes.
  returned: failure
  type: str
  sample: backup_invalid
"""

from ansible_collections.digitalme.backup.plugins.module_utils import adapter

# What an operator asks for, and what the task says to the host with each step.
WISH = {
    "direction": {"type": "str", "choices": ["fetch", "push"], "required": True},
    "backup_dir": {"type": "path", "required": True},
    "name": {"type": "str", "required": True},
    "vault": {"type": "path", "required": True},
    "backups": {"type": "list", "elements": "str"},
    "newest": {"type": "int", "default": 0},
    "unverified": {"type": "bool", "default": False},
    "pre_restore": {"type": "bool", "default": False},
    "there": {"type": "list", "elements": "dict"},
    "part_bytes": {"type": "int", "default": 67108864},
}
STEP = {
    "step": {"type": "str", "choices": ["have", "offer", "read", "accept", "receive", "finish"]},
    "manifests": {"type": "list", "elements": "str"},
    "file": {"type": "str"},
    "offset": {"type": "int", "default": 0},
    "part": {"type": "path"},
}


def main():
    adapter.run({**WISH, **STEP}, "transfer", without=("direction", "vault"))


if __name__ == "__main__":
    main()
