# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What concerns the host as a whole: which databases it has, its nightly runs, its notifications and metrics."""

from __future__ import annotations

import functools
import os
from typing import NamedTuple

from . import audit, clock, config, errors, files, manifest, nightly
from . import session as room


def loaded(config_path, caller=None):
    """The configuration; one that cannot be read is told to whoever is to hear of failures, then raised."""
    try:
        return config.load(config_path)
    except errors.BackupError as error:
        failures = tell_failure(config_path, error)
        if failures:
            error.details["warnings"] = [f"nobody could be told: {'; '.join(failures)}"]
        with room.operation("run", {"config_path": config_path, "name": ALL}, caller=caller):
            pass  # It stumbles over the same, and leaves the audit line of that.
        raise


def tell_failure(config_path, error):
    """Tell the channels of an error that concerns all names; what failed, as text."""
    return _deliver(config_path, _event("failure", ALL, error.message, {"error_code": error.error_code}))


def names(configuration, wanted):
    """The names to work on: those wanted, else all that are configured. UsageError for one that is not configured."""
    known = [entry["name"] for entry in configuration.databases]
    unknown = [name for name in wanted or () if name not in known]
    if unknown or not known:
        listed = ", ".join(errors.show(name) for name in known) or "none"
        what = (
            f"no database is called {', '.join(errors.show(name) for name in unknown)}" if unknown else "there is none"
        )
        raise errors.UsageError(
            f"{what} (configured: {listed})",
            path=configuration.path,
            hint="Name one of 'databases' of the configuration.",
        )
    return list(wanted or known)


# A run that ended so long ago is the one whose failure is being looked at.
TOLD_SECONDS = 60
# What stands for the name where an event concerns all of them.
ALL = "all"


class Wish(NamedTuple):
    """What is asked of a run: its parts (None: all), the trigger for the manifest, whether it is only planned."""

    parts: tuple | None
    trigger: str
    check: bool


def _parts(wish):
    unknown = set(wish.parts or ()) - set(nightly.PARTS)
    if unknown:
        raise errors.UsageError(f"a run has no part {', '.join(sorted(unknown))} (it has {', '.join(nightly.PARTS)})")
    return tuple(wish.parts or nightly.PARTS)


def runs(wanted, wish, operations, fail_on, *, config_path=None, caller=None, progress=None):
    """Run every name that is wanted (None: all), one after the other; ``operations`` are those that it is made of:
    backup, retention, health and metrics. Raises RunFailed if the whole is as bad as ``fail_on``.
    """
    parts = _parts(wish)
    results = []
    for name in names(loaded(config_path, caller), wanted):
        common = {"name": name, "config_path": config_path, "caller": caller, "progress": progress}
        backup, retention, health, metrics_of = (functools.partial(operation, **common) for operation in operations)
        doors = nightly.Doors(
            functools.partial(backup, trigger=wish.trigger, check=wish.check),
            functools.partial(retention, check=wish.check),
            health,
            metrics_of,
            _Teller(name, config_path, caller),
        )
        results.append(_run(doors, parts, wish.check))
    return _concluded(results, fail_on)


def _run(doors, parts, check):
    """One run of one name, with one audit line for the whole beside those of its parts."""
    teller = doors.notify
    if not os.path.exists(config.notifications_path(teller.config_path)):
        parts = [part for part in parts if part != "notify"]
    with room.operation("run", teller.call(), caller=teller.caller, silent=check) as session:
        result = nightly.run(teller.name, doors, parts, session.settings["auto_cleanup"], check)
        done = {row["part"]: row["status"] for row in result["parts"]}
        session.tell(status=result["status"], run_id=teller.run_id, parts=done)
        result["warnings"] = session.warnings + result["warnings"]
        return result


def _new_id():
    """A random UUID (RFC 9562, version 4), as healthchecks takes it to tie the start of a run to its end."""
    raw = bytearray(os.urandom(16))
    raw[6], raw[8] = raw[6] & 0x0F | 0x40, raw[8] & 0x3F | 0x80
    text = raw.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


class _Teller:
    """Tells the channels of what happens in one run; each time leaves an audit line. Returns what failed, as text."""

    def __init__(self, name, config_path, caller):
        self.name = name
        self.config_path = config_path
        self.caller = caller
        self.run_id = _new_id()

    def call(self):
        return {"config_path": self.config_path, "name": self.name, "need_database": False}

    def __call__(self, kind, message, details):
        known = {key: value for key, value in details.items() if value}
        with room.operation("notify", self.call(), caller=self.caller) as session:
            failures = _deliver(self.config_path, _event(kind, self.name, message, known, self.run_id))
            session.tell(event=kind, failures=failures or None)
        return failures


