# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the REST API of a host has answered, judged.

Nothing of it is believed before its type is checked, and nothing of it is shown but as one printable line.
"""

from __future__ import annotations

import ipaddress
import json
import re
import urllib.parse

from ansible_collections.digitalme.backup.plugins.module_utils.engine import catalog, clock, errors

# Whoever is told to wait longer is told so, instead of being kept waiting.
LONGEST_WAIT = 120
_LONGEST = 400
_OPERATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_LOCAL = "Nothing was changed; correct digitalme_backup_api_url."
_STEPS = {
    401: "Key, algorithm, issuer and audience (digitalme_backup_api_jwt_*) must be those of the API; see the clocks.",
    404: "Check the database (-e database=NAME) and the backup (-e backup=FILE).",
    409: "The host refuses this as things are there: mend what it names, then run it again.",
    423: "Wait until the operation that runs there has ended, then run it again.",
    429: "Wait, then run it again.",
    507: "Free space on the host; everything is as it was.",
}
_ELSE = "Look at the journal of the API on its host, or call whoever has a console there."


def line(value, longest=_LONGEST):
    """Whatever the host has sent, as one printable line of bounded length."""
    text = errors.show(" ".join(str(value).split()))
    return text if len(text) <= longest else text[:longest] + "..."


def url(base, *parts, **query):
    """The address of a route of the API; each part and each value is escaped, and one of None left out.

    Raises UsageError for a base that is no plain https address. Only this machine itself may be asked without TLS.
    """
    base = str(base).strip().rstrip("/")
    try:
        split = urllib.parse.urlsplit(base)
        host, _port = split.hostname, split.port
    except ValueError:
        host = None
        split = urllib.parse.urlsplit("")
    if split.scheme not in ("https", "http") or not host:
        raise errors.UsageError(f"'{line(base)}' is no address such as https://shop-17:5000", hint=_LOCAL)
    if split.username is not None or split.query or split.fragment:
        raise errors.UsageError("the address of the API has more than host, port and path", hint=_LOCAL)
    if split.scheme == "http" and not _is_here(host):
        cause = f"{line(base)} would send the token over the network as plain text"
        raise errors.UsageError(cause, hint="Nothing was sent; give an https:// address in digitalme_backup_api_url.")
    path = "".join("/" + urllib.parse.quote(str(part), safe="") for part in ("api", "backup", *parts))
    given = {key: value for key, value in query.items() if value not in (None, "")}
    return base + path + ("?" + urllib.parse.urlencode(given) if given else "")


def _is_here(host):
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def judged(response, scope="read", listed=False):
    """What the module uri has returned, as {ok, status, body, problem, error_code, uncertain, again, wait}.

    ``body`` is a mapping (or, where ``listed``, a list), and empty unless ``ok``. ``uncertain``: nobody can tell
    whether the request was carried out. ``again``: it was refused for its frequency alone, and may be sent again after
    ``wait`` seconds.
    """
    status = response.get("status", -1)
    status = status if isinstance(status, int) else -1
    body = response.get("json")
    found = {"ok": False, "status": status, "body": [] if listed else {}, "problem": "", "error_code": ""}
    found.update(uncertain=False, again=False, wait=0)
    if 200 <= status < 300:
        if isinstance(body, list if listed else dict):
            return {**found, "ok": True, "body": body}
        problem = f"{_where(response)} answers, but not as the API does. Check digitalme_backup_api_url."
        return {**found, "problem": problem, "uncertain": True}
    told = body if isinstance(body, dict) else {}
    code = told.get("error_code")
    found["error_code"] = code if isinstance(code, str) else ""
    # What stands before the host's gate may give up while the gate goes on: a proxy, or the API itself.
    found["uncertain"] = status < 0 or status in (502, 503, 504) or (status >= 500 and not found["error_code"])
    wait = str(response.get("retry_after", ""))
    if status == 429 and wait.isascii() and wait.isdigit() and len(wait) < 9 and int(wait) <= LONGEST_WAIT:
        found.update(again=True, wait=int(wait))
    return {**found, "problem": _problem(response, status, told, scope)}


def _where(response):
    return line(response.get("url") or "the API", 200)


def _problem(response, status, told, scope):
    if status < 0:
        return _unanswered(response)
    where = _where(response)
    if 300 <= status < 400:
        target = line(response.get("location", "somewhere else"), 200)
        return f"{where} leads on to {target}, where no token is sent. Check digitalme_backup_api_url."
    said = f"{explained(told) or 'it does not say why'} (HTTP {status})"
    if status == 403:
        step = f"The token must have the scope '{scope}': ask whoever keeps the API's key for one."
    else:
        step = _STEPS.get(status, _ELSE)
    next_step = line(told.get("next_step") or "", 200)
    return (
        f"{where}: {said}. {next_step + ' ' if next_step else ''}{'' if next_step and status != 401 else step}".strip()
    )


def _unanswered(response):
    # What a library says of a header that it cannot send has the token in it.
    said = line(re.sub(r"Bearer\s+\S+", "Bearer ...", str(response.get("msg") or "it does not say why")))
    if "CERTIFICATE_VERIFY_FAILED" in said or "certificate verify failed" in said:
        step = (
            "Name the file of the CA that has signed its certificate in digitalme_backup_api_ca; it is never skipped."
        )
    else:
        step = "Check that the host is up, digitalme_backup_api_url, and what lies between."
    return f"{_where(response)} does not answer: {said}. {step}"


def explained(problem):
    """Problem details (RFC 9457) as one line: ``detail (error_code)``."""
    if not isinstance(problem, dict):
        return line(problem) if problem else ""
    text = line(problem.get("detail") or problem.get("title") or "").rstrip(".")
    code = problem.get("error_code")
    return f"{text} ({line(code, 60)})" if code and text else text or line(code or "", 60)


def chosen(backups, reference):
    """{backup, problem} of what the API has listed: ``latest``, a time (the newest not after it), or a file name.

    ``latest`` and a time mean valid regular backups. A file name need not be in the list, which may be but a page.
    """
    reference = str(reference).strip()
    rows = [row for row in backups if isinstance(row, dict) and _is_file_name(row.get("fileName"))]
    for row in rows:
        if row["fileName"] == reference:
            return {"backup": row, "problem": ""}
    if reference in ("", *catalog.LATEST):
        return _newest(rows, None, "there is no valid backup")
    try:
        moment = clock.parse(reference)
    except ValueError:
        if _is_file_name(reference):
            return {"backup": {"fileName": reference}, "problem": ""}
        cause = f"'{line(reference)}' is neither 'latest', nor a time, nor the name of a backup's file"
        return {"backup": {}, "problem": f"{cause}. Nothing was changed."}
    return _newest(rows, moment, f"there is no valid backup from {clock.iso(moment)} or before")


def _newest(rows, limit, otherwise):
    dated = []
    for row in rows:
        made = made_at(row)
        regular = row.get("kind", "regular") == "regular"
        if row.get("isValid") is True and regular and made is not None and (limit is None or made <= limit):
            dated.append((made, row))
    if not dated:
        hint = "Nothing was changed; name one of those that are there with -e backup=FILE."
        return {"backup": {}, "problem": f"{otherwise} among the {len(rows)} that the host lists. {hint}"}
    return {"backup": max(dated, key=lambda pair: pair[0])[1], "problem": ""}


def made_at(row):
    """When the backup was made, or None where the host does not say it in a way that can be understood."""
    try:
        return clock.parse(row["createdAt"])
    except (KeyError, ValueError, TypeError, AttributeError):
        return None


def _is_file_name(value):
    """A name that means the same file in every address: nothing that leads elsewhere, or cannot be shown."""
    if not isinstance(value, str) or not 0 < len(value) <= 255 or value.startswith("."):
        return False
    return value.isprintable() and not set(value) & set("/\\")


def operation_of(answer):
    """The id of the operation that the API has begun, or "" where it names none that can be asked for.

    Its ``Location`` is not followed: a host could send the token anywhere.
    """
    found = answer.get("body", {}).get("operationId")
    return found if isinstance(found, str) and _OPERATION.fullmatch(found) else ""


def ended(answer):
    """Whether there is nothing more to wait for: the operation has ended, or its end will never be told."""
    if answer["ok"]:
        return answer["body"].get("status") != "running"
    return not (answer["uncertain"] or answer["status"] == 429 or answer["status"] >= 500)


def running(rows):
    """The operations that run, of those that the API has listed, as one line."""
    found = [row for row in rows if isinstance(row, dict) and row.get("status") == "running"]
    shown = [f"{line(row.get('operation', '?'), 40)} {line(row.get('operationId', '?'), 80)}" for row in found[:5]]
    return ", ".join(shown) or "nothing"


def plan_id(base, database, backup):
    """By what exactly this restore is confirmed: this backup, of this database, behind this address."""
    import hashlib

    known = [str(base), str(database), *(backup.get(key) for key in ("fileName", "createdAt", "sha256", "sizeBytes"))]
    return hashlib.sha256(json.dumps(known, default=str).encode("utf-8")).hexdigest()[:16]
