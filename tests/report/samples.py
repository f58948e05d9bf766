# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reports of drills that never were: small, of a whole fleet, and with words that want to break a page."""

from __future__ import annotations

import hashlib
import json

from ansible_collections.digitalme.backup.plugins.plugin_utils.report import judging

TOOL = {"version": "0.1.0", "python": "3.11.2", "sqlite": "3.40.1"}
HOSTILE = "<script>alert(1)</script> ]]> \u202egnp.exe & \x00\x1b[31m \"'` | # **bold** [x](javascript:1) " + "x" * 4000


def row(name="shop", status="passed", number=1, **changes):
    """A database's row as `backup_drill` returns it."""
    took = {"choose": 0.002, "space": 0.0, "stage": 0.031, "verify": 0.085, "restore": 0.004, "compare": 0.012}
    achieved = round(sum(took.values()) * (1 + number % 17), 3)
    made = {
        "name": name,
        "database": f"/srv/{name}/{name}.db",
        "backup_dir": f"/var/backups/digitalme/{name}",
        "status": status,
        "error_code": None,
        "cause": None,
        "next_step": None,
        "selection": {"rule": "latest", "window_days": None, "seed": None, "candidates": 7},
        "backup": {
            "file": f"{name}_20261122_020000.db",
            "path": f"/var/backups/digitalme/{name}/{name}_20261122_020000.db",
            "created_at": "2026-11-22T02:00:00.000Z",
            "status": "verified",
            "sha256": hashlib.sha256(repr((name, number)).encode()).hexdigest(),
            "content_sha256": hashlib.sha256(repr((name, number)).encode()).hexdigest(),
            "size_bytes": 10485760 + number,
            "stored_bytes": 10485760 + number,
            "compression": "none",
            "tables": 12,
            "rows": 4711 + number,
            "tool": TOOL,
        },
        "recoverable": True,
        "recoverable_from": None,
        "phases": [{"name": key, "status": "ok", "seconds": seconds, "detail": key} for key, seconds in took.items()],
        "seconds": achieved,
        "rto": {"achieved_seconds": achieved, "objective_seconds": 60, "met": True},
        "rpo": {"achieved_seconds": 36000.0 + 60 * (number % 300), "objective_seconds": 90000, "met": True},
        "limits": [
            {"name": "restore_test", "unit": "seconds", "limit": 15, "measured": achieved, "met": True},
            {"name": "full_restore", "unit": "seconds", "limit": 60, "measured": None, "met": None},
            {"name": "validation", "unit": "seconds", "limit": 10, "measured": 0.085, "met": True},
            {"name": "memory", "unit": "bytes", "limit": 100000000, "measured": 31457280, "met": True},
        ],
        "warnings": [],
    }
    if status != "passed":
        made.update(error_code=_CODES[status], cause=f"what was wrong with {name}", next_step="Mend it.")
    if status == "no_backup":
        made.update(backup=None, recoverable=False, phases=[])
    return {**made, **changes}


_CODES = {
    "failed": "backup_invalid",
    "objective_missed": "objective_missed",
    "no_backup": "backup_not_found",
    "not_run": "time_limit",
}


def host(name, *rows, **changes):
    """A host that has answered."""
    made = {
        "host": name,
        "outcome": "answered",
        "error_code": None,
        "cause": None,
        "next_step": None,
        "seconds": 1.9,
        "clock_skew_seconds": 0.0,
        "tool": TOOL,
        "peak_memory_bytes": 31457280,
        "databases": list(rows),
    }
    return {**made, **changes}


def silent(name, outcome="unreachable"):
    """A host that has not answered."""
    told = {"outcome": outcome, "error_code": outcome, "cause": "no route to it", "next_step": "See that it is up."}
    return host(name, seconds=None, tool=None, peak_memory_bytes=None, clock_skew_seconds=None, **told)


def report(*hosts, **changes):
    """A report of these hosts."""
    made = {
        "schema_version": 1,
        "kind": "drill",
        "id": "drill-20261122T120000Z-4f2a",
        "verdict": None,
        "started_at": "2026-11-22T12:00:00.000Z",
        "finished_at": "2026-11-22T12:00:42.000Z",
        "seconds": 42.0,
        "by": {"user": "ops", "controller": "ctl", "ansible": "2.21.5", "job": None},
        "tool": {"version": "0.1.0"},
        "versions": [],
        "selection": {"rule": "latest", "window_days": None, "seed": None, "full_restore": False, "target": None},
        "counts": {},
        "summary": {},
        "hosts": list(hosts),
        "history": [],
        "merged_from": [],
        "warnings": [],
    }
    return judging.judge({**made, **changes})


