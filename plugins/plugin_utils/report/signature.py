# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A detached Ed25519 signature (RFC 8032) over the bytes of drill.json, which openssl can verify without us."""

from __future__ import annotations

import hashlib

from ansible_collections.digitalme.backup.plugins.module_utils.engine import errors, files

_HINT = "Make one with: openssl genpkey -algorithm ed25519 -out drill.key"


def load(path):
    """The private key of a PEM file. Raises UsageError or what the disk says, naming the file and the next step."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    try:
        descriptor = files.open_regular(path, follow=True)
    except OSError as error:
        translated = errors.from_os_error(error, path)
        translated.hint = (
            "The report is to be signed with this key: bring it back, or leave digitalme_backup_drill_key empty."
        )
        raise translated from error
    with open(descriptor, "rb") as source:
        text = source.read(65536)
    try:
        key = serialization.load_pem_private_key(text, password=None)
    except TypeError as error:
        raise errors.UsageError(
            "the key has a passphrase, which nobody is there to type", path=path, hint=_HINT
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise errors.UsageError("it is no private key in PEM", path=path, hint=_HINT) from error
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise errors.UsageError("it is no Ed25519 key", path=path, hint=_HINT)
    return key


def public_pem(key):
    """The public key as PEM, for whoever verifies."""
    from cryptography.hazmat.primitives import serialization

    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def fingerprint(key):
    """SHA-256 of the public key's DER form, as hex: what is compared by eye."""
    from cryptography.hazmat.primitives import serialization

    der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()
