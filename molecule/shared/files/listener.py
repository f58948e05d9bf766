# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Takes every POST on a loopback port and writes it as a line of JSON: {path (without the query), headers, body}.

listener.py PORT FILE
"""

from __future__ import annotations

import http.server
import json
import sys


class Listener(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode("utf-8")
        headers = {name.lower(): value for name, value in self.headers.items()}
        with open(sys.argv[2], "a", encoding="utf-8") as file:
            file.write(json.dumps({"path": self.path.partition("?")[0], "headers": headers, "body": body}) + "\n")
        self.send_response(204)
        self.end_headers()


if __name__ == "__main__":
    http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Listener).serve_forever()
