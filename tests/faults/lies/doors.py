# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The public doors at which a lie is told, and what must be true behind each of them.

A door returns ``accepted``, ``accepted as unverified`` or ``refused: CODE``; it raises Believed where the engine did
what it must not: called verified what is not what was backed up, changed something while it refused, or failed with an
error that is none of its own.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import stat

import originals
from engine import __main__ as command_line
from engine import catalog, errors, manifest, operations

NAME = "app"
ACCEPTED, UNVERIFIED = "accepted", "accepted as unverified"
_RECORDS = ("verification", "restore_test")
STATUSES = range(9)


class Believed(AssertionError):
    """The engine believed a lie, or stumbled over it."""


def require(true, *said):
    if not true:
        raise Believed(*said)


@contextlib.contextmanager
def _nothing_but_ours():
    """Any exception that is none of the engine's own is a Believed."""
    try:
        yield
    except (errors.BackupError, Believed):
        raise
    except Exception as error:
        raise Believed(f"{type(error).__name__}: {error}") from error


def _told(result):
    """What an operation returned is what the command line can write: one object of JSON."""
    with _nothing_but_ours():
        json.dumps(result, allow_nan=False)
        json.dumps(result, indent=2)
    return result


def _refused(error):
    unprintable = [char for char in str(error) if not (char.isprintable() or char == "\n")]
    require(error.error_code in errors.CODES and not unprintable, "an error that cannot be shown", str(error))
    _told(error.as_result())
    return f"refused: {error.error_code}"


# --- what lies there -------------------------------------------------------------------------------------------------


def look_at(top):
    """{path: what it is and its bytes} of everything below a directory but the engine's state."""
    found = {}
    for directory, directories, names in os.walk(top):
        directories[:] = [name for name in directories if name != catalog.STATE]
        for name in (*names, *directories):
            path = os.path.join(directory, name)
            facts = os.lstat(path)
            found[path] = stat.S_IFMT(facts.st_mode), _bytes(path, facts)
    return found


def _bytes(path, facts):
    if stat.S_ISLNK(facts.st_mode):
        return os.readlink(path)
    if not stat.S_ISREG(facts.st_mode):
        return None
    with open(path, "rb") as file:
        return file.read()


def _finite(text):
    return float(text) if math.isfinite(float(text)) else None


def _unrecorded(raw):
    """A manifest without what a verification or a restore test writes into it; other bytes as they are."""
    try:
        # The engine writes null for a number that JSON has not.
        document = json.loads(raw, parse_constant=lambda _text: None, parse_float=_finite)
    except (ValueError, TypeError, RecursionError):
        return raw
    if not isinstance(document, dict):
        return raw
    return {key: value for key, value in document.items() if key not in _RECORDS}


def _require_backups_kept(house, before):
    """Everything that was in the backup directory is there as it was, but for what manifests record of tests."""
    after = look_at(house.backups)
    for path, (kind, raw) in before.items():
        require(path in after, "it is gone", path)
        if after[path] != (kind, raw):
            manifests = path.endswith(manifest.SUFFIX) and after[path][0] == kind
            require(manifests and repr(_unrecorded(after[path][1])) == repr(_unrecorded(raw)), "it was changed", path)


def _live_before(house):
    """What there is of the live database; a list of its rows where SQLite may have to settle something beside it."""
    beside = any(os.path.exists(house.live + suffix) for suffix in ("-wal", "-journal", "-shm"))
    return look_at(os.path.dirname(house.live)), [originals.rows(house.live)] if beside else []


def _require_live_kept(house, before, rows_before):
    """The live database is byte for byte what it was; or row for row, where SQLite had to settle what lay beside it."""
    if look_at(os.path.dirname(house.live)) != before:
        require(rows_before == [originals.rows(house.live)], "the live database was changed")


def _true_content(house, file):
    return originals.content(house.path(file)) == house.true[file][0]


