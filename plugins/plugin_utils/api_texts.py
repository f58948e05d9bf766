# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the operator reads of a host that answers only by HTTPS: health, the plan of a restore, and what came of it."""

from __future__ import annotations

import email.utils

from ansible_collections.digitalme.backup.plugins.module_utils.engine import clock
from ansible_collections.digitalme.backup.plugins.plugin_utils import api_answers
from ansible_collections.digitalme.backup.plugins.plugin_utils.api_answers import line

_WIDTH = 14
# So far may the clocks of host and controller differ before it is said.
_SKEW = 120


def row(label, *words):
    """A line whose label has its column."""
    return label.ljust(_WIDTH) + " ".join(words)


def plan(base, database, backup, info, tested, response):
    """{id, lines, problem, backup} of a restore that was rehearsed.

    ``info`` is of recovery-info, ``tested`` of test-recovery. ``problem`` says why it cannot be carried out, and is
    empty where it can. ``backup`` is what is known of it, with its ``age`` as text.
    """
    # What was chosen is what is confirmed and restored, whatever the host calls it now.
    known = {**_mapping(info, "backupInfo"), **backup}
    known["age"] = _age(known)
    needs = _mapping(tested, "requirements") or _mapping(info, "requirements")
    identity = api_answers.plan_id(base, database, known)
    lines = [
        f"PLAN {identity} by {line(base)}",
        row("database", line(database) if database else "the first that is configured there"),
        row("backup", _backup(known)),
        row("age", f"{known['age']}: what was written since then is not in it"),
        row("rehearsed", f"in {_text(tested, 'testDuration')}: {_can(tested)}"),
        row(
            "space", f"{_size(needs, 'requiredFreeSpaceBytes')} needed, {_size(needs, 'availableFreeSpaceBytes')} free"
        ),
        row("application", _application(needs)),
    ]
    advice = info.get("recommendations")
    lines += [row("note", line(said)) for said in advice[:20]] if isinstance(advice, list) else []
    kept = info.get("preRecoveryBackupRecommended") is not False
    lines.append(row("way back", "a pre-restore backup is made first" if kept else "there is nothing to keep"))
    lines.append(row("expected", f"about {_text(needs, 'estimatedDuration')}"))
    skew = _skew(response)
    if skew > _SKEW:
        lines.append(row("CLOCK", f"of the host is {skew} s away from the controller's: the age above may be wrong"))
    problem = ""
    if tested.get("canRecover") is not True:
        cause = line(tested.get("errorMessage") or _can(tested))
        problem = (
            f"It cannot be restored: {cause.rstrip('.')}. Nothing was changed; choose another with -e backup=FILE."
        )
    return {"id": identity, "lines": lines, "problem": problem, "backup": known}


def _backup(known):
    valid = "valid" if known.get("isValid") is True else "NOT VALID"
    return f"{line(known['fileName'])}, {valid}, of {_text(known, 'createdAt')}, {_text(known, 'formattedSize')}"


def _age(known):
    made = api_answers.made_at(known)
    if made is None:
        return "unknown"
    return ago(clock.seconds_between(made, clock.now()))


def ago(seconds):
    """``1 d 02 h 03 min``; what lies in the future is said to."""
    minutes = abs(int(seconds)) // 60
    text = f"{minutes // 1440} d {minutes // 60 % 24:02d} h {minutes % 60:02d} min"
    return f"{text} in the FUTURE" if seconds < -_SKEW else text


def _can(tested):
    wrong = [
        said
        for key, said in (
            ("backupValid", "the backup is not sound"),
            ("sufficientSpace", "there is no room for it"),
            ("databaseAccessible", "the database that is there cannot be read"),
        )
        if tested.get(key) is False
    ]
    if tested.get("canRecover") is True:
        return "; ".join(["it can be restored", *wrong])
    return "; ".join(wrong) or "it cannot be restored"


def _application(needs):
    if needs.get("requiresApplicationStop") is True:
        return "MUST BE STOPPED first by whoever can: the API neither stops nor starts it"
    return "is not stopped: its connections see the restored content"


def health_row(host, database, known):
    """A row for `fleet_table` of what a host has answered: ``known`` is {health, statistics} or {msg}."""
    health = _mapping(known, "health")
    good = health.get("isHealthy") is True
    if not health:
        cause = line(known.get("msg") or "nothing was heard of it")
        return {"host": host, "database": database or "-", "state": "failed", "what": cause, "protected": False}
    what = f"{_text(health, 'totalBackups')} backups, newest {_text(health, 'lastBackupTime')}"
    said = "; ".join([*issues(health), what]) if not good else what
    state = line(health.get("status") or ("healthy" if good else "unhealthy"), 40)
    return {"host": host, "database": database or "-", "state": state, "what": said, "protected": good}


