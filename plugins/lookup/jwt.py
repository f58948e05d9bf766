# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: jwt
short_description: Sign a short-lived token for the REST API of a host
version_added: 0.1.0
author: The digitalme.backup authors (@digitalme)
description:
  - Signs a JSON Web Token that the REST API of the role C(api) accepts, with the key that the API knows.
  - Every call makes a new token, which says who runs the playbook and holds for a few minutes, so none has to be kept.
  - Keep it out of the output, with C(no_log) on the task that sends it.
requirements:
  - PyJWT, on the controller; and cryptography, for the algorithms other than C(HS256)
options:
  _terms:
    description: The scopes of the token. Without any those of O(scopes).
    type: list
    elements: str
  key_file:
    description:
      - The file with the key, on the controller. For C(HS256) a secret of at least 32 bytes, in which one newline at
        the end does not count; for the others a private key in PEM without a passphrase.
      - It is refused when others than its owner may use it.
    type: path
    vars:
      - name: digitalme_backup_api_jwt_key_file
  algorithm:
    description: How it is signed. The API accepts only the one that it was told.
    type: str
    choices: [HS256, RS256, ES256, EdDSA]
    default: HS256
    vars:
      - name: digitalme_backup_api_jwt_algorithm
  kid:
    description: The id of the key, for an API that knows several.
    type: str
    vars:
      - name: digitalme_backup_api_jwt_kid
  issuer:
    description: Who has signed it, C(iss).
    type: str
    default: digitalme-backup
    vars:
      - name: digitalme_backup_api_jwt_issuer
  audience:
    description: Whom it is for, C(aud).
    type: str
    default: digitalme-backup-api
    vars:
      - name: digitalme_backup_api_jwt_audience
  subject:
    description:
      - Who asks, C(sub), as the host's audit log shows it. By default C(user@controller) of whoever runs the playbook.
    type: str
    vars:
      - name: digitalme_backup_api_jwt_subject
  scopes:
    description: What the token allows. C(admin) includes C(operate), and that includes C(read).
    type: list
    elements: str
    choices: [read, operate, admin]
    default: [read]
    vars:
      - name: digitalme_backup_api_jwt_scopes
  lifetime:
    description: For how many seconds it holds, from 1 to 86400.
    type: int
    default: 300
    vars:
      - name: digitalme_backup_api_jwt_lifetime
"""

EXAMPLES = r"""
- name: Look at the backups of a host that answers only by HTTPS
  ansible.builtin.uri:
    url: https://shop-17:5000/api/backup/statistics
    headers:
      Authorization: Bearer {{ lookup('digitalme.backup.jwt', 'read', key_file='/etc/digitalme-backup/api.key') }}
  delegate_to: localhost
  no_log: true
"""

RETURN = r"""
_raw:
  description: The token.
  type: list
  elements: str
  sample: ["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGFAY29udHJvbGxlciJ9.c2lnbmF0dXJl"]
"""

import os
import socket

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.digitalme.backup.plugins.module_utils.engine import errors, session
from ansible_collections.digitalme.backup.plugins.plugin_utils import jwt_signing


class LookupModule(LookupBase):
    """Reads the options; jwt_signing.py makes the token."""

    def run(self, terms, variables=None, **kwargs):
        """The token, as a list of one. AnsibleLookupError says what to do, and has nothing of the key in it."""
        self.set_options(var_options=variables, direct=kwargs)
        option = self.get_option
        try:
            path = option("key_file")
            if not path:
                hint = "Name the API's key on the controller in digitalme_backup_api_jwt_key_file."
                raise errors.UsageError("no key is named that the token could be signed with", hint=hint)
            payload = jwt_signing.claims(
                option("issuer"),
                option("audience"),
                option("subject") or _who(),
                [str(term) for term in terms] or option("scopes"),
                option("lifetime"),
            )
            key = jwt_signing.read_key(path, option("algorithm"))
            return [jwt_signing.sign(payload, key, option("algorithm"), option("kid"))]
        except errors.BackupError as error:
            # Without the cause: nothing of what a library says of a key is shown.
            raise AnsibleLookupError(f"No token for the API: {error.message}") from None


def _who():
    by = session.who({})
    return f"{by.get('sudo_user') or by.get('user') or by.get('uid', os.getpid())}@{socket.gethostname()}"
