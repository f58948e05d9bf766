# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A report on the controller's disk: a directory of its own, which appears when all that belongs into it is there.

The order, and what a crash after each step leaves:

1. The files lie, synced, in the hidden directory ``.ID.partial``: no report, and the next one takes it away.
2. It is renamed to ``ID``: the report is whole; only the trend does not know it.
3. ``history.jsonl`` has its line; ``latest`` leads to the report before.
4. ``latest`` leads to it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os

from ansible_collections.digitalme.backup.plugins.module_utils.engine import errors, files, lock
from ansible_collections.digitalme.backup.plugins.plugin_utils import controlling

from . import history, html, junit, markdown, signature
from .calm import calm

LATEST = "latest"
REPORT = "drill.json"
SUMS = "SHA256SUMS"
_READABLE = 0o644
_PATIENCE = 60


def check(directory, key):
    """Make the directory if need be, and see that a report can be written there and signed. Raises BackupError."""
    controlling.require_writable(directory)
    if key:
        signature.load(key)


@calm
def write(report, directory, key=None):
    """Write the report's files and return their paths, and the warnings that came up by that.

    {directory, json, junit, markdown, html, checksums, signature, public_key (both None without a key), warnings}.
    The report's own ``history`` and ``warnings`` are filled in.
    """
    signing = signature.load(key) if key else None
    with _alone(directory):
        return _write(report, directory, signing)


@contextlib.contextmanager
def _alone(directory):
    """One report at a time in a directory; raises Busy. What lies there unfinished is then nobody's, and goes."""
    path = os.path.join(directory, history.NAME)
    os.close(files.open_append(path, mode=_READABLE))
    descriptor = lock.open_locked(path, _PATIENCE)
    if descriptor is None:
        raise errors.Busy(f"another report has been written there for {_PATIENCE} s", path=path)
    try:
        for name in os.listdir(directory):
            if name.startswith((".drill-", ".gameday-")) and name.endswith(files.PARTIAL):
                files.remove_tree(os.path.join(directory, name))
        yield
    finally:
        os.close(descriptor)


def _write(report, directory, signing):
    earlier, said = history.read(directory)
    report["history"] = [row for row in earlier if row["kind"] == report["kind"]][-history.KEPT :]
    report["warnings"] += said + html.lacking()
    text = (json.dumps(report, ensure_ascii=True, allow_nan=False) + "\n").encode("ascii")
    digest = hashlib.sha256(text).hexdigest()
    row = history.line(report, digest)
    made = {REPORT: text, "junit.xml": junit.render(report), "report.md": markdown.render(report).encode("utf-8")}
    if signing is not None:
        made[REPORT + ".sig"] = signing.sign(text)
        made["drill.pub"] = signature.public_pem(signing)
    evidence = html.Evidence(digest, signature.fingerprint(signing) if signing is not None else None)
    made["report.html"] = html.render(report, [*report["history"], row], evidence).encode("utf-8")
    made[SUMS] = "".join(f"{hashlib.sha256(made[name]).hexdigest()}  {name}\n" for name in sorted(made)).encode("ascii")
    if signing is not None:
        # The page, too, is what was written: by its checksum.
        made[SUMS + ".sig"] = signing.sign(made[SUMS])
    final = _publish(report["id"], directory, made)
    history.append(directory, row)
    files.replace_link(report["id"], os.path.join(directory, LATEST))
    return _paths(final, made)


def _publish(identity, directory, made):
    final = os.path.join(directory, identity)
    working = os.path.join(directory, f".{identity}{files.PARTIAL}")
    try:
        files.make_directory(working, mode=0o755)
        for name, data in made.items():
            files.write_new(os.path.join(working, name), data, mode=_READABLE)
        files.sync_directory(working)
        files.publish(working, final)
    except OSError:
        # A full disk is not to stay full by this.
        files.remove_tree(working)
        raise
    return final


def _paths(final, made):
    names = {
        "json": REPORT,
        "junit": "junit.xml",
        "markdown": "report.md",
        "html": "report.html",
        "checksums": SUMS,
        "signature": REPORT + ".sig",
        "public_key": "drill.pub",
    }
    paths = {key: os.path.join(final, name) if name in made else None for key, name in names.items()}
    return {"directory": final, **paths}
