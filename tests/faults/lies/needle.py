# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A parser with a defect that is hard to find: what the fuzzer must find."""

from __future__ import annotations


def parse(raw):
    if raw[:1] != b"d":
        raise ValueError("1")
    if raw[1:2] != b"e":
        raise ValueError("2")
    if raw[2:3] != b"e":
        raise ValueError("3")
    if raw[3:4] != b"p":
        raise ValueError("4")
    raise KeyError("found")