def small():
    """Three hosts: one good, one with a damaged backup, one without any; and one that is away."""
    found = {"file": "shop_20261121_020000.db", "created_at": "2026-11-21T02:00:00.000Z", "age_seconds": 122400.0}
    damaged = row(
        "shop",
        "failed",
        2,
        recoverable_from=found,
        rto={"achieved_seconds": None, "objective_seconds": 60, "met": False},
    )
    missed = row(
        "log", "objective_missed", 3, rpo={"achieved_seconds": 180000.0, "objective_seconds": 90000, "met": False}
    )
    return report(
        host("shop-1", row("shop"), missed),
        host("shop-2", damaged),
        host("shop-3", row("shop", "no_backup", rto=None, rpo=None, limits=[])),
        silent("shop-4"),
        warnings=["hosts have other versions than the controller's 0.1.0: 0.0.9"],
    )


def gameday():
    """A game day on two hosts, on one of which a fault went unnoticed; it measures no restores."""
    good = [fault("flipped_byte"), fault("interrupted_restore", "survived", expected="the old content or the new")]
    bad = [*good, fault("full_disk", "missed", expected="no_space", what="nothing was said"), fault("x", "not_run")]
    figures: dict = {"rto": None, "rpo": None, "limits": []}
    return report(
        host("shop-1", row("shop", "failed", faults=bad, error_code="fault_missed", **figures)),
        host("shop-2", row("shop", faults=good, **figures)),
        kind="gameday",
        id="gameday-20261122T120000Z-4f2a",
    )


def fault(name, outcome="noticed", expected="it is refused", what="backup_invalid: its bytes differ"):
    """A fault that was put in."""
    return {"name": name, "outcome": outcome, "expected": expected, "what": what, "seconds": 0.1}


def hostile():
    """Words of hosts that want to be markup."""
    bad = row(HOSTILE[:60], "failed", cause=HOSTILE, next_step=HOSTILE, error_code=HOSTILE[:40], warnings=[HOSTILE])
    bad["backup"]["file"] = HOSTILE[:80]
    bad["phases"].append({"name": HOSTILE[:20], "status": "failed", "seconds": 0.1, "detail": HOSTILE})
    name = '<img src="http://evil.example/x">'
    return report(host(name, bad), {**silent(HOSTILE[:50]), "cause": HOSTILE}, warnings=[HOSTILE])


def fleet(hosts=5000, databases=1, first=0):
    """A whole fleet, or some hosts of it, with something wrong here and there."""
    made = []
    for number in range(first, first + hosts):
        if number % 997 == 500:
            made.append(silent(f"host-{number:05d}"))
            continue
        rows = []
        for one in range(databases):
            status = {0: "failed", 1: "objective_missed", 2: "no_backup"}.get(
                (number * databases + one) % 701, "passed"
            )
            rows.append(row(f"app{one}", status, number))
        made.append(host(f"host-{number:05d}", *rows))
    return report(*made)


def history(count=12):
    """Lines of earlier drills."""
    return [
        {
            "id": f"drill-2026{month:02d}01T120000Z-0000",
            "kind": "drill",
            "started_at": f"2026-{month:02d}-01T12:00:00.000Z",
            "verdict": "passed" if month % 3 else "failed",
            "counts": {
                **dict.fromkeys(judging.COUNTED, 0),
                "hosts": 4,
                "databases": 4,
                "passed": 4 if month % 3 else 3,
                "failed": 0 if month % 3 else 1,
            },
            "rto_worst": 0.3 + month / 10,
            "rto_median": 0.2 + month / 20,
            "rpo_worst": 50000.0,
            "failures": [] if month % 3 else ["shop-2/shop: damaged"],
            "sha256": "0" * 64,
        }
        for month in range(1, count)
    ]


def as_line(row):
    """A line of history.jsonl."""
    return json.dumps(row) + "\n"