def _concluded(results, fail_on):
    """The results of several names as one; raises RunFailed, with the same in its details, if it is as bad as
    ``fail_on`` (degraded or failed). A part that failed makes a run at least degraded.
    """
    status = nightly.worst(results)
    warnings = [f"{result['name']}: {text}" for result in results for text in result.pop("warnings")]
    whole = {
        "changed": any(result["changed"] for result in results),
        "status": status,
        "databases": results,
        "warnings": warnings,
    }
    if fail_on != "never" and nightly.STATUSES.index(status) >= nightly.STATUSES.index(fail_on):
        bad = [f"{result['name']}: {result['message'].rstrip('.')}" for result in results if result["status"] != "ok"]
        raise errors.RunFailed("; ".join(bad), exit_code=nightly.exit_code(results) or 1, **whole)
    return whole


# --- notification ----------------------------------------------------------------------------------------------------


def _event(kind, name, message, details, run_id=None):
    from . import notify

    return notify.Event(kind, name, manifest.host(), clock.now(), run_id or _new_id(), message, details)


def _deliver(config_path, event):
    """Tell all channels of an event; what failed, as text without secrets."""
    return [f"{row['channel']}: {row['error']}" for row in _sent(config_path, event) if row["status"] == "failed"]


def _sent(config_path, event):
    from . import notify

    try:
        channels = notify.load(config.notifications_path(config_path))
    except errors.BackupError as error:
        where = config.NOTIFICATIONS
        return [{"channel": where, "type": "none", "status": "failed", "seconds": 0, "error": error.message}]
    return notify.send(channels, event)


def notify(name, kind, message, unless_told=False, *, config_path=None, caller=None):
    """Tell the channels of something, with an audit line: {changed, sent}. Raises NotificationFailed.

    With ``unless_told`` nothing is sent where a run of the name has failed and told so just before: for what watches
    the run from outside. A configuration that cannot be read does not keep it from being told.
    """
    if unless_told and _was_told(name, config_path):
        return {"changed": False, "sent": [], "warnings": []}
    rows = _sent(config_path, _event(kind, name, message, {}))
    failed = [f"{row['channel']}: {row['error']}" for row in rows if row["status"] == "failed"]
    call = {"config_path": config_path, "name": name, "need_database": False}
    with room.operation("notify", call, caller=caller) as session:
        session.tell(event=kind, failures=failed or None)
        if failed:
            raise errors.NotificationFailed("; ".join(failed), sent=rows)
        return session.result(changed=False, sent=rows)


def _was_told(name, config_path):
    """Whether the newest run of the name, or of all, ended by itself a moment ago; then it has told of its failure."""
    try:
        target = config.target(config.load(config_path), name=name, need_database=False)
        log = target.audit_log
    except errors.ConfigError:
        log = config.AUDIT_LOG
    newest = None
    try:
        for each in (ALL, name):
            for record in audit.read(log, each):
                if record.get("operation") == "run" and (newest is None or record["time"] >= newest["time"]):
                    newest = record
        # One that was interrupted had no time to tell.
        ended = newest and newest["outcome"] != "interrupted" and clock.parse(newest["time"])
    except (OSError, ValueError, KeyError):
        return False
    return bool(ended) and 0 <= clock.seconds_between(ended, clock.now()) <= TOLD_SECONDS


# --- metrics ---------------------------------------------------------------------------------------------------------


def metrics(session):
    """Write the name's metrics for the node exporter, where a directory is configured: {changed, path, text}."""
    from . import looking
    from . import metrics as rendering

    directory = session.config.metrics_dir
    text = rendering.text(*looking.state(session))
    if directory is None:
        return session.result(changed=False, path=None, text=text)
    if not os.path.isdir(directory):
        raise errors.BackupDirInvalid(
            "there is no such directory for metrics",
            path=directory,
            hint="Make it (role monitoring), or correct 'metrics_dir' in the configuration.",
        )
    new = not files.exists(rendering.path_for(directory, session.target.name))
    path = rendering.write(directory, session.target.name, text)
    return session.result(changed=new, path=path, text=text)
