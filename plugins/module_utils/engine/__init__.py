# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The backup engine: private to the collection, Python's standard library only, no Ansible.

The only door is `operations`; the command line (`__main__`), the modules and the API come in through it.
"""

from __future__ import annotations

__version__ = "0.1.0"
