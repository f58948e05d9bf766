# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The words of the answers: sizes in bytes, times in UTC with `Z`, durations as `hh:mm:ss.fff`.

These fields are a contract: more may be added, none goes and none changes its meaning.
"""

from __future__ import annotations

from typing import Annotated, Any, Optional

from pydantic import BaseModel, Field, StringConstraints

# As the gate takes them.
Note = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class Problem(BaseModel):
    """Problem details (RFC 9457). `error_code` is one of docs/ERRORS.md, or of the API itself."""

    type: str
    title: str
    status: int
    detail: str
    error_code: str
    instance: Optional[str] = None
    next_step: Optional[str] = None
    steps: Optional[list[dict[str, Any]]] = None
    rolledBack: Optional[bool] = None
    errors: Optional[list[dict[str, Any]]] = None


class Alive(BaseModel):
    """`databases`: each name, and whether its backups are healthy, degraded, unhealthy or unknown."""

    status: str
    databases: dict[str, str]


class Backup(BaseModel):
    fileName: str
    filePath: str
    sizeBytes: int
    formattedSize: str
    createdAt: Optional[str]
    isValid: bool
    status: str
    kind: str
    isPinned: bool
    compression: Optional[str]
    contentSizeBytes: Optional[int]
    sha256: Optional[str]
    verifiedAt: Optional[str]
    restoreTestedAt: Optional[str]
    problems: list[str]


class NewBackup(BaseModel):
    """`annotations` are notes for the manifest; a pinned backup is never removed by retention."""

    pinned: bool = False
    annotations: dict[Note, Note] = Field({}, max_length=20)

    model_config = {"extra": "forbid"}


class Made(BaseModel):
    success: bool
    backupPath: str
    backupSizeBytes: int
    backupTimestamp: str
    duration: str
    fileName: str
    isValid: bool
    operationId: str
    warnings: list[str]


class Kept(BaseModel):
    fileName: str
    reasons: list[str]


class Cleanup(BaseModel):
    """`held` says why nothing expires at present."""

    success: bool
    removedCount: int
    removed: list[Kept]
    keptCount: int
    kept: list[Kept]
    freedBytes: int
    formattedFreedSize: str
    held: Optional[str]
    operationId: str
    warnings: list[str]


class Deleted(BaseModel):
    success: bool
    fileName: str
    freedBytes: int
    operationId: str


class Check(BaseModel):
    name: str
    status: str
    message: str


class Health(BaseModel):
    isHealthy: bool
    status: str
    totalBackups: int
    lastBackupTime: Optional[str]
    timeSinceLastBackup: Optional[str]
    totalBackupSizeBytes: int
    formattedTotalSize: str
    issues: list[str]
    checks: list[Check]


class Day(BaseModel):
    date: str
    count: int
    totalSizeBytes: int
    formattedTotalSize: str


class Durations(BaseModel):
    min: Optional[str]
    median: Optional[str]
    max: Optional[str]


class Statistics(BaseModel):
    totalBackups: int
    validBackups: int
    invalidBackups: int
    preRecoveryBackups: int
    totalSizeBytes: int
    formattedTotalSize: str
    isHealthy: bool
    oldestBackup: Optional[str]
    newestBackup: Optional[str]
    lastRecoveryTest: Optional[str]
    totalRuns: int
    successRatePercent: Optional[float]
    durations: Durations
    backupsByDate: list[Day]


class Validation(BaseModel):
    """`level` says what was checked. `full`: SHA-256, integrity_check, foreign_key_check, the rows and the schema of
    the manifest, and the assertions; `quick`: SHA-256, quick_check and the assertions; null: it could not be looked at.
    """

    isValid: bool
    fileName: str
    status: str
    level: Optional[str]
    errors: list[str]
    seconds: float
    duration: str
    operationId: str


class Place(BaseModel):
    what: str
    requiredBytes: int
    availableBytes: int


class Requirements(BaseModel):
    backupSizeBytes: int
    requiredFreeSpaceBytes: int
    availableFreeSpaceBytes: int
    requiresApplicationStop: bool
    estimatedDuration: Optional[str]
    strategy: Optional[str]
    places: list[Place]


class Step(BaseModel):
    name: str
    status: str
    seconds: float
    detail: Optional[str]


class RecoveryTest(BaseModel):
    canRecover: bool
    backupValid: bool
    sufficientSpace: bool
    databaseAccessible: bool
    testDuration: str
    errorMessage: Optional[str]
    requirements: Requirements
    steps: list[Step]
    fileName: str
    operationId: str


class RecoveryInfo(BaseModel):
    backupInfo: Backup
    canRecover: bool
    requirements: Requirements
    recommendations: list[str]
    preRecoveryBackupRecommended: bool


class RecoveryDetails(BaseModel):
    preRecoveryBackupCreated: bool
    backupValidated: bool
    databaseReplaced: bool
    integrityVerified: bool
    rolledBack: bool
    steps: list[Step]


class Recovery(BaseModel):
    success: bool
    backupPath: str
    preRecoveryBackupPath: Optional[str]
    recoveryTimestamp: str
    duration: str
    restoredDataSizeBytes: Optional[int]
    details: RecoveryDetails
    operationId: str
    warnings: list[str]


class Accepted(BaseModel):
    """Ask `location` until `status` is no longer `running`."""

    operationId: str
    status: str
    location: str


class Operation(BaseModel):
    """`status`: running, succeeded, failed or interrupted. `outcome` is ok or an error's code, from the audit log.

    `result` is what the request would have been answered with, or `error` the problem, where the API asked for it.
    """

    operationId: str
    operation: str
    status: str
    outcome: Optional[str]
    startedAt: Optional[str]
    finishedAt: Optional[str]
    duration: Optional[str]
    fileName: Optional[str]
    requestedBy: Optional[str]
    via: Optional[str]
    message: Optional[str]
    result: Optional[dict[str, Any]] = None
    error: Optional[dict[str, Any]] = None
