# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Carries backups part by part between a host and the controller; the engine of each side does the rest."""

from __future__ import annotations

import os
import tempfile

from ansible import constants
from ansible.plugins.action import ActionBase
from ansible_collections.digitalme.backup.plugins.module_utils.engine import errors, operations
from ansible_collections.digitalme.backup.plugins.modules import backup_transfer

MODULE = "digitalme.backup.backup_transfer"


class _Failed(Exception):
    """A step on the host failed; ``result`` is what its module said."""

    def __init__(self, result):
        super().__init__(result.get("msg", "the step failed"))
        self.result = result


def _row(file, state, problem=None):
    return {"file": file, "state": state, "bytes": 0, "problem": problem}


class ActionModule(ActionBase):
    """``direction``: fetch has the host send and the controller receive, push the other way round."""

    TRANSFERS_FILES = True  # A directory on the host for the parts.
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp=None, task_vars=None):
        """Carry what is offered and wanted; every backup is a row of the result."""
        result = super().run(tmp, task_vars)
        self._vars = task_vars
        _validation, self._given = self.validate_argument_spec(backup_transfer.WISH)
        fetch = self._given["direction"] == "fetch"
        self._send, self._receive = (self._there, self._here) if fetch else (self._here, self._there)
        self._carry = self._carry_here if fetch else self._carry_there
        try:
            result.update(self._transfer())
        except _Failed as failure:
            result.update(failure.result, failed=True)
        except errors.BackupError as error:
            result.update(error.as_result(), failed=True)
        finally:
            self.cleanup(force=True)
        return result

    # --- the two sides ------------------------------------------------------------------------------------------------

    def _there(self, step, **arguments):
        """One step on the host."""
        told = {key: self._given[key] for key in ("direction", "backup_dir", "name", "vault")}
        answer = self._execute_module(MODULE, {**told, "step": step, **arguments}, task_vars=self._vars)
        if answer.get("failed"):
            raise _Failed({key: answer[key] for key in ("msg", "error_code", "path") if key in answer})
        return answer

    def _here(self, step, **arguments):
        """The same step on the controller."""
        return operations.transfer(
            step=step,
            backup_dir=self._given["vault"],
            name=self._given["name"],
            caller={"via": "ansible"},
            check=self._task.check_mode,
            **arguments,
        )

    def _sender(self):
        return self._given["backup_dir" if self._given["direction"] == "fetch" else "vault"]

    # --- what travels -------------------------------------------------------------------------------------------------

    def _transfer(self):
        wish = {key: self._given[key] for key in ("backups", "newest", "unverified", "pre_restore")}
        known = [{key: one.get(key) for key in ("file", "sha256")} for one in self._given["there"] or ()]
        offered = self._send("offer", **wish, there=self._receive("have")["rows"] + known)
        rows = {row["file"]: row for row in offered["rows"]}
        texts = [row["manifest"] for row in rows.values()]
        if not any(offered[key] for key in ("rows", "problems", "there")):
            raise errors.BackupNotFound(
                f"there is no backup of '{self._given['name']}' that could be sent", path=self._sender()
            )
        accepted = self._receive("accept", manifests=texts)["rows"] if texts else []
        found = [_row(row["file"], "failed", row["problem"]) for row in offered["problems"]]
        found += [_row(file, "there") for file in offered["there"]]
        arrived = []
        for row in accepted:
            one = _row(row["file"], row["state"])
            found.append(one)
            if row["state"] == "conflict":
                one.update(state="failed", problem=row["problem"])
            elif row["state"] == "wanted":
                one.update(state="sent", bytes=rows[row["file"]]["stored_bytes"] - row["offset"])
                arrived.append((one, rows[row["file"]], row["offset"]))
        if not self._task.check_mode:
            self._bring(arrived)
        return self._answer(sorted(found, key=lambda row: row["file"]))

    def _bring(self, wanted):
        """Carry each backup, then have them finished; one that arrives damaged after it was resumed is sent anew."""
        for one, offered, offset in wanted:
            self._try(one, offered, offset)
        whole = [(one, offered) for one, offered, _offset in wanted if one["state"] == "sent"]
        for (one, offered), row in zip(whole, self._finish(whole)):
            resumed = one["bytes"] < offered["stored_bytes"]
            if row["problem"] and resumed:
                one["bytes"] = offered["stored_bytes"]
                self._try(one, offered, 0)
                row = self._finish([(one, offered)])[0] if one["state"] == "sent" else {"problem": one["problem"]}
            if row["problem"]:
                one.update(state="failed", problem=row["problem"])

    def _finish(self, whole):
        return self._receive("finish", manifests=[row["manifest"] for _one, row in whole])["rows"] if whole else []

    def _try(self, one, offered, offset):
        """Carry a backup; what goes wrong with one keeps no other from travelling."""
        try:
            while offset < offered["stored_bytes"]:
                offset = self._carry(offered, offset)
        except _Failed as failure:
            one.update(state="failed", problem=failure.result.get("msg"))
        except errors.BackupError as error:
            one.update(state="failed", problem=error.message)

    def _answer(self, found):
        failed = [row for row in found if row["state"] == "failed"]
        sent = [row for row in found if row["state"] == "sent"]
        answer = {"files": found, "bytes": sum(row["bytes"] for row in sent), "changed": bool(sent)}
        if self._task.diff:
            answer["diff"] = {"before": "", "after": "".join(f"{row['file']}\n" for row in sent)}
        if failed:
            causes = "; ".join(f"{row['file']}: {row['problem']}" for row in failed[:3])
            answer.update(failed=True, error_code="backup_invalid")
            answer["msg"] = f"{len(failed)} of {len(found)} backups did not travel: {causes}"
        return answer

    # --- a part -------------------------------------------------------------------------------------------------------

    def _remote_part(self):
        return self._connection._shell.join_path(self._connection._shell.tmpdir, "part")

    def _carry_here(self, offered, offset):
        """Bring one part from the host and add it; returns where the next one begins."""
        remote = self._remote_part()
        self._there("read", file=offered["file"], offset=offset, part_bytes=self._given["part_bytes"], part=remote)
        with tempfile.TemporaryDirectory(dir=constants.DEFAULT_LOCAL_TMP) as directory:
            local = os.path.join(directory, "part")
            self._connection.fetch_file(remote, local)
            return self._here("receive", manifests=[offered["manifest"]], offset=offset, part=local)["bytes"]

    def _carry_there(self, offered, offset):
        """Take one part to the host and have it added."""
        remote = self._remote_part()
        with tempfile.TemporaryDirectory(dir=constants.DEFAULT_LOCAL_TMP) as directory:
            local = os.path.join(directory, "part")
            length = self._given["part_bytes"]
            self._here("read", file=offered["file"], offset=offset, part_bytes=length, part=local)
            self._connection.put_file(local, remote)
        return self._there("receive", manifests=[offered["manifest"]], offset=offset, part=remote)["bytes"]
