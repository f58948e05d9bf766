# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Put the engine that is running on the host for good, with its command; or take both away.

The engine ships itself: Ansible has sent it here to run a module, and from there its own sources are written, so there
is one source of it and nothing to copy. The layout, and what a crash after each step leaves:

1. ``HOME/releases/.RELEASE.partial/`` is filled, compiled and synced: nothing uses it, the next install removes it.
2. It is renamed to ``HOME/releases/RELEASE``: complete, not used yet; the next install goes on from here.
3. ``HOME/current`` is exchanged for a link to it, by one rename: programs start from the old release or the new one.
4. Releases other than the new one and the one before it are removed. A run that began before the exchange has resolved
   its link and still finds the rooms that it has yet to import.
5. The command is written by one rename.

RELEASE is the version and a hash of the sources: the same sources are the same release.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pkgutil
import sys
from typing import Any, NamedTuple

from . import __version__, config, errors, files, processes

RELEASES = "releases"
CURRENT = "current"
PACKAGE = "engine"
_OLDEST = (3, 9)
_COMMAND = """#!{python} -I
# Written by the collection digitalme.backup. The link is resolved first: an upgrade must not change a running program.
import os, sys
{environment}sys.path.insert(0, os.path.realpath({current!r}))
from {package}.__main__ import program
program()
"""


class Plan(NamedTuple):
    """What an install is to bring about, and what it would change."""

    home: str
    command: str
    python: str
    config_path: str | None
    release: str
    sources: dict
    changes: tuple

    @property
    def path(self):
        return os.path.join(self.home, RELEASES, self.release)


def sources():
    """{path within the package: bytes} of the running engine, from a directory or a zip file alike."""
    package: Any = sys.modules[__package__]
    found = {}
    for info in _walk(package.__path__, package.__name__ + "."):
        spec: Any = importlib.util.find_spec(info.name)
        relative = info.name[len(package.__name__) + 1 :].replace(".", "/")
        relative += "/__init__.py" if info.ispkg else ".py"
        found[relative] = spec.loader.get_data(spec.origin)
    found["__init__.py"] = package.__spec__.loader.get_data(package.__spec__.origin)
    if "__main__.py" not in found:
        raise errors.BackupError("the engine that runs here has no command line", hint="This is a defect: report it.")
    return found


def _walk(paths, prefix):
    for info in pkgutil.iter_modules(paths, prefix):
        yield info
        if info.ispkg:
            spec: Any = importlib.util.find_spec(info.name)
            yield from _walk(spec.submodule_search_locations, info.name + ".")


def plan(home, command, python, config_path=None):
    """What an install into ``home`` with the command at ``command``, run by ``python``, would change.

    ``config_path`` is the configuration that the command is to read, None for the usual one.
    """
    for path, what in ((home, "home"), (command, "command"), (python, "python")):
        if not os.path.isabs(path):
            raise errors.UsageError(f"'{what}' is no absolute path", path=path)
    _version(python)
    shipped = sources()
    release = f"{__version__}-{_digest(shipped)}"
    wanted = Plan(home, command, python, config_path, release, shipped, ())
    changes = []
    if not _complete(wanted):
        changes.append(f"release {release}")
    if _link(os.path.join(home, CURRENT)) != os.path.join(RELEASES, release):
        changes.append(f"{CURRENT} -> {release}")
    if _read(command) != _command_text(wanted):
        changes.append(command)
    return wanted._replace(changes=tuple(changes))


def _digest(shipped):
    digest = hashlib.sha256()
    for name in sorted(shipped):
        digest.update(name.encode() + b"\0" + hashlib.sha256(shipped[name]).digest())
    return digest.hexdigest()[:12]


def _complete(wanted):
    """Whether the release is there, unchanged and compiled for the Python that is to run it."""
    root = os.path.join(wanted.path, PACKAGE)
    if any(_read(os.path.join(root, *name.split("/"))) != content for name, content in wanted.sources.items()):
        return False
    return _read(os.path.join(wanted.path, "compiled-by")) == _compiler(wanted).encode()


