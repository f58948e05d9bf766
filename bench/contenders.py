# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who is measured, and how each is called. Every contender is a function that returns (seconds, peak MiB)."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import sqlite3
import sys

import common

# Where `make bench` puts what Debian has not: borgmatic and litestream.
PEERS = pathlib.Path(os.environ.get("BENCH_PEERS") or common.ROOT / "build" / "bench-peers")
CHECK = 'sqlite3 "$2" "PRAGMA integrity_check" | grep -qx ok'
BY_HAND = 'cp --reflink=never "$1" "$2"; sync "$2"'
BACKUP = 'sqlite3 "$1" ".timeout 60000" ".backup \'$2\'"; sync "$2"'
ONE_SNAPSHOT = (
    "import sys; from engine import snapshot; method, hashing, source, target = sys.argv[1:];"
    "taken = snapshot.take(source, target, method, busy_timeout=60, hashing=hashing == 'hash');"
    "assert taken.method == method, taken.reason;"
    "taken.digest and (taken.digest.hexdigest(), taken.digest.close())"
)


class Missing(Exception):
    """A contender that cannot be had here; the table says so."""


def program(name):
    found = shutil.which(name, path=f"{PEERS / 'bin'}:{os.environ['PATH']}:/usr/sbin")
    if found is None:
        raise Missing(f"{name} is not installed")
    return found


def snapshot(method, hashing=False):
    def take(live, copy):
        copy.touch()
        words = (method, "hash" if hashing else "no", str(live), str(copy))
        return common.run(sys.executable, "-c", ONE_SNAPSHOT, *words, env=common.environment("installed"))

    return take


def laps(live, copy):
    """[[what, seconds]] of one clone with SHA-256, as laps.py tells them."""
    return common.told(common.ROOT / "bench" / "laps.py", live, copy)


def shell(script):
    return lambda live, copy: common.shell(script, live, copy)


def rsync(live, copy):
    return common.run(program("sqlite3_rsync"), str(live), str(copy))


SNAPSHOTS = {
    "clone": snapshot("clone"),
    "clone, SHA-256": snapshot("clone", True),
    "online": snapshot("online"),
    "sqlite3 .backup": shell(BACKUP),
    "VACUUM INTO": shell('rm -f "$2"; sqlite3 "$1" ".timeout 60000" "VACUUM INTO \'$2\'"; sync "$2"'),
    "cp + fsync (not consistent)": shell(BY_HAND),
    "sqlite3_rsync": rsync,
}


# --- whole backups ---------------------------------------------------------------------------------------------------


def ours(*options):
    def backup(live, copy):
        where = ("--backup-dir", copy.parent / "backups", "--disk-limit-percent", 100)
        return common.engine("backup", "--database", live, *where, *options)

    return backup


def restic(live, copy):
    script = (
        'export RESTIC_PASSWORD=x RESTIC_REPOSITORY="$3/restic" RESTIC_CACHE_DIR="$3/cache"; '
        'sqlite3 "$1" ".backup \'$2\'"; "$4" --quiet backup "$2"'
    )
    place, tool = copy.parent / "peer", program("restic")
    start = 'export RESTIC_PASSWORD=x RESTIC_REPOSITORY="$1/restic" RESTIC_CACHE_DIR="$1/cache"; "$2" --quiet init'
    common.shell(start, place, tool)
    return common.shell(script, live, copy, place, tool)


