# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The drill of a host: of each database one backup is chosen, restored into a scratch place, proved there, measured,
and compared with the objectives. The live database is not opened.
"""
