# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs the game day on the host; with ``parts`` its result is kept for the report."""

from __future__ import annotations

from ansible_collections.digitalme.backup.plugins.plugin_utils import asking


class ActionModule(asking.AskingAction):
    """See the module of the same name."""

    MODULE = "digitalme.backup.backup_gameday"
