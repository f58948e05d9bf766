#!/usr/bin/env python3
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The sample application as a service: it writes to its database all the time and answers over HTTP.

    sample_service.py FILE --port 8080 [--pause 0.05]     until SIGTERM

It does not start with a database whose invariants do not hold, and it ends when a transaction fails, as an application
does whose database is damaged. ``GET /`` answers 200 with {ledger, total, commits}, or 500 with the cause.
"""

from __future__ import annotations

import argparse
import http.server
import json
import os
import random
import signal
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import sample_app


class Writer(threading.Thread):
    """Commits until it is told to stop; a transaction that fails ends the whole service."""

    def __init__(self, path, pause):
        super().__init__(daemon=True)
        self.path, self.pause, self.commits = path, pause, 0
        self.stopping = threading.Event()

    def run(self):
        randomness = random.Random(os.getpid())
        try:
            connection = sample_app.connect(self.path)
            while not self.stopping.wait(self.pause):
                sample_app.move(connection, randomness)
                self.commits += 1
            connection.close()
        except Exception as error:
            sys.stderr.write(f"the writer failed: {error}\n")
            os._exit(1)


def answer_with(writer):
    """The class of the handler that answers with the state of the database."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            try:
                status, document = 200, {**sample_app.check(writer.path), "commits": writer.commits}
            except Exception as error:
                status, document = 500, {"error": str(error)}
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments):
            pass

    return Handler


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pause", type=float, default=0.05, help="seconds between transactions")
    arguments = parser.parse_args()
    sample_app.check(arguments.file)
    writer = Writer(arguments.file, arguments.pause)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", arguments.port), answer_with(writer))
    signal.signal(signal.SIGTERM, lambda *_args: threading.Thread(target=server.shutdown).start())
    writer.start()
    server.serve_forever(poll_interval=0.05)
    writer.stopping.set()
    writer.join(timeout=10)


if __name__ == "__main__":
    main()
