# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lies: each kind changes one thing in a house that is put up, and says which houses and doors it is meant for.

``tell(numbers, house, file)`` changes the place; ``file`` is the backup that is lied about. The same seed tells the
same lie.
"""

from __future__ import annotations

import os
import socket
from typing import Callable, NamedTuple

import bending
import documents
import originals
from engine.restore import journal

STORED = ("validate", "test", "restore", "look", "command")
BARE = ("validate", "adopt", "test", "restore", "command")
LIVE = ("back up", "restore over")
RAW = ("undo",)


class Lie(NamedTuple):
    """``share`` is how often it is told among the others; ``compressed`` None: of any house."""

    share: float
    tell: Callable
    doors: tuple = STORED
    compressed: bool | None = None


def _write(path, raw):
    with open(path, "wb") as file:
        file.write(raw)


def manifest_path(house, file):
    return house.path(file) + ".json"


# --- the bytes of the backup -----------------------------------------------------------------------------------------


def _stored(bend):
    def tell(numbers, house, file):
        _write(house.path(file), bend(numbers, house.stored[file]))

    return tell


def _packed_anew(numbers, house, file):
    """Other content, compressed as it should be."""
    bend = numbers.choice(list(bending.CONTENT.values()))
    _write(house.path(file), originals.packed(bend(numbers, house.true[file][0]), file))


def _exchanged(numbers, house, file):
    """The file of another backup in its place, and its own in that one's."""
    other = numbers.choice([name for name in house.stored if name != file])
    _write(house.path(file), house.stored[other])
    _write(house.path(other), house.stored[file])


def _bare(bend):
    """Without a manifest nothing tells what the content was: it may never be called verified."""

    def tell(numbers, house, file):
        raw = bend(numbers, house.true[file][0])
        _write(house.path(file), originals.packed(raw, file))
        os.unlink(manifest_path(house, file))

    return tell


def _live(bend):
    def tell(numbers, house, file):
        with open(house.live, "rb") as database:
            raw = database.read()
        _write(house.live, bend(numbers, raw))

    return tell


def _log_of_live(bend):
    def tell(numbers, house, _file):
        main, log = house.live_in_wal
        _write(house.live, main)
        _write(house.live + "-wal", bend(numbers, log))

    return tell


def _raw_copy(bend, suffix):
    """What a restore kept of a database that SQLite could not read, bent; without ``bend`` a part of it is gone."""

    def tell(numbers, house, _file):
        house.put_up(house.template_of_raw)
        path = house.path(house.raw) + suffix
        if bend is None:
            os.unlink(path)
        else:
            _write(path, bend(numbers, house.damaged[suffix]))

    return tell


# --- its manifest ----------------------------------------------------------------------------------------------------


def _read(path):
    with open(path, "rb") as file:
        return file.read()


def _manifest(change):
    def tell(numbers, house, file):
        path = manifest_path(house, file)
        other = manifest_path(house, numbers.choice([name for name in house.stored if name != file]))
        _write(path, change(numbers, _read(path), _read(other)))

    return tell


def _manifests_swapped(numbers, house, file):
    other = numbers.choice([name for name in house.stored if name != file])
    paths = manifest_path(house, file), manifest_path(house, other)
    raws = [_read(path) for path in paths]
    fit = numbers.choice(documents.FITTED)
    for path, raw, name in zip(paths, reversed(raws), (file, other)):
        _write(path, documents.fitted(raw, fit, name, house.stored[name]))


def _manifest_and_content(numbers, house, file):
    """Both: so that what the manifest no longer says is what would have told."""
    path = manifest_path(house, file)
    _write(path, documents.sums_weakened(numbers, _read(path)))
    bends = bending.COMPRESSED if house.compression != "none" else bending.CONTENT
    _write(house.path(file), numbers.choice(list(bends.values()))(numbers, house.stored[file]))


# --- what lies beside ------------------------------------------------------------------------------------------------


