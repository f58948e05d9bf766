# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Secrets of a channel: given in the configuration, or in a file that is read each time something is sent.

A file is an absolute path, or the bare name of a credential of the service manager (systemd's ``LoadCredential=``).
"""

from __future__ import annotations

import errno
import os

from .. import errors, files

CREDENTIALS = "CREDENTIALS_DIRECTORY"
LIMIT = 64 * 1024
_HINT = "Give the absolute path of a file that can be read, or the name of a credential of the unit (LoadCredential=)."


class Secret:
    """One secret. A class of its own instead of a tuple, so that neither repr nor JSON show it by accident.

    ``parse`` turns text (or the configuration's own value) into what the channel needs, or raises ValueError with a
    cause that does not quote it.
    """

    def __init__(self, key, parse, *, value=None, file=None, warning=None):
        self.key = key
        self._parse = parse
        self._value = value
        self._file = file
        self._warning = warning

    def __repr__(self):
        return f"Secret({self.key})"

    def open(self, environment):
        """(the secret, warnings). Raises ConfigError that names the file and not what is in it."""
        if self._file is None:
            return self._value, [self._warning] if self._warning else []
        where = self._place(environment)
        try:
            raw, exposed = read_file(where)
            value = self._parse(raw.decode("utf-8").rstrip("\r\n"))
        except OSError as error:
            cause = f"'{self.key}_file' cannot be read ({error.strerror})"
            raise errors.ConfigError(cause, path=where, hint=_HINT) from None
        except UnicodeDecodeError:
            raise errors.ConfigError(f"'{self.key}_file' is not UTF-8", path=where, hint=_HINT) from None
        except ValueError as error:
            cause = f"what '{self.key}_file' holds {error}"
            raise errors.ConfigError(cause, path=where, hint="Write it again.") from None
        return value, [exposed_warning(where)] if exposed else []

    def _place(self, environment):
        if os.path.isabs(self._file):
            return self._file
        directory = environment.get(CREDENTIALS)
        if not directory:
            cause = f"'{self.key}_file' names the credential '{errors.show(self._file)}', and there is no {CREDENTIALS}"
            raise errors.ConfigError(cause, hint=_HINT)
        return os.path.join(directory, self._file)


def check_place(place):
    """ValueError unless it is an absolute path or a bare name."""
    if not isinstance(place, str) or not place or "\0" in place:
        raise ValueError("is no file name")
    if not os.path.isabs(place) and (place in (".", "..") or os.path.basename(place) != place):
        raise ValueError("is neither an absolute path nor the bare name of a credential")


def exposed_warning(path):
    return f"{errors.show(path)} holds a secret and is readable by every user: chmod o-r"


def read_file(path):
    """(bytes of a small regular file, whether every user can read it). OSError, also where it is larger than 64 KiB."""
    reader = files.open_regular(path, follow=True)
    try:
        raw = b""
        while len(raw) <= LIMIT:
            part = os.read(reader, LIMIT)
            if not part:
                mode = os.fstat(reader).st_mode
                return raw, os.name == "posix" and bool(mode & 0o004)
            raw += part
    finally:
        os.close(reader)
    raise OSError(errno.EINVAL, f"larger than {LIMIT} bytes", path)
