# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What web and mail channels share: trust in the other side, and what to say when it cannot be reached."""

from __future__ import annotations

import socket
import ssl

from .. import errors
from .event import Outcome


def tls_context(ca_file):
    """The certificate is always checked; against ``ca_file`` alone where there is one, else the system's authorities.

    Raises ConfigError that names the file.
    """
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # Also SSLError: it is no certificate.
        cause = f"'ca_file' cannot be used ({error.strerror or 'it holds no certificate'})"
        raise errors.ConfigError(cause, path=ca_file, hint="Give a file of certificates in PEM format.") from None


def unreachable(where, error, timeout):
    """The Outcome of an OSError on the way to ``where``, which is a scheme, a host and a port, no more."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Outcome(f"{where}: its certificate is not trusted ({error.verify_message})")
    if isinstance(error, (TimeoutError, socket.timeout)):
        return Outcome(f"{where}: no answer within {timeout:g} s", again=True)
    return Outcome(f"{where}: {errors.show(error.strerror or error)[:200]}", again=True)
