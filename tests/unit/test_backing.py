# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json
import os

import pytest
from engine import errors, manifest, operations


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


@pytest.mark.parametrize("odd", [7, ["x"], None])
def test_source_path_that_is_no_text_names_no_database(database, backup_dir, tmp_path, odd):
    made = operations.backup(database=database, backup_dir=str(backup_dir))["backup"]
    manifest.update(manifest.path_for(made["path"]), source={**made["source"], "path": odd})
    with pytest.raises(errors.BackupError):
        operations.restore(database=str(tmp_path) + os.sep, backup_dir=str(backup_dir), check=True, force=True)
