# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The modules run with every Python that a managed host may have, from 3.9 to 3.14."""

from __future__ import annotations

import sample_app


def test_backup_and_restore_with_every_managed_python(controller, shop, managed_pythons):
    assert managed_pythons, "at least the controller's own Python is one"
    database = {"database": shop["database"]}
    tasks = []
    for release, python in managed_pythons.items():
        asked = {"vars": {"ansible_python_interpreter": python}}
        loss = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('DELETE FROM accounts'); c.commit()"
        tasks += [
            {"name": f"backup {release}", "sqlite_backup": database, **asked},
            {"name": "loss", "ansible.builtin.command": {"argv": [python, "-c", loss, shop["database"]]}},
            {"name": f"restore {release}", "sqlite_restore": {**database, "force": True}, **asked},
            {"name": "health", "backup_health": {"fail_on": "degraded"}, **asked},
            {"name": "retention", "backup_retention": {}, **asked},
        ]
    played = controller.play(tasks, defaults={"backup_dir": shop["backup_dir"], "name": "shop"})
    assert played.status == 0, played.output
    for release in managed_pythons:
        assert played[f"restore {release}"].changed
        used = played[f"backup {release}"].result["backup"]["tool"]["python"]
        assert used.startswith(release + ".")
    assert sample_app.check(shop["database"])["total"] == sample_app.ACCOUNTS * sample_app.START_BALANCE