def _compiler(wanted):
    """What tells one Python from another: its program and what that says of itself."""
    return f"{wanted.python} {_version(wanted.python)}\n"


def _version(python):
    asked = "import sqlite3, sys; print('%d.%d.%d' % sys.version_info[:3])"
    try:
        done = processes.run([python, "-I", "-c", asked])
    except OSError as error:
        raise errors.UsageError(f"this Python cannot be run ({error})", path=python) from error
    if done.returncode:
        cause = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise errors.UsageError(f"this Python cannot run the engine ({cause})", path=python)
    version = done.stdout.strip()
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
        raise errors.UsageError(f"this is Python {version}; 3.9 or newer is needed", path=python)
    return version


def _command_text(wanted):
    current = os.path.join(wanted.home, CURRENT)
    environment = ""
    if wanted.config_path not in (None, config.PATH):
        environment = f"os.environ.setdefault('DIGITALME_BACKUP_CONFIG', {wanted.config_path!r})\n"
    return _COMMAND.format(python=wanted.python, current=current, package=PACKAGE, environment=environment).encode()


def apply(wanted):
    """Carry the plan out, in the order of this room's first lines."""
    if not wanted.changes:
        return
    releases = os.path.join(wanted.home, RELEASES)
    files.make_directory(releases, mode=0o755)
    if not _complete(wanted):
        _write_release(wanted, releases)
    link = os.path.join(wanted.home, CURRENT)
    before = os.path.basename(_link(link) or "")
    if before != wanted.release:
        files.replace_link(os.path.join(RELEASES, wanted.release), link)
        _remove_others(releases, {wanted.release, before})
    files.make_directory(os.path.dirname(wanted.command), mode=0o755)
    if _read(wanted.command) != _command_text(wanted):
        files.write_atomically(wanted.command, _command_text(wanted), mode=0o755)


def _write_release(wanted, releases):
    partial = os.path.join(releases, f".{wanted.release}{files.PARTIAL}")
    files.remove_tree(partial)
    for name, content in sorted(wanted.sources.items()):
        path = os.path.join(partial, PACKAGE, *name.split("/"))
        files.make_directory(os.path.dirname(path), mode=0o755)
        files.write_new(path, content, mode=0o644)
    _compile(wanted, os.path.join(partial, PACKAGE))
    files.write_new(os.path.join(partial, "compiled-by"), _compiler(wanted).encode(), mode=0o644)
    files.sync_directory(partial)
    files.remove_tree(wanted.path)  # One that was changed by hand, or compiled for another Python.
    files.replace(partial, wanted.path)


def _compile(wanted, package):
    """Byte code for the host's own Python: the command starts in half the time. It is never checked against the
    sources, which nobody changes here.
    """
    words = [wanted.python, "-I", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", package]
    done = processes.run(words)
    if done.returncode:
        raise errors.BackupError(f"the engine cannot be compiled ({done.stdout.strip()[:500]})", path=wanted.python)


def _remove_others(releases, kept):
    for name in sorted(os.listdir(releases)):
        if name not in kept:
            files.remove_tree(os.path.join(releases, name))


def removal(home, command):
    """What taking the engine away would remove."""
    return tuple(
        path for path in (command, os.path.join(home, CURRENT), os.path.join(home, RELEASES)) if files.exists(path)
    )


def remove(paths):
    """Take the engine away: the command first, so that nothing starts that has lost its rooms."""
    for path in paths:
        if os.path.isdir(path) and not os.path.islink(path):
            files.remove_tree(path)
        else:
            files.remove(path)
        files.sync_directory(os.path.dirname(path))


def _link(path):
    try:
        return os.readlink(path)
    except OSError:
        return None


def _read(path):
    try:
        descriptor = files.open_regular(path)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as source:
        return source.read()
