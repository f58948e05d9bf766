# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""POST to an address whose path and query are secret: errors name its scheme, host and port only."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.parse
import urllib.request

from .. import __version__
from . import peer
from .event import Outcome

_ANSWER_BYTES = 1000


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the token and the message are for the host that the operator named."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        return None


def post(url, body, headers, ca_file, timeout, want_answer=False):
    """(Outcome, first bytes of the answer where they are wanted). Proxies come from the environment.

    Another try may help where nobody answered, and after 429 and 5xx.
    """
    parts = urllib.parse.urlsplit(url)
    where = f"{parts.scheme}://{parts.netloc}"
    headers = {"User-Agent": f"digitalme-backup/{__version__}", **headers}
    handlers: list = [_Stay]
    if parts.scheme == "https":
        handlers.append(urllib.request.HTTPSHandler(context=peer.tls_context(ca_file)))
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=timeout) as answer:
            return Outcome(), answer.read(_ANSWER_BYTES) if want_answer else b""
    except urllib.error.HTTPError as error:
        error.close()
        return _refused(where, error.code), b""
    except OSError as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        return peer.unreachable(where, reason if isinstance(reason, OSError) else error, timeout), b""
    except http.client.HTTPException as error:
        return Outcome(f"{where}: what answers is no web server ({type(error).__name__})"), b""


def _refused(where, status):
    if 300 <= status < 400:
        return Outcome(f"{where}: it answered {status}, a redirect, which is not followed: give the final address")
    return Outcome(f"{where}: it answered {status}", again=status == 429 or status >= 500)
