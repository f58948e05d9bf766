# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The review of a host: what its audit log, its backups and its configuration tell when they are looked at together.

Nothing is changed, and no lock is taken. Every finding says how bad it is, why that matters, and what to do.
"""
