#!/usr/bin/python
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_engine
short_description: Install the engine and its command on a host
version_added: 0.1.0
author: The digitalme.backup authors (@digitalme)
description:
  - Writes the engine that this collection brings to the host, for timers and people who call it without Ansible, and
    the command that starts it.
  - A new release is written beside the old one and becomes current by one rename; the one before is kept.
extends_documentation_fragment:
  - digitalme.backup.common.attributes
attributes:
  check_mode: {}
  diff_mode:
    support: full
options:
  state:
    description: Whether the engine is to be there. V(absent) removes the releases and the command, and nothing else.
    type: str
    choices: [present, absent]
    default: present
  home:
    description: Directory of the releases.
    type: path
    default: /opt/digitalme-backup
  command:
    description: Path of the command.
    type: path
    default: /usr/local/bin/digitalme-backup
  config_path:
    description: The configuration that the command reads unless it is given another.
    type: path
    default: /etc/digitalme-backup/config.json
  python:
    description: The Python that is to run it, 3.9 or newer. The one that runs this module where it is not given.
    type: path
notes:
  - The host needs Python 3.9 or newer and nothing else.
"""

EXAMPLES = r"""
- name: Install the engine and its command
  digitalme.backup.backup_engine:
    state: present

- name: Install the engine for a Python of its own
  digitalme.backup.backup_engine:
    python: /usr/bin/python3.11
"""

RETURN = r"""
release:
  description: The release that is current, its version and the hash of its sources.
  returned: when O(state=present)
  type: str
  sample: 0.1.0-8d5f0c1b2a39
changes:
  description: What was changed, or would be.
  returned: success
  type: list
  elements: str
  sample: [release 0.1.0-8d5f0c1b2a39, current -> 0.1.0-8d5f0c1b2a39, /usr/local/bin/digitalme-backup]
error_code:
  description: What went wrong, as one of the collection's codes.
  returned: failure
  type: str
  sample: usage
"""

from ansible_collections.digitalme.backup.plugins.module_utils import adapter

# Not called here: Ansible sends what a module imports, and the command line is to be installed with the rest.
from ansible_collections.digitalme.backup.plugins.module_utils.engine import __main__  # noqa: F401 pylint: disable=unused-import


def main():
    spec = {
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "home": {"type": "path", "default": "/opt/digitalme-backup"},
        "command": {"type": "path", "default": "/usr/local/bin/digitalme-backup"},
        "config_path": {"type": "path", "default": "/etc/digitalme-backup/config.json"},
        "python": {"type": "path"},
    }
    adapter.run(spec, "install", diff=adapter.install_diff)


if __name__ == "__main__":
    main()