def health_lines(known):
    """Health and statistics of a host, a fact a line."""
    health, numbers = _mapping(known, "health"), _mapping(known, "statistics")
    if not health:
        return [line(known.get("msg") or "nothing was heard of it")]
    lines = [
        row("healthy", "yes" if health.get("isHealthy") is True else "NO"),
        *[row("issue", said) for said in issues(health)],
        row("newest", f"{_text(health, 'lastBackupTime')}, {_text(health, 'timeSinceLastBackup')} ago"),
        row("backups", f"{_text(health, 'totalBackups')}, {_text(health, 'formattedTotalSize')}"),
        row("valid", f"{_text(numbers, 'validBackups')} of {_text(numbers, 'totalBackups')}"),
        row("success rate", f"{_text(numbers, 'successRatePercent')} %"),
    ]
    days = numbers.get("backupsByDate")
    for day in [day for day in days if isinstance(day, dict)][:14] if isinstance(days, list) else []:
        lines.append(row(_text(day, "date"), f"{_text(day, 'count')} backups, {_text(day, 'formattedTotalSize')}"))
    return lines


def issues(health):
    """What the host finds wrong, each as a line."""
    found = health.get("issues")
    said = [line(issue) for issue in found[:20]] if isinstance(found, list) else []
    return said or ([] if health.get("isHealthy") is True else ["it does not say what is wrong"])


def outcome(answer, operation):
    """{state, result, problem} of a restore that was begun. ``state`` is succeeded, failed, interrupted, running or
    unknown; ``answer`` is that of the request itself, or of the last question about the operation.
    """
    body = answer["body"]
    if answer["status"] == 202 and not operation:
        problem = (
            "it was accepted, and the host gives no id by which it can be asked for. Look at api_health.yml later."
        )
        return {"state": "unknown", "result": {}, "problem": problem}
    state, result = (body.get("status"), body.get("result")) if operation else (None, body)
    if answer["ok"] and (state == "succeeded" or not operation):
        done = result if isinstance(result, dict) else {}
        if done.get("success") is True:
            return {"state": "succeeded", "result": done, "problem": ""}
        return {"state": "failed", "result": done, "problem": "the host says that it did not succeed."}
    ask = f"Nothing is begun a second time; wait for it with -e digitalme_backup_api_operation={operation}."
    if answer["ok"] and state == "failed":
        return {"state": "failed", "result": {}, "problem": failure(body.get("error") or body.get("message"))}
    if answer["ok"] and state == "interrupted":
        problem = "the restore was interrupted on the host. The database is whole, with the old content or the new."
        return {"state": state, "result": {}, "problem": f"{problem} Run this play again: it ends or undoes it first."}
    if answer["ok"] and state == "running":
        return {"state": state, "result": {}, "problem": f"it has not ended in the time that was given. {ask}"}
    problem = answer["problem"] or "the host does not say what became of it."
    return {"state": "unknown", "result": {}, "problem": f"{problem} {ask}" if operation else problem}


def failure(error):
    """Why an operation failed, with the step at which it did, whether the old content is back, and the next step."""
    cause = api_answers.explained(error) or "it does not say why"
    told = error if isinstance(error, dict) else {}
    steps = told.get("steps")
    failed = [step for step in steps if isinstance(step, dict)] if isinstance(steps, list) else []
    at = [f"{line(step.get('name'), 60)}" for step in failed if step.get("status") == "failed"]
    parts = [f"{cause.rstrip('.')}{' at the step ' + at[0] if at else ''}."]
    if told.get("rolledBack") is True or told.get("error_code") == "rolled_back":
        parts.append("Rolled back: the old content is in place again.")
    if told.get("next_step"):
        parts.append(line(told["next_step"]))
    return " ".join(parts)


def report(host, database, backup, found):
    """The lines at the end of a restore that succeeded."""
    result, details = found["result"], _mapping(found["result"], "details")
    kept = result.get("preRecoveryBackupPath")
    lines = [
        f"RESTORED {line(database) if database else 'the database'} on {host}",
        row("backup", f"{line(backup.get('fileName') or result.get('backupPath') or 'unknown')}"),
        row(
            "checked", "integrity verified" if details.get("integrityVerified") is True else "the host does not say it"
        ),
        row("kept", line(kept) if kept else "nothing: there was no database"),
        row("duration", _text(result, "duration")),
        row("RPO", f"{line(backup.get('age', 'unknown'))}: what was written after the backup is lost"),
    ]
    lines += [row("warning", line(said)) for said in result.get("warnings") or () if isinstance(said, str)][:20]
    name = str(kept).rpartition("/")[2].rpartition("\\")[2] if kept else ""
    if name:
        lines.append(row("to undo", f"run this play again with -e backup={line(name)}"))
    return lines


def _skew(response):
    """Seconds between the clocks, by the header Date; 0 where there is none."""
    try:
        there = email.utils.parsedate_to_datetime(str(response.get("date", "")))
        return abs(int(clock.seconds_between(there, clock.now())))
    except (ValueError, TypeError):
        return 0


def _mapping(body, key):
    found = body.get(key) if isinstance(body, dict) else None
    return found if isinstance(found, dict) else {}


def _text(body, key):
    found = body.get(key)
    return "unknown" if found is None or isinstance(found, (dict, list)) else line(found, 80)


def _size(body, key):
    found = body.get(key)
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not 0 <= found < 1 << 60:
        return "unknown"
    value = float(found)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