def _listed(house, file):
    with _nothing_but_ours(), contextlib.suppress(errors.BackupNotFound):
        entry = catalog.read_entry(house.path(file), NAME)
        return entry.status if entry else "nothing"
    return "nothing"


# --- doors -----------------------------------------------------------------------------------------------------------


def validate(house, file, _numbers, adopt=False):
    before = look_at(house.backups)
    try:
        with _nothing_but_ours():
            result = operations.validate(backup_dir=house.backups, name=NAME, backups=[file], adopt=adopt)
    except errors.BackupError as error:
        if not adopt:
            _require_backups_kept(house, before)
        if isinstance(error, errors.BackupInvalid):
            require(_listed(house, file) != "verified", "it was refused and is still listed as verified")
        return _refused(error)
    (row,) = _told(result)["backups"]
    require(row["status"] in ("ok", "none"), "validate returned a row that is not ok", row["status"])
    if row["adopted"]:
        unpacked = os.path.join(house.place, "adopted.db")
        with open(unpacked, "wb") as target:
            target.write(originals.content(house.path(file)))
        require(originals.rows(unpacked) is not None, "it was adopted, and SQLite does not find it sound")
        return "adopted"
    _require_backups_kept(house, before)
    if _listed(house, file) == "verified":
        require(_true_content(house, file), "it is listed as verified and is not what was backed up")
        return ACCEPTED
    require(
        any(file in text for text in result["warnings"]),
        "it passed without having been compared with anything, and nobody is told",
    )
    return UNVERIFIED


def adopt(house, file, numbers):
    return validate(house, file, numbers, adopt=True)


def test(house, file, _numbers):
    backups, live = look_at(house.backups), look_at(os.path.dirname(house.live))
    try:
        with _nothing_but_ours():
            result = operations.restore(backup_dir=house.backups, name=NAME, backup=file, test=True)
    except errors.BackupError as error:
        require(error.details.get("recoverable") is not True or not isinstance(error, errors.BackupInvalid), error)
        return _refused(error)
    finally:
        _require_backups_kept(house, backups)
        require(look_at(os.path.dirname(house.live)) == live, "a test touched the live database")
    return _accepted(house, _told(result))


def _accepted(house, result):
    """What a restore or its test says of the backup that it took."""
    taken = result["backup"]
    if taken["status"] != "verified":
        true = taken["file"] in house.true and _true_content(house, taken["file"])
        require(true or result["warnings"], "an unverified backup was taken, and nobody is told", taken["file"])
        return UNVERIFIED
    require(taken["file"] in house.true, "a backup of another name was taken", taken["file"])
    require(_true_content(house, taken["file"]), "it was taken as verified and is not what was backed up")
    return ACCEPTED


def restore(house, file, numbers):
    return _restore(house, numbers.choice((file, "latest")))


def _restore(house, reference):
    backups, live, rows_before = look_at(house.backups), *_live_before(house)
    try:
        with _nothing_but_ours():
            result = operations.restore(
                database=house.live, backup_dir=house.backups, name=NAME, backup=reference, force=True, busy_timeout=2
            )
    except errors.BackupError as error:
        _require_live_kept(house, live, rows_before)
        return _refused(error)
    finally:
        _require_backups_kept(house, backups)
    outcome = _accepted(house, _told(result))
    now = originals.rows(house.live)
    require(now is not None, "the restored database is not sound")
    if outcome == ACCEPTED:
        require(now == house.true[result["backup"]["file"]][1], "what was restored is not what was backed up")
    return outcome


def restore_over(house, _file, _numbers):
    """The live database is the damaged one: it is replaced by a good backup, or stays as it is."""
    return _restore(house, "latest")