def borgmatic(live, copy):
    place, tool = copy.parent / "peer", program("borgmatic")
    settings = {
        "repositories": [{"path": str(place / "borg")}],
        "sqlite_databases": [{"name": "live", "path": str(live)}],
        "unknown_unencrypted_repo_access_is_ok": True,
        "user_runtime_directory": str(place),
    }
    (place / "config.yaml").write_text(json.dumps(settings), encoding="utf-8")
    environment = {**os.environ, "HOME": str(place), "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}
    environment["PATH"] = f"{pathlib.Path(tool).parent}:{environment['PATH']}"
    common.run(program("borg"), "init", "--encryption", "none", str(place / "borg"), env=environment)
    words = ("--config", str(place / "config.yaml"), "--verbosity", "-1")
    return common.run(tool, "create", *words, env=environment)


def litestream(live, copy):
    # It keeps tables and files of its own in and beside the database, so that it gets one for itself.
    place, tool = copy.parent / "peer", program("litestream")
    own = place / "live.db"
    shutil.copyfile(live, own)
    with sqlite3.connect(own) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    os.sync()
    return common.run(tool, "replicate", "-once", "-force-snapshot", str(own), f"file://{place / 'replica'}")


BACKUPS = {
    "ours, full verification": ours(),
    "ours, quick verification": ours("--verify", "quick"),
    "sqlite3 .backup + integrity_check": shell(f"{BACKUP}; {CHECK}"),
    "restic of a .backup": restic,
    "borgmatic's SQLite hook": borgmatic,
    "litestream, first snapshot": litestream,
}
COMPRESSIONS = {
    "ours": ours(),
    "ours, zstd": ours("--compression", "zstd"),
    "ours, gzip": ours("--compression", "gzip"),
    ".backup, integrity_check, zstd -3 -T0": shell(f'{BACKUP}; {CHECK}; zstd -q -3 -T0 --rm "$2"; sync "$2.zst"'),
    ".backup, integrity_check, gzip -6": shell(f'{BACKUP}; {CHECK}; gzip -6 "$2"; sync "$2.gz"'),
}


# --- looking at a copy, and bringing it back -------------------------------------------------------------------------


def verification(level, otherwise="pass"):
    """Ours at a level; ``otherwise`` is Python that changes something of it before."""
    code = (
        f"import sys; from engine import database, together, verify; {otherwise};"
        "found = verify.verify(sys.argv[2], sys.argv[1]); assert found.status == 'ok', found.errors"
    )

    def check(_live, copy):
        return common.run(sys.executable, "-c", code, level, str(copy), env=common.environment("installed"))

    return check


def _saying(pragma):
    """Python that lets each connection of ours say so when it is made."""
    return (
        "made = database.Connection.opened_on;"
        f"database.Connection.opened_on = lambda self, path: (made(self, path), self.execute('{pragma}').fetchall())"
    )


VERIFICATIONS = {
    "ours, full": verification("full"),
    "ours, full, in one thread": verification("full", "together.processors = lambda: 1"),
    "ours, full, mapped into memory": verification("full", _saying("PRAGMA mmap_size=10000000000")),
    "ours, full, cache of 32 MiB": verification("full", _saying("PRAGMA cache_size=-32768")),
    "ours, quick": verification("quick"),
    "PRAGMA integrity_check": shell(CHECK),
    "PRAGMA quick_check": shell(CHECK.replace("integrity", "quick")),
}


def restore_test(_live, copy):
    return common.engine("test", "latest", "--backup-dir", copy.parent / "backups", "--name", "live")


TESTS = {"ours": restore_test, "cp + integrity_check": shell(f'cp --reflink=never "$1" "$2"; {CHECK}')}


def restore(*options):
    def bring_back(_live, copy):
        where = ("--database", copy.parent / "restored" / "live.db", "--backup-dir", copy.parent / "backups")
        return common.engine("restore", "latest", *where, "--name", "live", "--force", *options)

    return bring_back


def onto(script):
    return lambda live, copy: common.shell(script, live, copy.parent / "restored" / "live.db")


BARE = ("--no-pre-backup", "--verify", "none")
RESTORES = {
    "ours, everything on": restore(),
    "ours, in place, no checks": restore("--strategy", "in_place", *BARE),
    "ours, replacing, no checks": restore("--strategy", "replace", *BARE),
    "ours, replacing, full verification": restore("--strategy", "replace", "--no-pre-backup"),
    "sqlite3 .restore": onto('sqlite3 "$2" ".restore \'$1\'"; sync "$2"'),
    "cp + fsync": onto('cp --reflink=never "$1" "$2.new"; sync "$2.new"; mv "$2.new" "$2"; sync "$(dirname "$2")"'),
}
