# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The REST API: a service without rights of its own in front of the gates of the configured databases.

It checks who asks, how often and for what, hands the question to the gate of that database (the engine's command
``gate``), and words the answer. It opens no database and no backup.
"""
