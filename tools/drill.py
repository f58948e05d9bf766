#!/usr/bin/env python3
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The first drill, `make drill`: a sample database under load, or your own with DATABASE=/path/to.db.

Makes the sample and its writer, runs playbooks/drill.yml against this machine, shows the table, and stops the writer.
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
SAMPLE_APP = ROOT / "tools" / "sample_app.py"


def sample(action, database, *options):
    subprocess.run([sys.executable, str(SAMPLE_APP), action, str(database), *options], check=True)


def variables(database, backup_dir, report, pid_file):
    """What the playbook is told; with a pid file also what it needs to damage the sample."""
    told = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "digitalme_backup_databases": [{"path": str(database), "backup_dir": str(backup_dir)}],
        "digitalme_backup_disk_limit_percent": 98,
        "digitalme_backup_drill_report": str(report),
    }
    if pid_file is not None:
        told["digitalme_backup_sample_app"] = str(SAMPLE_APP)
        told["digitalme_backup_sample_pid_file"] = str(pid_file)
        told["digitalme_backup_sample_database"] = str(database)
        told["digitalme_backup_sample_backup_dir"] = str(backup_dir)
    return told


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
        str(ROOT / "playbooks" / "drill.yml"),
    ]
    return subprocess.run(command, env={**os.environ, **settings}, check=False).returncode


def main():
    own = os.environ.get("DATABASE")
    shutil.rmtree(RUN, ignore_errors=True)
    RUN.mkdir(parents=True, mode=0o700)
    report = RUN / "report.txt"
    if own:
        database, backup_dir, pid_file = pathlib.Path(own).absolute(), WORK / "backups", None
    else:
        database, backup_dir, pid_file = RUN / "sample" / "sample.db", RUN / "backups", RUN / "writer.pid"
        database.parent.mkdir()
        sample("create", database)
        sample("start", database, "--pid-file", str(pid_file))
    try:
        status = play(variables(database, backup_dir, report, pid_file))
    finally:
        if pid_file is not None:
            sample("stop", database, "--pid-file", str(pid_file))
    if status == 0:
        sys.stdout.write("\n" + report.read_text(encoding="utf-8"))
        if own:
            sys.stdout.write(f"\nYour database was only read. The backup is kept in {backup_dir}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
