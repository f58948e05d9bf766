# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The arguments that nearly every operation has."""

from __future__ import annotations


def about(config_path, database, backup_dir, name, **options):
    return {
        "config_path": config_path,
        "database": database,
        "backup_dir": backup_dir,
        "name": name,
        **options,
    }
