# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From the engine's words to the answers' words (`models`): pure functions."""

from __future__ import annotations

import datetime

from . import models

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_KINDS = {"regular": "regular", "pre_restore": "preRecovery"}
_DONE = "ok"


def size(count):
    """``12.3 MiB``."""
    value = float(count or 0)
    for unit in _UNITS:
        if value < 1024 or unit == _UNITS[-1]:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")


def duration(seconds):
    """``hh:mm:ss.fff``; hours go on beyond 99."""
    if seconds is None:
        return None
    milliseconds = round(max(0.0, seconds) * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}.{rest % 1000:03d}"


def moment(text):
    """An aware datetime of the engine's text, or None."""
    if not text:
        return None
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def iso(at):
    return at.astimezone(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text(value):
    return value if isinstance(value, str) else None


def backup(view):
    return models.Backup(
        fileName=view["file"],
        filePath=view["path"],
        sizeBytes=view["stored_bytes"],
        formattedSize=size(view["stored_bytes"]),
        createdAt=view["created_at"],
        isValid=view["status"] == "verified",
        status=view["status"],
        kind=_KINDS.get(view["kind"], view["kind"]),
        isPinned=view["pinned"],
        compression=view["compression"],
        contentSizeBytes=view["size_bytes"],
        sha256=_text(view["sha256"]),
        verifiedAt=_text(view["verified_at"]),
        restoreTestedAt=_text(view["restore_tested_at"]),
        problems=view["problems"],
    )


def made(result, request):
    known = result["backup"] or {}
    return models.Made(
        success=True,
        backupPath=known["path"],
        backupSizeBytes=known["stored_bytes"],
        backupTimestamp=known["created_at"],
        duration=duration(known["duration_seconds"]),
        fileName=known["file"],
        isValid=(known.get("verification") or {}).get("status") == "ok",
        operationId=request,
        warnings=result["warnings"],
    )


def cleanup(result, request):
    removed = [models.Kept(fileName=row["file"], reasons=row["reasons"]) for row in result["removed"]]
    kept = [models.Kept(fileName=row["file"], reasons=row["reasons"]) for row in result["kept"]]
    return models.Cleanup(
        success=True,
        removedCount=len(removed),
        removed=removed,
        keptCount=len(kept),
        kept=kept,
        freedBytes=result["freed_bytes"],
        formattedFreedSize=size(result["freed_bytes"]),
        held=result["held"],
        operationId=request,
        warnings=result["warnings"],
    )


def deleted(result, request):
    return models.Deleted(success=True, fileName=result["file"], freedBytes=result["freed_bytes"], operationId=request)


def health(state, now):
    numbers = state["statistics"]
    last = moment(numbers["newest"])
    return models.Health(
        isHealthy=state["status"] == "healthy",
        status=state["status"],
        totalBackups=numbers["total_backups"],
        lastBackupTime=numbers["newest"],
        timeSinceLastBackup=None if last is None else duration((now - last).total_seconds()),
        totalBackupSizeBytes=numbers["stored_bytes"],
        formattedTotalSize=size(numbers["stored_bytes"]),
        issues=[row["message"] for row in state["checks"] if row["status"] != "ok"],
        checks=[models.Check(**{key: row[key] for key in ("name", "status", "message")}) for row in state["checks"]],
    )


def statistics(state):
    numbers = state["statistics"]
    return models.Statistics(
        totalBackups=numbers["total_backups"],
        validBackups=numbers["verified_backups"],
        invalidBackups=numbers["total_backups"] - numbers["verified_backups"],
        preRecoveryBackups=numbers["pre_restore_backups"],
        totalSizeBytes=numbers["stored_bytes"],
        formattedTotalSize=size(numbers["stored_bytes"]),
        isHealthy=state["status"] == "healthy",
        oldestBackup=numbers["oldest"],
        newestBackup=numbers["newest"],
        lastRecoveryTest=numbers["newest_restore_test"],
        totalRuns=numbers["runs"],
        successRatePercent=numbers["success_percent"],
        durations=models.Durations(**{key: duration(value) for key, value in numbers["duration_seconds"].items()}),
        backupsByDate=[
            models.Day(
                date=row["date"],
                count=row["count"],
                totalSizeBytes=row["stored_bytes"],
                formattedTotalSize=size(row["stored_bytes"]),
            )
            for row in numbers["by_day"]
        ],
    )


def validation(row, request):
    return models.Validation(
        isValid=row["status"] == "ok",
        fileName=row["file"],
        status=row["status"],
        level=row["level"],
        errors=[f"{each['check']}: {each['message']}" for each in row["errors"]],
        seconds=row["seconds"],
        duration=duration(row["seconds"]),
        operationId=request,
    )


def requirements(found):
    places = [
        models.Place(what=row["what"], requiredBytes=row["needed_bytes"], availableBytes=row["free_bytes"])
        for row in found["places"]
    ]
    tightest = min(places, key=lambda row: row.availableBytes - row.requiredBytes, default=None)
    return models.Requirements(
        backupSizeBytes=found["content_bytes"],
        requiredFreeSpaceBytes=tightest.requiredBytes if tightest else found["content_bytes"],
        availableFreeSpaceBytes=tightest.availableBytes if tightest else 0,
        requiresApplicationStop=found["strategy"] == "replace" and found["live"] != "absent",
        estimatedDuration=duration(found["seconds_expected"]),
        strategy=found["strategy"],
        places=places,
    )


def steps(rows):
    return [
        models.Step(name=row["name"], status=row["status"], seconds=row["seconds"], detail=row.get("detail"))
        for row in rows
    ]


def recovery_test(found, request, result=None, failure=None):
    """``result`` of the engine's restore test, or the Problem (`problems.Problem`) that it ended with."""
    rows = result["steps"] if result else failure.more.get("steps", [])
    needs = requirements(found)
    room = all(place.availableBytes >= place.requiredBytes for place in needs.places)
    open_ = found["live"] in ("sound", "absent")
    good = result is not None
    message = (
        None
        if good and found["recoverable"]
        else "; ".join([*([failure.detail] if failure else []), *found["problems"]])
    )
    return models.RecoveryTest(
        canRecover=good and found["recoverable"],
        backupValid=good or failure.error_code not in ("backup_invalid", "unverifiable"),
        sufficientSpace=room and not (failure and failure.error_code == "no_space"),
        databaseAccessible=open_,
        testDuration=duration(sum(row["seconds"] for row in rows)),
        errorMessage=message,
        requirements=needs,
        steps=steps(rows),
        fileName=found["file"],
        operationId=request,
    )


def recovery_info(view, found):
    advice = list(found["problems"])
    if view["status"] != "verified":
        advice.append("This backup is not verified: validate it, or choose one that is.")
    if found["strategy"] == "replace" and found["live"] != "absent":
        advice.append(f"Stop the application first: the file has to be replaced ({found['reason']}).")
    elif found["live"] == "sound":
        advice.append("The application may go on: its connections see the restored data.")
    if found["seconds_expected"] is None:
        advice.append("Run test-recovery first: it proves the restore and tells how long it takes.")
    return models.RecoveryInfo(
        backupInfo=backup(view),
        canRecover=found["recoverable"],
        requirements=requirements(found),
        recommendations=advice,
        preRecoveryBackupRecommended=found["live"] != "absent",
    )


def recovery(result, request, at):
    done = {row["name"]: row["status"] for row in result["steps"]}
    kept = result["pre_restore_backup"]
    return models.Recovery(
        success=True,
        backupPath=result["backup"]["path"],
        preRecoveryBackupPath=kept,
        recoveryTimestamp=at,
        duration=duration(result["rto_seconds"]),
        restoredDataSizeBytes=result["backup"]["size_bytes"],
        details=models.RecoveryDetails(
            preRecoveryBackupCreated=kept is not None,
            backupValidated=done.get("verify") == _DONE,
            databaseReplaced=result["changed"],
            integrityVerified=done.get("compare") == _DONE or done.get("verify") == _DONE,
            rolledBack=result["rolled_back"],
            steps=steps(result["steps"]),
        ),
        operationId=request,
        warnings=result["warnings"],
    )
