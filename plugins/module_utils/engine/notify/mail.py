# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A mail over SMTP."""

from __future__ import annotations

import contextlib
import email.message
import email.policy
import email.utils
import hashlib
import smtplib

from .. import clock, errors
from . import event as words
from . import peer
from .event import Outcome

_PORTS = {"none": 25, "starttls": 587, "tls": 465}


def deliver(settings, event, timeout):
    """The Outcome of one mail. ``settings``: host, port, tls, user, password, from, to, ca_file."""
    tls = settings["tls"] or "starttls"
    port = settings["port"] or _PORTS[tls]
    where = f"smtp://{settings['host']}:{port}"
    context = None if tls == "none" else peer.tls_context(settings["ca_file"])
    try:
        refused = _hand_over(settings, port, tls, context, _message(settings, event), timeout)
    except smtplib.SMTPAuthenticationError as error:  # Its text may quote what was sent.
        return Outcome(f"{where}: it refused user and password ({error.smtp_code})", _temporary(error.smtp_code))
    except smtplib.SMTPRecipientsRefused as error:
        code, text = next(iter(error.recipients.values()))
        codes = [code for code, _text in error.recipients.values()]
        return Outcome(f"{where}: it refused every recipient ({_reply(code, text)})", all(map(_temporary, codes)))
    except smtplib.SMTPResponseException as error:
        return Outcome(f"{where}: it answered {_reply(error.smtp_code, error.smtp_error)}", _temporary(error.smtp_code))
    except smtplib.SMTPServerDisconnected as error:
        if isinstance(error.__context__, OSError):  # The library says so of a timeout, too.
            return peer.unreachable(where, error.__context__, timeout)
        return Outcome(f"{where}: it closed the connection", again=True)
    except smtplib.SMTPException as error:  # What it does not offer, such as STARTTLS: the library's own words.
        return Outcome(f"{where}: {errors.show(error)[:200]}")
    except OSError as error:
        return peer.unreachable(where, error, timeout)
    warnings = [f"{where}: it refused {errors.show(to)} ({_reply(*reply)})" for to, reply in refused.items()]
    return Outcome(warnings=tuple(warnings))


def _hand_over(settings, port, tls, context, message, timeout):
    """{refused recipient: (code, text)} where others were accepted."""
    secure = tls == "tls"
    options: dict = {"context": context} if secure else {}
    kind = smtplib.SMTP_SSL if secure else smtplib.SMTP
    connection = kind(settings["host"], port, timeout=timeout, **options)
    try:
        if tls == "starttls":
            connection.starttls(context=context)
        if settings["user"] is not None:
            connection.login(settings["user"], settings["password"])
        refused = connection.send_message(message)
        with contextlib.suppress(OSError):
            connection.putcmd("QUIT")  # Nobody waits for the answer: the mail is the server's now, and is sent once.
        return refused
    finally:
        connection.close()


def _message(settings, event):
    """The same event has the same Message-ID at every try: where two came through, mail programs show one."""
    message = email.message.EmailMessage(policy=email.policy.SMTP)
    message["Subject"] = words.subject(event)
    message["From"] = settings["from"]
    message["To"] = ", ".join(settings["to"])
    message["Date"] = email.utils.format_datetime(clock.now())
    message["Message-ID"] = _identity(settings, event)
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(words.body(event), cte="quoted-printable")  # Not every server takes eight bits.
    return message


def _identity(settings, event):
    told = "\n".join([*settings["to"], clock.iso(event.at), event.run_id, words.subject(event)])
    domain = settings["from"].rpartition("@")[2].rstrip(">")
    return f"<{hashlib.sha256(told.encode('utf-8')).hexdigest()[:32]}@{domain if domain.isascii() else 'localhost'}>"


def _temporary(code):
    return 400 <= code < 500


def _reply(code, text):
    return f"{code} {errors.show(text.decode('utf-8', 'replace') if isinstance(text, bytes) else text)[:200]}"
