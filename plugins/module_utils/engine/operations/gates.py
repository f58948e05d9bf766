# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the REST API asks for: through the gate, and beside the operations that all callers have."""

from __future__ import annotations

from .. import session as room
from . import backups, call, views


def gate(*, name, config_path=None, caller=None, progress=None):
    """Answer the REST API's requests about one configured name, on the socket that is standard input, until its other
    side closes: {changed, answered}. Raises UsageError for a name that is not configured.
    """
    import socket

    from .. import config, errors
    from ..gate import serve

    loaded = config.load(config_path)
    if name not in [entry["name"] for entry in loaded.databases]:
        raise errors.UsageError(f"no database '{errors.excerpt(name)}' is configured", path=loaded.path)
    about = {"name": name, "config_path": config_path}

    def target():
        return config.target(config.load(config_path), name=name)

    with socket.socket(fileno=0) as connection:
        answered = serve.Gate(connection, target, _doors(about)).serve()
    return {"changed": False, "answered": answered, "warnings": []}


def token(
    *,
    scopes=None,
    subject=None,
    lifetime=300,
    kid=None,
    key_file=None,
    config_path=None,
    caller=None,
    progress=None,
):
    """Have the API's own environment sign a token: {changed, token}. The engine itself knows no cryptography."""
    from .. import errors, issuing

    words = [each for scope in scopes or ("read",) for each in ("--scope", scope)]
    for flag, value in (("--subject", subject), ("--kid", kid), ("--key-file", key_file)):
        words += [flag, value] if value else []
    if lifetime != int(lifetime):
        raise errors.UsageError("the lifetime is whole seconds")
    return {"changed": False, "token": issuing.token([*words, "--lifetime", str(int(lifetime))]), "warnings": []}


def _doors(about):
    """{operation of the gate's vocabulary: what does it}."""

    def named(file):
        return {"backup": file, **about}

    return {
        "state": lambda known, caller: state(known=known, caller=caller, **about),
        "requirements": lambda file, caller: requirements(caller=caller, **named(file)),
        "download": lambda file, caller: download(caller=caller, **named(file)),
        "refused": lambda caller, **facts: refused(caller=caller, **facts, **about),
        "backup": lambda pinned, annotations, caller: backups.backup(
            pinned=pinned, annotations=annotations or None, trigger="api", caller=caller, **about
        ),
        "validate": lambda file, verify, caller: views.validate(backups=[file], verify=verify, caller=caller, **about),
        "test": lambda file, caller: backups.restore(test=True, caller=caller, **named(file)),
        "restore": lambda file, confirmed, caller: backups.restore(force=confirmed, caller=caller, **named(file)),
        "retention": lambda keep_days, max_files, caller: backups.retention(
            keep_days=keep_days, max_files=max_files, caller=caller, **about
        ),
        "delete": lambda file, caller: backups.delete(caller=caller, **named(file)),
    }


def state(*, name, known=None, config_path=None, caller=None, progress=None):
    """All that the API shows of a name: `gate.reading.state`. ``known`` is the version that the caller has."""
    given = call.about(config_path, None, None, name, need_database=False)
    with room.operation("state", given, caller=caller, progress=progress, silent=True) as session:
        from ..gate import reading

        return reading.state(session, known)


def requirements(*, backup, name, config_path=None, caller=None, progress=None):
    """What a restore of the backup needs, without rehearsing it: `requiring.requirements`."""
    given = call.about(config_path, None, None, name)
    with room.operation("requirements", given, caller=caller, progress=progress, silent=True) as session:
        from .. import requiring

        return requiring.requirements(session, backup)


def download(*, backup, name, config_path=None, caller=None, progress=None):
    """Which file is handed out: ({file, stored_bytes, sha256}, its path). Leaves an audit line."""
    given = call.about(config_path, None, None, name, need_database=False)
    with room.operation("download", given, caller=caller, progress=progress) as session:
        from .. import catalog

        entry = catalog.resolve(backup, session.target.backup_dir, session.target.name)
        session.tell(file=entry.file, bytes=entry.stored_bytes)
        known = (entry.manifest or {}).get("sha256")
        return {"file": entry.file, "stored_bytes": entry.stored_bytes, "sha256": known}, entry.path


def refused(*, request, outcome, status, times, name, config_path=None, caller=None, progress=None):
    """Leave the audit line of what the API itself has refused: {changed}. ``request`` is its method and route."""
    given = call.about(config_path, None, None, name, need_database=False)
    with room.operation("request", given, caller=caller, progress=progress) as session:
        session.tell(outcome=outcome, request=request, status=status, times=times)
        return session.result(changed=False)
