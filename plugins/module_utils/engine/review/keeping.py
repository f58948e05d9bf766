# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What retention would do now, and what lies beside the backups that nothing removes by itself."""

from __future__ import annotations

import os

from .. import catalog, clock, kept_files, retention
from .finding import finding


def reviewed(session, entries, now):
    """{kept, would_remove, held, pinned, pre_restore, aside, aside_bytes, oldest, oldest_days}; changes nothing."""
    target = session.target
    plan = retention.plan(entries, session.settings["retention"], now)
    regular = [entry for entry in entries if entry.kind == "regular" and entry.created_at]
    aside = kept_files.quarantined(target.backup_dir, target.name)
    aside += [name for name in kept_files.by_restores(target.backup_dir, target.name) if name.endswith(catalog.RAW)]
    return {
        "kept": len(plan.kept),
        "would_remove": [row.entry.file for row in plan.removed],
        "held": plan.hold or plan.brake,
        "pinned": sum(entry.pinned(now) for entry in entries),
        "pre_restore": [
            {"file": entry.file, "until": (entry.manifest or {}).get("pinned_until")}
            for entry in entries
            if entry.kind == "pre_restore"
        ],
        "aside": aside,
        "aside_bytes": sum(_size(os.path.join(target.backup_dir, name)) for name in aside),
        "unverified": [entry.file for entry in entries if entry.status in ("unverified", "invalid", "missing")],
        "oldest_days": round(clock.seconds_between(regular[-1].created_at, now) / 86400, 1) if regular else None,
    }


def _size(path):
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def findings(review):
    """What is kept in vain, or would be missed."""
    found = []
    if review["held"]:
        found.append(
            finding(
                "retention_held",
                "medium",
                f"nothing expires at present: {review['held']}",
                "The disk fills up while the newest backup is too old to remove others.",
                "Make a backup that passes its verification; then retention goes on by itself.",
            )
        )
    if review["aside"]:
        size = review["aside_bytes"] / 1_000_000
        found.append(
            finding(
                "copies_aside",
                "medium",
                f"{len(review['aside'])} copies that failed or were damaged are kept aside ({size:.1f} MB)",
                "They tell why a database was damaged, and nothing removes them by itself.",
                f"Look at them, then remove them by hand, beginning with {review['aside'][0]}.",
            )
        )
    if review["unverified"]:
        found.append(
            finding(
                "backups_not_verified",
                "medium",
                f"{len(review['unverified'])} backups are not verified, damaged, or gone",
                "They do not count for a restore.",
                "Run digitalme-backup validate (--adopt for those made by hand), and remove what is damaged.",
            )
        )
    return found
