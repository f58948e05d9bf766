# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who can read and change what must stay as it is: configuration, engine, backups, state, the audit log.

Only names and rights are looked at, never followed: a link where a file should be is a finding.
"""

from __future__ import annotations

import os
import stat

from .. import catalog, config, errors
from .finding import finding

_WRITABLE_BY_OTHERS = stat.S_IWOTH
_OF_OTHERS = stat.S_IRWXO
# Where the role `install` puts what root runs; another place is known to the command that runs from there.
_USUAL = ("/opt/digitalme-backup", "/usr/local/bin/digitalme-backup")
# So many names of a kind are told.
_TOLD = 5


def of_host(configuration):
    """Findings about what the host has once: its configuration, the secrets beside it, its audit log."""
    if os.name == "nt":
        return []
    found = []
    if configuration.path:
        found += _trusted(configuration.path, "config", "the configuration says what is backed up and restored")
        found += _secret(config.notifications_path(configuration.path))
    found += _engine()
    if configuration.audit_log and os.path.lexists(configuration.audit_log):
        found += _no_others(configuration.audit_log, "audit_log", "the audit log names people and files")
    return found


def _engine():
    """Whoever can write what root runs is root."""
    own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    loose = sorted({path for top in (own, *_USUAL) for path in _below(top) if _is_anybodys(path)})
    if not loose:
        return []
    return [
        finding(
            "engine_writable",
            "high",
            f"others than root can write {len(loose)} files of the engine: {_shown(loose)}",
            "Whoever changes them has what root runs every night.",
            "Find out who has changed what, then run install.yml again.",
        )
    ]


def _below(top):
    yield top
    for directory, directories, names in os.walk(top):
        yield from (os.path.join(directory, name) for name in (*directories, *names))


def _is_anybodys(path):
    facts = _facts(path)
    if facts is None or stat.S_ISLNK(facts.st_mode):
        return False
    return bool(facts.st_mode & _WRITABLE_BY_OTHERS) or facts.st_uid not in _privileged()


def _privileged():
    """Who may own what the reviewing user runs: root, and this user."""
    return {0, os.geteuid()}


def of_name(target):
    """Findings about one name's backups and state."""
    if os.name == "nt":
        return []
    found = _no_others(
        target.backup_dir, "backup_dir", "who can write there can replace backups, who can read has the data"
    )
    found += _no_others(target.state_dir, "state_dir", "the locks and the journals of restores lie there")
    found += _parents(target.backup_dir)
    listed = [
        (directory, name)
        for directory in sorted({target.backup_dir, target.state_dir})
        for name in sorted(catalog.listing(directory))
    ]
    loose = [os.path.join(directory, name) for directory, name in listed if _is_loose(directory, name)]
    if loose:
        found.append(
            finding(
                "backups_open",
                "high",
                f"{len(loose)} files are links, or others can read or write them: {_shown(loose)}",
                "A backup has all the data of the database, and a changed one is refused when it is needed.",
                "chmod 600 the files, and see who had access; replace a link by the file itself.",
            )
        )
    return found + _foreign(target, listed) + _same_disk(target)


def _shown(paths):
    return ", ".join(errors.show(path) for path in paths[:_TOLD])


def _parents(path):
    """Who can write a directory above can put another one in the place of the backups."""
    above, open_ones = os.path.dirname(path), []
    while above != os.path.dirname(above):
        facts = _facts(above)
        if facts is not None and facts.st_mode & _WRITABLE_BY_OTHERS and not facts.st_mode & stat.S_ISVTX:
            open_ones.append(above)
        above = os.path.dirname(above)
    if not open_ones:
        return []
    return [
        finding(
            "backup_dir_open",
            "high",
            f"everybody can write {_shown(open_ones)}, where the backup directory lies",
            "Whoever can write there can put another directory in its place.",
            f"chmod o-w {errors.show(open_ones[0])}",
        )
    ]


