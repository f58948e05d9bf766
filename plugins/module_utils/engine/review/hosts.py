# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The review of all configured databases of a host, one after the other."""

from __future__ import annotations

from typing import NamedTuple

from .. import audit, catalog, clock, cron, errors, health, host, manifest, space
from .. import session as room
from . import access, advice, finding, growth, keeping, log

PARTS = ("log", "disk", "retention", "performance", "access", "configuration", "strategy")
BAD = {"never": (), "action": ("action", "failed"), "attention": ("attention", "action", "failed")}


class Order(NamedTuple):
    """What is looked at (`PARTS`), over how many days, what makes the review fail; and check mode, which leaves no line
    in the audit log.
    """

    parts: tuple
    since_days: float
    fail_on: str
    check: bool


def reviews(names, order, *, config_path=None, caller=None):
    """The result of `operations.review`; one audit line for the whole host."""
    unknown = set(order.parts) - set(PARTS)
    if unknown:
        raise errors.UsageError(f"a review has no part {', '.join(sorted(unknown))} (it has {', '.join(PARTS)})")
    if not 1 <= order.since_days <= 3660:
        raise errors.UsageError(f"a review looks at 1 to 3660 days, not {order.since_days:g}")
    began, started = clock.now(), clock.monotonic()
    configuration = host.loaded(config_path, caller)
    whole = {"config_path": config_path, "name": host.ALL, "need_database": False}
    with room.operation("review", whole, caller=caller, silent=order.check) as session:
        chain = _chain(configuration.audit_log)
        general = access.of_host(configuration) if "access" in order.parts else []
        general += chain.pop("findings")
        rows = [_one(name, order, config_path, caller) for name in _names(configuration, names)]
        statuses = [finding.status(general), *(row["status"] for row in rows)]
        session.tell(status=_worst(statuses))
        result = {
            "changed": False,
            "tool": manifest.tool(),
            "hostname": manifest.host(),
            "clock": clock.iso(began),
            "seconds": round(clock.monotonic() - started, 3),
            "status": _worst(statuses),
            "audit": chain,
            "findings": finding.by_severity(general),
            "databases": rows,
            "warnings": session.warnings,
        }
    return _concluded(result, order)


def _names(configuration, names):
    if not configuration.databases:
        raise errors.ConfigError(
            "no database is configured on this host, so there is nothing to review",
            path=configuration.path,
            hint="Configure its databases (role install), or leave the host out.",
        )
    return host.names(configuration, names)


def _worst(statuses):
    order = (*finding.STATUSES, "failed")
    return order[max(order.index(status) for status in statuses)]


def _chain(path):
    """{path, lines, intact, torn, findings} of the audit log: whether anybody has changed the past."""
    if path is None:
        return {"path": None, "lines": None, "intact": None, "torn": None, "findings": []}
    try:
        found = audit.check(path)
    except OSError as error:
        what = f"the audit log {errors.show(path)} cannot be read ({error.strerror})"
        lost = finding.finding("audit_unreadable", "high", what, _WHY_AUDIT, "Give the reviewing user access to it.")
        return {"path": path, "lines": None, "intact": None, "torn": None, "findings": [lost]}
    broken = []
    if not found["intact"]:
        what = f"the chain of {errors.show(path)} is broken at line {found['broken_at']}"
        broken = [finding.finding("audit_broken", "high", what, _WHY_AUDIT, "Compare it with its copy off the host.")]
    return {
        "path": path,
        "lines": found["lines"],
        "intact": found["intact"],
        "torn": len(found["torn"]),
        "findings": broken,
    }


_WHY_AUDIT = "Whether somebody restored, deleted or failed cannot be told any more."


def _one(name, order, config_path, caller):
    """The row of one database. What goes wrong with one keeps no other from its turn."""
    row = {"name": name, "database": None, "backup_dir": None, "status": "failed", "findings": []}
    row.update(error_code=None, cause=None, next_step=None, warnings=[])
    given = {"config_path": config_path, "name": name, "need_database": False}
    try:
        with room.operation("review", given, caller=caller, silent=True) as session:
            target = session.target
            row.update(database=target.database, backup_dir=target.backup_dir)
            found = _looked_at(session, order, row)
            row["findings"] = finding.by_severity(found)
            row["status"] = finding.status(found)
            row["warnings"] = session.warnings
    except errors.BackupError as error:
        row.update(error_code=error.error_code, cause=error.message, next_step=error.hint)
    return row


def _looked_at(session, order, row):
    """The findings; what they are told from goes into the row, part by part."""
    target, settings, now = session.target, session.settings, clock.now()
    entries = catalog.scan(target.backup_dir, target.name)
    records = log.dated(_records(session))
    found = []
    if "log" in order.parts:
        row["log"] = log.reviewed(records, now, order.since_days, _pause(settings, now))
        found += log.findings_of_log(row["log"])
    if "disk" in order.parts:
        row["disk"] = _disk(session, entries)
        found += growth.findings(row["disk"]) if row["disk"] else []
    if "retention" in order.parts:
        row["retention"] = keeping.reviewed(session, entries, now)
        found += keeping.findings(row["retention"])
    months = log.performance(records, log.verifications(entries))
    if "performance" in order.parts:
        row["performance"] = months
        found += log.findings_of_performance(months)
    if "access" in order.parts:
        found += access.of_name(target)
    if "configuration" in order.parts:
        found += advice.of_settings(settings, _pause(settings, now))
    if "strategy" in order.parts:
        found += _strategy(settings, entries, records, months, now)
    return found


def _records(session):
    try:
        return list(audit.read(session.target.audit_log, session.target.name))
    except OSError as error:
        session.warnings.append(f"the audit log cannot be read, so the past is not known: {error}")
        return []


def _disk(session, entries):
    try:
        use = space.disk_use(session.target.backup_dir)
    except OSError as error:
        session.warnings.append(f"the backups' filesystem cannot be looked at: {error}")
        return None
    settings = session.settings
    return growth.reviewed(entries, use, settings["disk_limit_percent"], settings["retention"]["max_files"])


def _pause(settings, now):
    """The longest seconds between two scheduled backups; None where there is no schedule."""
    if not settings["schedule"]:
        return None
    return cron.parse(settings["schedule"], settings["timezone"]).longest_interval(now)


def _strategy(settings, entries, records, months, now):
    tested = health.restore_tested(entries, health.history(record for _moment, record in records))
    sizes = [(entry.manifest or {}).get("size_bytes") for entry in entries if entry.kind == "regular"]
    restores = months.get("restore_test") or []
    return advice.of_history(
        tested.at if tested else None,
        now,
        next((size for size in sizes if size), None),
        settings["rto_objective"],
        restores[-1]["worst_seconds"] if restores else None,
    )


def _concluded(result, order):
    """The result; raises ReviewFailed, with the same in its details, if a status is as bad as ``fail_on``."""
    if result["status"] not in BAD[order.fail_on]:
        return result
    said = [row["finding"] for row in result["findings"]]
    for row in result["databases"]:
        said += [f"{row['name']}: {text}" for text in ([row["cause"]] if row["cause"] else [])]
        said += [f"{row['name']}: {each['finding']}" for each in row["findings"]]
    raise errors.ReviewFailed("; ".join(said[:5]), **result)
