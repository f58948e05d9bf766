# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The engine installs itself: what is there afterwards works, and what was broken off is mended by the next install."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import zipfile

import pytest
from engine import __main__, config, deploy, errors, files, operations

assert __main__  # The sources that are shipped are those of the package, with its command line.


class Host:
    def __init__(self, root):
        self.home = root / "opt"
        self.command = root / "bin" / "digitalme-backup"

    def install(self, **more):
        return operations.install(home=str(self.home), command=str(self.command), **more)

    def run(self, *words, **environment):
        return subprocess.run(
            [str(self.command), *words],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def releases(self):
        return sorted(path.name for path in (self.home / "releases").iterdir())


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def test_installed_command_works_without_the_checkout(host, database, tmp_path):
    result = host.install()
    assert result["changed"] and host.releases() == [result["release"]]
    assert host.command.stat().st_mode & 0o777 == 0o755
    done = host.run("backup", "--database", database, "--backup-dir", str(tmp_path / "backups"), PYTHONPATH="/nowhere")
    assert done.returncode == 0, done.stderr
    assert any(path.suffix == ".pyc" for path in (host.home / "current").rglob("*.pyc"))


def test_second_install_changes_nothing_and_check_mode_never_does(host, tmp_path):
    assert host.install(check=True)["changed"] and not host.home.exists()
    host.install()
    before = {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert not host.install()["changed"]
    assert {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_upgrade_keeps_the_release_before_and_removes_older_ones(host, monkeypatch):
    shipped = deploy.sources()
    releases = []
    for number in range(3):
        changed = {**shipped, "__init__.py": shipped["__init__.py"] + b"# %d\n" % number}
        monkeypatch.setattr(deploy, "sources", lambda found=changed: found)
        releases.append(host.install()["release"])
    assert host.releases() == sorted(releases[1:])
    assert os.readlink(host.home / "current") == f"releases/{releases[2]}"
    assert host.run("--version").returncode == 0


def test_running_program_keeps_its_release_when_another_becomes_current(host, database, tmp_path):
    """The command resolves the link before it imports anything: the rooms it loads later are of the same release."""
    host.install()
    other = host.home / "releases" / "0.0.0-other"
    (other / "engine").mkdir(parents=True)
    (other / "engine" / "__init__.py").write_text("raise SystemExit('the other release')\n")
    text = host.command.read_text().replace("program()", "")
    current = str(host.home / "current")
    swap = f"os.unlink({current!r}); os.symlink({str(other)!r}, {current!r})\n"
    script = tmp_path / "late"
    script.write_text(text + swap + "sys.argv[1:] = ['list', '--backup-dir', '/nowhere', '--name', 'x']\nprogram()\n")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, "the other release" in done.stderr) == (0, False), done.stderr


@pytest.mark.parametrize("broken", ["partial", "changed", "removed", "compiled by another"])
def test_release_that_was_broken_is_written_again(host, broken):
    release = host.install()["release"]
    path = host.home / "releases" / release
    if broken == "partial":
        path.rename(path.with_name(f".{release}.partial"))
    elif broken == "changed":
        (path / "engine" / "clock.py").write_text("raise SystemExit('by hand')\n")
    elif broken == "removed":
        (path / "engine" / "clock.py").unlink()
    else:
        (path / "compiled-by").write_text("/usr/bin/python2 2.7\n")
    assert host.install()["changed"]
    assert not host.install()["changed"]
    assert host.releases() == [release]
    assert host.run("list", "--backup-dir", "/nowhere", "--name", "x").returncode == 0


def test_install_that_was_killed_before_the_exchange_leaves_the_old_release(host, monkeypatch):
    old = host.install()["release"]
    shipped = deploy.sources()
    monkeypatch.setattr(deploy, "sources", lambda: {**shipped, "__init__.py": shipped["__init__.py"] + b"# new\n"})

    def stop(*_arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(files, "replace_link", stop)
        with pytest.raises(KeyboardInterrupt):
            host.install()
    assert os.readlink(host.home / "current") == f"releases/{old}"
    assert host.run("--version").returncode == 0
    assert os.readlink(host.home / "current") != f"releases/{host.install()['release']}" or host.releases()
    assert host.run("--version").returncode == 0


def test_command_reads_the_configuration_that_it_was_installed_with(host, database, tmp_path):
    where = tmp_path / "etc" / "config.json"
    where.parent.mkdir()
    where.write_text(f'{{"databases": [{{"path": "{database}", "backup_dir": "{tmp_path}/b"}}]}}')
    host.install(config_path=str(where))
    assert host.run("run", "--only", "backup").returncode == 0
    assert (tmp_path / "b").is_dir()
    host.install(config_path=config.PATH)
    assert str(where) not in host.command.read_text()


def test_sources_are_the_same_from_a_zip_file(tmp_path):
    archive = tmp_path / "engine.zip"
    package = pathlib.Path(deploy.__file__).parent
    with zipfile.ZipFile(archive, "w") as target:
        for path in package.rglob("*.py"):
            target.write(path, pathlib.Path("engine") / path.relative_to(package))
    code = "from engine import __main__, deploy; print(deploy._digest(deploy.sources()))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(archive)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == deploy._digest(deploy.sources())
    assert set(deploy.sources()) == {str(path.relative_to(package)) for path in package.rglob("*.py")}


@pytest.mark.parametrize("what", ["home", "command", "python"])
def test_relative_path_is_refused(host, what):
    given = {"home": str(host.home), "command": str(host.command), "python": sys.executable, what: "some/where"}
    with pytest.raises(errors.UsageError, match=f"'{what}' is no absolute path"):
        operations.install(**given)


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        ("echo 3.8.10", "this is Python 3.8.10; 3.9 or newer is needed"),
        ("echo 'ModuleNotFoundError: No module named sqlite3' >&2; exit 1", "cannot run the engine"),
    ],
)
def test_python_that_cannot_run_the_engine_is_refused(host, tmp_path, script, cause):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    with pytest.raises(errors.UsageError, match=cause):
        host.install(python=str(python))
    with pytest.raises(errors.UsageError, match="cannot be run"):
        host.install(python=str(tmp_path / "nothing"))
    assert not host.home.exists()


def test_removal_takes_the_command_and_the_releases_and_nothing_else(host):
    host.install()
    (host.home / "mine").write_text("x")
    assert operations.install(state="absent", home=str(host.home), command=str(host.command), check=True)["changed"]
    assert host.command.exists()
    operations.install(state="absent", home=str(host.home), command=str(host.command))
    assert not host.command.exists() and [path.name for path in host.home.iterdir()] == ["mine"]
    assert not operations.install(state="absent", home=str(host.home), command=str(host.command))["changed"]
