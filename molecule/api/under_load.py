# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""On the host: restores by API while the applications commit, also when the service is killed, and the rates."""

from __future__ import annotations

import concurrent.futures
import json
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request

TOKEN = subprocess.run(
    ["digitalme-backup", "token", "--scope", "admin", "--subject", "ada", "--lifetime", "600"],
    check=True,
    capture_output=True,
    text=True,
).stdout.strip()


def ask(method, path, **headers):
    """(status, headers, body)."""
    headers["Authorization"] = f"Bearer {TOKEN}"
    request = urllib.request.Request(f"http://127.0.0.1:5000{path}", method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, answer.headers, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, error.headers, json.loads(error.read())


def rows(path, upto=None):
    """What the application has written: all of it up to an entry, and how many there are."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=60)
    connection.execute("BEGIN")
    count = connection.execute("SELECT count(*) FROM ledger").fetchone()[0]
    kept = connection.execute("SELECT * FROM ledger WHERE id <= ? ORDER BY id", (upto or count,)).fetchall()
    connection.close()
    return count, kept


def more(path, than):
    """Wait until the application has written more."""
    deadline = time.monotonic() + 60
    while rows(path)[0] <= than:
        assert time.monotonic() < deadline, "the application does not write"
        time.sleep(0.05)


def restored(name, kill):
    """Back up, wait for more, restore: the rows are those of the backup, and what was written since."""
    live = f"/srv/{name}/{name}.db"
    status, _headers, made = ask("POST", f"/api/backup?database={name}")
    assert status == 201, made
    backed_up, then = rows(made["backupPath"])
    more(live, backed_up + 20)
    before = rows(live)[1]
    path = f"/api/backup/restore/{made['fileName']}?confirmRestore=true&database={name}"
    status, headers, begun = ask("POST", path, Prefer="respond-async")
    assert status == 202, begun
    if kill:
        subprocess.run(["systemctl", "kill", "--signal=KILL", "digitalme-api.service"], check=True)
    deadline = time.monotonic() + 120
    while True:
        assert time.monotonic() < deadline, "the restore does not end"
        time.sleep(0.3)  # Whoever asks without a pause is soon told to wait.
        try:
            status, _headers, found = ask("GET", headers["Location"])
        except OSError:
            continue  # systemd starts it again.
        if status == 200 and found["status"] != "running":
            break
    assert found["status"] == "succeeded" and found["requestedBy"] == "ada", found
    assert found["result"]["details"]["databaseReplaced"] and found["result"]["details"]["integrityVerified"]
    now, after = rows(live, len(before))
    assert after[:backed_up] == then, "the rows are not those of the backup"
    assert after[backed_up:] != before[backed_up:], "what was written between backup and restore is still there"
    more(live, now)


for name, kill in (("shop", False), ("ledger", False), ("shop", True)):
    restored(name, kill)

# 12 a minute: those of the restores above are among them. All at once, so that a slow host is no obstacle.
with concurrent.futures.ThreadPoolExecutor(14) as everybody:
    answers = list(everybody.map(lambda _number: ask("POST", "/api/backup/test-recovery/latest"), range(14)))
late = [headers for status, headers, _answer in answers if status == 429]
assert late and 200 in [status for status, _headers, _answer in answers], answers
assert 1 <= int(late[0]["Retry-After"]) <= 61
assert ask("GET", "/api/backup/health")[0] == 200
