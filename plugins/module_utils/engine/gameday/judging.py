# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a fault is judged by: the engine's refusal, with the right words. Whatever else is said is a miss."""

from __future__ import annotations

from .. import errors
from . import scene as room


def refused(kind, operation, *words, **options):
    """What the operation says when it refuses as the ``kind`` of error; FaultMissed when it does anything else."""
    try:
        operation(*words, **options)
    except kind as error:
        return f"{error.error_code} ({error.cause})"
    except (errors.TimeLimit, *room.OF_THE_PLACE):
        raise  # It has not come to what the fault is about.
    except errors.BackupError as error:
        said = f"it was told as {error.error_code}, not as {kind.error_code}: {error.cause}"
        raise errors.FaultMissed(said) from error
    raise errors.FaultMissed(f"it was not told as {kind.error_code}: all went well")


def require(condition, otherwise):
    """Raise FaultMissed unless the condition holds."""
    if not condition:
        raise errors.FaultMissed(otherwise)
