# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The first drill, as `make drill` runs it."""

from __future__ import annotations

import hashlib
import os
import pathlib
import re
import subprocess
import sys

import sample_app

PHASES = ("choose", "space", "stage", "verify", "restore", "compare", "full_restore", "clean")
DRILLED = [f"drill: {phase}" for phase in PHASES]
DRILL = pathlib.Path(__file__).resolve().parent.parent.parent / "tools" / "drill.py"


def _drill(work, **settings):
    environment = {**os.environ, "WORK": str(work), **settings}
    return subprocess.run(
        [sys.executable, str(DRILL)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def _table(output):
    """{step: (seconds, result)} of the table at the end."""
    rows = re.findall(r"^(\S.*?) +(\d+\.\d\d) s  (.+)$", output, re.M)
    return {step: (float(seconds), result) for step, seconds, result in rows}


def test_drill_of_the_sample_ends_with_its_table(tmp_path):
    done = _drill(tmp_path / "work")
    assert done.returncode == 0, done.stdout + done.stderr
    table = _table(done.stdout)
    assert list(table) == ["backup", *DRILLED, "real restore", "lost (RPO)", "took (RTO)"]
    # Which of the two depends on how far the writer's log has grown.
    assert table["backup"][1].startswith(("clone, ", "online, "))
    assert table["drill: verify"][1] == "level full: ok"
    assert "the content is whole" in table["real restore"][1]
    assert int(table["lost (RPO)"][1].split()[0]) > 0
    assert not (tmp_path / "work" / "run" / "writer.pid").exists()
    sample_app.check(str(tmp_path / "work" / "run" / "sample" / "sample.db"))
    page = pathlib.Path(re.search(r"^The drill's report: (.+)$", done.stdout, re.M).group(1))
    assert "were restored from their backups and proved whole" in page.read_text(encoding="utf-8")


def test_drill_of_an_own_database_only_reads_it(tmp_path):
    database = tmp_path / "mine.db"
    sample_app.create(str(database), mib=1)
    before = hashlib.sha256(database.read_bytes()).hexdigest(), sorted(os.listdir(tmp_path))
    done = _drill(tmp_path / "work" / "drill", DATABASE=str(database))
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(_table(done.stdout)) == ["backup", *DRILLED]
    after = hashlib.sha256(database.read_bytes()).hexdigest(), sorted(set(os.listdir(tmp_path)) - {"work"})
    assert after == before
    assert list((tmp_path / "work" / "drill" / "backups").glob("mine_*.db"))


def test_drill_of_a_missing_database_fails_and_says_why(tmp_path):
    done = _drill(tmp_path / "work", DATABASE=str(tmp_path / "missing.db"))
    assert done.returncode != 0
    assert "database_not_found" in done.stdout
    assert not _table(done.stdout)


def test_sample_disaster_refuses_any_other_database(tmp_path):
    """The damage is for the sample alone, whatever the variables say."""
    import sqlite3

    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE t (x)")
    before = other.read_bytes()
    done = subprocess.run(
        [sys.executable, sample_app.__file__, "damage", str(other)], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "left alone" in done.stderr
    assert other.read_bytes() == before
