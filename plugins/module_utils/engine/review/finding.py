# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A finding: what is amiss, how bad that is, why it matters and what to do."""

from __future__ import annotations

SEVERITIES = ("low", "medium", "high")
STATUSES = ("ok", "attention", "action")


def finding(identity, severity, what, why, todo):
    """One finding; ``todo`` is a command or a setting to change, in words that can be acted on."""
    return {"id": identity, "severity": severity, "finding": what, "why": why, "todo": todo}


def status(findings):
    """``action`` for anything of high severity, ``attention`` for anything else, ``ok`` for nothing."""
    if any(row["severity"] == "high" for row in findings):
        return "action"
    return "attention" if findings else "ok"


def by_severity(findings):
    """The worst first; those of one severity in the order in which they were found."""
    return sorted(findings, key=lambda row: -SEVERITIES.index(row["severity"]))
