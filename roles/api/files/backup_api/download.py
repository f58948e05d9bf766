# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Handing out a backup: the open file that the gate has given, as a whole or a range of it."""

from __future__ import annotations

import os
import re

from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from .problems import Problem

_CHUNK = 256 * 1024
_SHA256 = re.compile(r"[0-9a-f]{64}")
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def answer(facts, descriptor, header, condition):
    """The response for a request with the headers Range and If-Range. It closes the descriptor, also when it fails."""
    size, sha256 = facts["stored_bytes"], facts["sha256"]
    # It comes from a manifest, and becomes a header.
    tag = f'"{sha256}"' if isinstance(sha256, str) and _SHA256.fullmatch(sha256) else None
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": "no-store",
        "Content-Disposition": f'attachment; filename="{_plain(facts["file"])}"',
    }
    if tag:
        headers["ETag"] = tag
    try:
        part = _part(header, size) if header and (condition is None or condition == tag) else None
    except Problem:
        os.close(descriptor)
        raise
    start, end = part or (0, size)
    headers["Content-Length"] = str(end - start)
    if part:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    content = _File(descriptor, start, end)
    return StreamingResponse(content, 206 if part else 200, headers, "application/octet-stream")


def _plain(file):
    return "".join(c if c.isascii() and c.isprintable() and c not in '"\\' else "_" for c in file)


def _part(header, size):
    """(start, end) of the one range that is asked for; None for what is no range that we know, or several."""
    match = _RANGE.fullmatch(header.strip())
    if not match or match.group(0) == "bytes=-":
        return None
    first, last = match.groups()
    if first == "":
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
    if last and first and int(last) < int(first):
        return None
    if start >= size or start >= end:
        raise Problem(
            416, "range_not_satisfiable", f"the file has {size} bytes", headers={"Content-Range": f"bytes */{size}"}
        )
    return start, end


class _File:
    """The bytes of a part of an open file, read outside the event loop; closed when it ends or nobody wants more."""

    def __init__(self, descriptor, start, end):
        # As an object: an answer that is never begun is closed with it.
        self._file = os.fdopen(descriptor, "rb", buffering=0)
        self._at = start
        self._end = end

    def __aiter__(self):
        return self._chunks()

    async def _chunks(self):
        try:
            while self._at < self._end:
                count = min(_CHUNK, self._end - self._at)
                data = await run_in_threadpool(os.pread, self._file.fileno(), count, self._at)
                if not data:
                    raise OSError("the file has become shorter while it was sent")
                self._at += len(data)
                yield data
        finally:
            self._file.close()