def _foreign(target, listed):
    """What belongs to somebody who is neither root nor the owner of the database or of the backup directory."""
    owners = _privileged()
    for place in (target.database, target.database and os.path.dirname(target.database)):
        facts = place and _facts(place)
        owners |= {facts.st_uid} if facts else set()
    paths = [target.backup_dir, *(os.path.join(directory, name) for directory, name in listed)]
    strange = []
    for path in paths:
        facts = _facts(path)
        if facts is not None and facts.st_uid not in owners:
            strange.append(f"{errors.show(path)} (uid {facts.st_uid})")
    if not strange:
        return []
    return [
        finding(
            "foreign_owner",
            "high",
            f"{len(strange)} files belong to somebody else than root or the database's owner: "
            + ", ".join(strange[:_TOLD]),
            "Their owner can read and change them whatever their mode is.",
            "Find out how they came there; chown them to the owner of the database.",
        )
    ]


def _is_loose(directory, name):
    facts = _facts(os.path.join(directory, name))
    if facts is None or stat.S_ISDIR(facts.st_mode):
        return False
    return stat.S_ISLNK(facts.st_mode) or bool(facts.st_mode & _OF_OTHERS)


def _facts(path):
    try:
        return os.lstat(path)
    except OSError:
        return None


def _trusted(path, identity, why):
    """Nobody but root may change it, nor the directory that it lies in; nor, of a link, what it leads to."""
    real = os.path.realpath(path)
    found = []
    for place in dict.fromkeys((path, os.path.dirname(path), real, os.path.dirname(real))):
        facts = _facts(place)
        if facts is None or stat.S_ISLNK(facts.st_mode):
            continue
        loose = facts.st_mode & _WRITABLE_BY_OTHERS and not facts.st_mode & stat.S_ISVTX
        if loose or facts.st_uid not in _privileged():
            who = "everybody" if loose else f"the user {facts.st_uid}"
            found.append(
                finding(
                    f"{identity}_writable",
                    "high",
                    f"{who} can write {errors.show(place)} (mode {stat.S_IMODE(facts.st_mode):04o})",
                    f"Whoever changes it has what root runs: {why}.",
                    f"chown root, chmod o-w {errors.show(place)}, and look at what has changed.",
                )
            )
    return found


def _secret(path):
    facts = _facts(os.path.realpath(path))
    if facts is None or not facts.st_mode & _OF_OTHERS:
        return []
    return [
        finding(
            "secrets_open",
            "high",
            f"everybody can read {errors.show(path)} (mode {stat.S_IMODE(facts.st_mode):04o})",
            "It can hold the secrets of the channels.",
            f"chmod 640 {errors.show(path)}, and change the secrets in it.",
        )
    ]


def _no_others(path, identity, why):
    facts = _facts(path)
    if facts is None or not (facts.st_mode & _OF_OTHERS or stat.S_ISLNK(facts.st_mode)):
        return []
    kind = "is a symbolic link" if stat.S_ISLNK(facts.st_mode) else f"has mode {stat.S_IMODE(facts.st_mode):04o}"
    return [
        finding(
            f"{identity}_open",
            "high",
            f"{errors.show(path)} {kind}",
            f"Others have access to it: {why}.",
            f"chmod o-rwx {errors.show(path)}; replace a link by what it leads to.",
        )
    ]


def _same_disk(target):
    """A disk that fails takes the database and all its backups at once."""
    if not target.database:
        return []
    try:
        same = os.stat(os.path.dirname(target.database)).st_dev == os.stat(target.backup_dir).st_dev
    except OSError:
        return []
    if not same:
        return []
    return [
        finding(
            "same_filesystem",
            "medium",
            f"the backups lie on the filesystem of the database ({errors.show(target.backup_dir)})",
            "One broken disk takes both.",
            "Bring them to a vault (fetch.yml) regularly, or give backup_dir on another disk.",
        )
    ]