def _plant(numbers, house, path):
    """A sidecar: of another database, of one that went another way from the same backup, noise, or an empty one."""
    pick = numbers.randrange(3)
    if pick == 0:
        suffix, raw = "-wal", numbers.choice((house.wal, house.own_wal))
    elif pick == 1:
        suffix, raw = "-journal", numbers.choice((house.journal, house.own_journal))
    else:
        suffix, raw = numbers.choice(("-wal", "-journal", "-shm")), numbers.randbytes(4096)
    if numbers.randrange(3) == 0:
        raw = bending.bits(numbers, raw)
    if numbers.randrange(6) == 0:
        raw = raw[: numbers.randrange(len(raw))]
    _write(path + suffix, raw)


def _beside_backup(numbers, house, file):
    _plant(numbers, house, house.path(file))


def _beside_database(numbers, house, file):
    # Also beside the names that a restore uses.
    _plant(
        numbers,
        house,
        numbers.choice((house.live, house.live, journal.staged_path(house.live), journal.aside_path(house.live))),
    )


# --- something else in its place -------------------------------------------------------------------------------------


def _something_else(numbers, house, file):
    path = numbers.choice((house.path(file), manifest_path(house, file)))
    kept = os.path.join(house.place, "elsewhere")
    os.rename(path, kept)
    pick = numbers.choice(("fifo", "socket", "directory", "link", "other", "device", "dangling", "loop"))
    if pick == "fifo":
        os.mkfifo(path)
    elif pick == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            # Names of sockets are short.
            short = f"/tmp/digitalme-test-{os.getpid()}.sock"
            server.bind(short)
            os.rename(short, path) if os.stat(short).st_dev == os.stat(house.place).st_dev else os.unlink(short)
    elif pick == "directory":
        os.mkdir(path)
    else:
        others = [house.path(name) for name in house.stored if name != file]
        lead = {"link": kept, "other": others[0], "device": "/dev/zero", "dangling": "/nowhere/at/all", "loop": path}
        os.symlink(lead[pick], path)


# --- bombs -----------------------------------------------------------------------------------------------------------


def _bomb(numbers, house, file):
    """What expands to far more than it should, with or without a manifest that knows of it."""
    raw = documents.bomb(numbers, file)
    _write(house.path(file), raw)
    path = manifest_path(house, file)
    fit = numbers.choice((None, *documents.FITTED_TO_BOMBS))
    if fit is None:
        os.unlink(path)
    else:
        _write(path, documents.fitted(_read(path), fit, file, raw))


LIES: dict = {
    **{f"content: {name}": Lie(3, _stored(bend), compressed=False) for name, bend in bending.CONTENT.items()},
    **{f"compressed: {name}": Lie(3, _stored(bend), compressed=True) for name, bend in bending.COMPRESSED.items()},
    "compressed anew": Lie(4, _packed_anew, compressed=True),
    "files exchanged": Lie(2, _exchanged),
    "manifest: field changed": Lie(16, _manifest(documents.field_changed)),
    "manifest: field removed": Lie(4, _manifest(documents.field_removed)),
    "manifest: text": Lie(6, _manifest(documents.text_changed)),
    "manifest: swapped": Lie(4, _manifests_swapped),
    "manifest and content": Lie(8, _manifest_and_content),
    "beside the backup": Lie(4, _beside_backup),
    "beside the database": Lie(4, _beside_database),
    "something else in its place": Lie(3, _something_else),
    "bomb": Lie(1, _bomb, compressed=True),
    **{f"no manifest: {name}": Lie(1, _bare(bend), BARE) for name, bend in bending.CONTENT.items()},
    **{f"live database: {name}": Lie(1, _live(bend), LIVE, False) for name, bend in bending.CONTENT.items()},
    **{
        f"log of the live database: {name}": Lie(2, _log_of_live(bend), LIVE, False)
        for name, bend in bending.LOG.items()
    },
    **{f"raw copy: {name}": Lie(0.5, _raw_copy(bend, ""), RAW, False) for name, bend in bending.CONTENT.items()},
    **{f"log of a raw copy: {name}": Lie(1, _raw_copy(bend, "-wal"), RAW, False) for name, bend in bending.LOG.items()},
    "log of a raw copy: gone": Lie(0.1, _raw_copy(None, "-wal"), RAW, False),
}
