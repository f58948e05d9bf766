# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Real peers on loopback: a web and a mail server that answer as they are told and record what they are sent."""

from __future__ import annotations

import base64
import http.server
import socketserver
import threading

from engine.notify.delivery import Patience

# Long enough for any machine where an answer is expected; no waiting between the tries.
PATIENT = Patience(timeout=60, waits=(0, 0))
# For peers that never answer.
HASTY = Patience(timeout=0.2, waits=(0,))


class Peer:
    """A server in threads of this process. ``released`` ends what hangs."""

    def __init__(self, server, context=None, wrap=False):
        self.server = server
        self.context = context
        self.released = threading.Event()
        self.port = server.server_address[1]
        server.peer = self
        if wrap:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        self.thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_error):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class _QuietWeb(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A caller that gives up, or refuses the certificate, is what the tests are about."""


class _WebHandler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        peer = self.server.peer
        peer.requests.append((self.path, dict(self.headers.items()), body))
        answer = peer.answers.pop(0) if len(peer.answers) > 1 else peer.answers[0]
        if isinstance(answer, str):
            getattr(self, "answer_" + answer)()
        else:
            self.answer_with(*answer)

    def answer_with(self, status, text=b"", headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        """Only what follows a redirect asks like this."""
        self.server.peer.requests.append((self.path, dict(self.headers.items()), b""))
        self.answer_with(200)

    def answer_hang(self):
        self.server.peer.released.wait()

    def answer_drip(self):
        """A header that never ends: each byte comes in time, the answer does not."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
        while not self.server.peer.released.wait(0.02):
            self.wfile.write(b"x")

    def answer_close(self):
        self.close_connection = True

    def answer_garbage(self):
        self.wfile.write(b"220 mail.example.org ESMTP\r\n")

    def log_message(self, *_arguments):
        pass


def web_peer(*answers, context=None):
    """Answers each POST with the next of ``answers``, the last for ever: (status, text, headers), or a misbehaviour.

    ``requests`` are (path, headers, body).
    """
    peer = Peer(_QuietWeb(("127.0.0.1", 0), _WebHandler), context, wrap=context is not None)
    peer.answers, peer.requests = list(answers) or [(200, b"OK")], []
    return peer


class _QuietMail(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request, client_address):
        """As for the web."""


class _MailHandler(socketserver.StreamRequestHandler):
    def handle(self):
        self.peer, self.tls, self.over = self.server.peer, False, False
        self.peer.connections += 1
        self.say("CONNECT", "220 mail.example.org")
        while not self.over:
            line = self.rfile.readline().decode("ascii").strip()
            if not line:
                return
            self.obey(line)

    def say(self, verb, usual):
        """Send the reply that the test wants for this verb, else the usual one; whether it grants the wish."""
        wanted = self.peer.replies.get(verb, usual)
        reply = wanted.pop(0) if isinstance(wanted, list) and len(wanted) > 1 else wanted
        reply = reply[0] if isinstance(reply, list) else reply
        if reply in ("hang", "close"):
            if reply == "hang":
                self.peer.released.wait()
            self.over = True
            return False
        self.wfile.write(reply.encode("ascii") + b"\r\n")
        return reply[0] in "23"

    def obey(self, line):
        verb = line.split()[0].upper()
        self.peer.lines.append((self.tls, line))
        if verb == "EHLO":
            offers = ["STARTTLS"] if self.peer.context and not self.tls else []
            self.say(verb, "\r\n".join(["250-mail.example.org", *(f"250-{x}" for x in offers), "250 AUTH PLAIN"]))
        elif verb == "AUTH":
            self.peer.logins.append(base64.b64decode(line.split()[2]).decode("ascii").split("\0")[1:])
            self.say(verb, "235 welcome")
        elif verb == "DATA":
            if self.say(verb, "354 go on"):
                self.take_mail()
        elif verb == "STARTTLS":
            if self.say(verb, "220 go on"):
                self.request = self.peer.context.wrap_socket(self.request, server_side=True)
                self.tls = True
                self.setup()
        else:
            self.say(f"{verb} {line.partition(':')[2]}" if verb == "RCPT" else verb, "250 fine")
            self.over = self.over or verb == "QUIT"

    def take_mail(self):
        lines = []
        while True:
            line = self.rfile.readline()
            if line in (b".\r\n", b""):
                break
            lines.append(line)
        self.peer.mails.append(b"".join(lines))
        self.say("END", "250 taken")


def mail_peer(context=None, wrap=False, **replies):
    """Takes mail. ``replies``: verb (CONNECT, EHLO, AUTH, MAIL, "RCPT <address>", DATA, END) -> what to say instead:

    a line, "hang", "close", or a list of these for one time after the other. With a ``context`` it offers STARTTLS;
    with ``wrap`` it speaks TLS from the first byte.
    """
    peer = Peer(_QuietMail(("127.0.0.1", 0), _MailHandler), context, wrap)
    peer.replies, peer.lines, peer.logins, peer.mails, peer.connections = replies, [], [], [], 0
    return peer