def back_up(house, _file, _numbers):
    """The live database is the damaged one: a verified backup of it is sound, and all that SQLite reads."""
    backups, truth = look_at(house.backups), originals.rows(house.live)
    try:
        with _nothing_but_ours():
            made = operations.backup(database=house.live, backup_dir=house.backups, name=NAME, busy_timeout=2)
    except errors.BackupError as error:
        return _refused(error)
    finally:
        _require_backups_kept(house, backups)
    require(_told(made)["backup"]["verification"]["status"] == "ok", "a backup that is not sound was returned")
    require(truth is not None, "it was called verified, and SQLite finds the database unsound")
    require(originals.rows(made["backup"]["path"]) == truth, "the backup is not what SQLite reads in the database")
    return ACCEPTED


def undo(house, _file, _numbers):
    """What a restore kept as raw bytes comes back byte for byte, or not at all."""
    backups, live = look_at(house.backups), look_at(os.path.dirname(house.live))
    try:
        with _nothing_but_ours():
            result = operations.restore(
                database=house.live, backup_dir=house.backups, name=NAME, undo=True, force=True, busy_timeout=2
            )
    except errors.BackupError as error:
        require(look_at(os.path.dirname(house.live)) == live, "it was refused, and the live database was changed")
        return _refused(error)
    finally:
        _require_backups_kept(house, backups)
    _told(result)
    for suffix, raw in house.damaged.items():
        require(os.path.exists(house.live + suffix), "a part of what was kept did not come back", suffix)
        with open(house.live + suffix, "rb") as file:
            require(file.read() == raw, "what came back is not what was kept", suffix)
    return ACCEPTED


def command(house, file, numbers):
    """The command line itself: a documented exit status, one object of JSON, and never a traceback."""
    words = numbers.choice((["validate", file], ["list"], ["test", file], ["restore", file, "--force"], ["health"]))
    if words[0] in ("restore", "health"):
        words = [*words, "--database", house.live]
    backups, as_json = look_at(house.backups), numbers.randrange(2)
    words = [*words, "--backup-dir", house.backups, "--name", NAME, *(["--json"] if as_json else [])]
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = command_line.main(words)
    except (Exception, SystemExit) as error:
        raise Believed(f"{words[0]}: {type(error).__name__}: {error}") from error
    require(status in STATUSES, "a status that is not documented", words, status)
    out.getvalue().encode("utf-8", "surrogateescape")
    if as_json:
        found = json.loads(out.getvalue(), parse_constant=Believed)
        require(isinstance(found, dict), "not one object of JSON")
    _require_backups_kept(house, backups)
    if status == 0 and file in words and _listed(house, file) == "verified":
        require(_true_content(house, file), "status 0 for what is not what was backed up", words)
    return f"{words[0]}: status {status}"


def look(house, file, numbers):
    """One of the doors that read the manifests and not the content."""
    backups, live, rows_before = look_at(house.backups), *_live_before(house)
    common = {"backup_dir": house.backups, "name": NAME}
    asked = {
        "info": lambda: operations.info(**common),
        "health": lambda: operations.health(database=house.live, **common),
        "statistics": lambda: operations.statistics(**common),
        "retention": lambda: operations.retention(check=True, keep_days=1, max_files=1, **common),
        "metrics": lambda: operations.metrics(**common),
        "backup": lambda: operations.backup(database=house.live, check=True, skip_if_unchanged=True, **common),
        "plan": lambda: operations.restore(
            database=os.path.dirname(house.live) + os.sep,
            backup=numbers.choice(("latest", file)),
            check=True,
            force=True,
            **common,
        ),
    }
    name = numbers.choice(list(asked))
    try:
        with _nothing_but_ours():
            result = asked[name]()
    except errors.BackupError as error:
        outcome = _refused(error)
    except Believed as error:
        raise Believed(f"{name}: {error}") from error.__cause__
    else:
        _told(result)
        outcome = "looked at"
    _require_backups_kept(house, backups)
    _require_live_kept(house, live, rows_before)
    return outcome


DOORS = {
    "validate": validate,
    "adopt": adopt,
    "test": test,
    "restore": restore,
    "look": look,
    "back up": back_up,
    "restore over": restore_over,
    "undo": undo,
    "command": command,
}
