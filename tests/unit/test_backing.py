# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json

import pytest
from engine import manifest, operations


@pytest.mark.parametrize("check", [True, False])
def test_newest_backup_that_does_not_tell_its_content_is_no_reason_to_skip(database, backup_dir, check):
    place = {"database": database, "backup_dir": str(backup_dir), "skip_if_unchanged": True}
    made = operations.backup(**place)["backup"]
    assert operations.backup(check=check, **place)["changed"] is False
    path = manifest.path_for(made["path"])
    with open(path, "rb") as file:
        document = json.loads(file.read())
    del document["content_sha256"]
    with open(path, "wb") as file:
        file.write(manifest.encode(document))
    assert operations.backup(check=check, **place)["changed"] is True
