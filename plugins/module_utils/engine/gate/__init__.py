# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The gate: the one way from the REST API, which has no rights of its own, to the backups of one name.

The API's process is what the network talks to; it can open neither databases nor backups. It connects to the gate of a
name, a program with the rights of that database's owner that knows ten requests about this one name and nothing else:
no path, no SQL, no command, no other directory. Each operation runs in the gate's process, so it goes on when the
API's process or its client is gone.
"""
