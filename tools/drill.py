#!/usr/bin/env python3
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The first drill, `make drill`: a sample database under load, or your own with DATABASE=/path/to.db.

Makes the sample and its writer, runs first_drill.yml against this machine, shows the table, names the HTML report, and
stops the writer.
WORK=/path names another place for the sample and the backups than build/drill of the checkout.
Run it with the Python of the environment that has Ansible.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = pathlib.Path(os.environ.get("WORK") or ROOT / "build" / "drill").absolute()
# Made anew by each run; backups of a database of your own lie outside of it and stay.
RUN = WORK / "run"
REPORTS = WORK / "reports"
SAMPLE_APP = ROOT / "tools" / "sample_app.py"


def sample(action, database, *options):
    subprocess.run([sys.executable, str(SAMPLE_APP), action, str(database), *options], check=True)


def variables(database, backup_dir, measured, pid_file):
    """What the playbook is told; without a pid file there is no sample that it could damage."""
    drilled = {"path": str(database), "backup_dir": str(backup_dir), "rpo_objective": 3600, "rto_objective": 60}
    return {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "database": str(database),
        "backup_dir": str(backup_dir),
        "measured": str(measured),
        "sample_command": [sys.executable, str(SAMPLE_APP)] if pid_file else [],
        "sample_pid_file": str(pid_file or ""),
        "digitalme_backup_drill_databases": [drilled],
        "digitalme_backup_drill_full_restore": True,
        "digitalme_backup_drill_dir": str(REPORTS),
    }


def play(told):
    """Exit status of the playbook, run with the Ansible beside this Python and nothing of the user's own settings."""
    chosen = RUN / "variables.json"
    chosen.write_text(json.dumps(told), encoding="utf-8")
    empty = RUN / "ansible.cfg"
    empty.write_text("[defaults]\n", encoding="ascii")
    settings = {
        "ANSIBLE_HOME": str(RUN / "ansible"),
        "ANSIBLE_CONFIG": str(empty),
        "ANSIBLE_LOCALHOST_WARNING": "False",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "False",
        "ANSIBLE_NOCOWS": "1",
    }
    command = [
        str(pathlib.Path(sys.executable).parent / "ansible-playbook"),
        "--inventory=localhost,",
        f"--extra-vars=@{chosen}",
        str(ROOT / "tools" / "first_drill.yml"),
    ]
    return subprocess.run(command, env={**os.environ, **settings}, check=False).returncode


def table(told):
    """What was measured, as lines of equal columns: seconds and what came of it."""
    made = told["backup"]
    report = json.loads(pathlib.Path(told["files"]["json"]).read_text(encoding="utf-8"))
    row = report["hosts"][0]["databases"][0]
    rows = [("backup", made["duration_seconds"], f"{made['method']}, {made['stored_bytes'] / 2**20:.1f} MiB")]
    rows += [("drill: " + phase["name"], phase["seconds"], phase["detail"]) for phase in row["phases"]]
    restored = told["restored"]
    if told["lost"] is not None:
        strategy = restored["plan"]["strategy"]
        damage = f"header and pages had been overwritten on purpose ({strategy}); the content is whole"
        lost = f"{told['lost']} transactions written after the backup began"
        rows.append(("real restore", restored["rto_seconds"], damage))
        rows.append(("lost (RPO)", restored["rpo_seconds"], lost))
        rows.append(("took (RTO)", restored["rto_seconds"], "from the restore's start to the checked content"))
    return [f"{step:<20}{seconds:>9.2f} s  {what}" for step, seconds, what in rows]


def main():
    own = os.environ.get("DATABASE")
    shutil.rmtree(RUN, ignore_errors=True)
    RUN.mkdir(parents=True, mode=0o700)
    measured = RUN / "measured.json"
    if own:
        database, backup_dir, pid_file = pathlib.Path(own).absolute(), WORK / "backups", None
    else:
        database, backup_dir, pid_file = RUN / "sample" / "sample.db", RUN / "backups", RUN / "writer.pid"
        database.parent.mkdir()
        sample("create", database)
        sample("start", database, "--pid-file", str(pid_file))
    try:
        status = play(variables(database, backup_dir, measured, pid_file))
    finally:
        if pid_file is not None:
            sample("stop", database, "--pid-file", str(pid_file))
    if status == 0:
        told = json.loads(measured.read_text(encoding="utf-8"))
        sys.stdout.write("\n" + "\n".join(table(told)) + "\n")
        sys.stdout.write(f"\nThe drill's report: {told['files']['html']}\n")
        if own:
            sys.stdout.write(f"\nYour database was only read. The backup is kept in {backup_dir}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
