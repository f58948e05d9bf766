# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The game day of a host: faults are put into a copy of the newest backup of each database, one after the other, and
each has to be noticed or survived. Nothing but the copy is touched: the backup, its manifest, the database, the audit
log (but for one line) and whoever is notified are left alone. Private to the collection.
"""
