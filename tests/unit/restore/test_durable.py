# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A name that the next step relies on is durable before that step: what the calls of an undisturbed restore show."""

from __future__ import annotations

import killing
import scenes


def calls_of(kind, tmp_path):
    scene, calls = kind(tmp_path), []
    scene.put_up()
    assert killing.run(scene.act, scene.place, calls=calls).get("error_code") == scene.fails
    return calls


def test_removed_journal_is_the_commit_and_made_durable(tmp_path):
    """Else a loss of power could bring it back, and with it the old content, after the restore was told as done."""
    calls = calls_of(scenes.InPlaceRollbackMode, tmp_path)
    committed = max(n for n, call in enumerate(calls) if call.startswith("unlink") and call.endswith("app.db-journal"))
    assert calls[committed + 1] in ("fsync /live", "fdatasync /live"), "\n".join(calls)
