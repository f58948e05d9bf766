# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The jobs for CI do what they say: their commands are run, and what they publish is what a drill writes."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CI = ROOT / "docs" / "ci"
ENVIRONMENT = ROOT / "execution-environment.yml"


def _github():
    document = yaml.safe_load((CI / "github-actions.yml").read_text())
    steps = {step.get("name", step.get("uses")): step for step in document["jobs"]["drill"]["steps"]}
    published = steps["Keep the report"]
    assert steps["Show the summary"]["if"] == published["if"] == "always()"
    return {
        "install": steps["Install Ansible and the collection"]["run"],
        "key": steps["Take the key from the secrets"]["run"],
        "drill": steps["Drill"]["run"],
        "after": steps["Show the summary"]["run"],
        "published": [published["with"]["path"]],
    }


def _gitlab():
    job = yaml.safe_load((CI / "gitlab-ci.yml").read_text())["backup-drill"]
    assert job["artifacts"]["when"] == "always"
    before = job["before_script"]
    return {
        "install": "\n".join(before[1:4]),
        "key": before[4],
        "drill": "\n".join(job["script"]),
        "after": "\n".join(job["after_script"]),
        "published": [*job["artifacts"]["paths"], job["artifacts"]["reports"]["junit"]],
    }


def _jenkins():
    text = (CI / "Jenkinsfile").read_text()
    install, drill = (re.sub(r"(?m)^ {20,24}", "", body) for body in re.findall(r"sh '''(.*?)'''", text, re.S))
    always = text.partition("always {")[2]
    published = re.findall(r"(?:testResults|artifacts): '([^']+)'", always)
    return {"install": install, "key": "", "drill": drill, "after": "", "published": published}


JOBS = {"github": _github, "gitlab": _gitlab, "jenkins": _jenkins}


@pytest.fixture
def workspace(fleet, tmp_path):
    """A repository with an inventory of one host that is backed up, and an environment with this Ansible."""
    site = fleet.add("shop-1", "app")
    fleet.make(site, "app")
    assert fleet.play("backup.yml")[0] == 0
    place = tmp_path / "workspace"
    place.mkdir()
    shutil.copy(tmp_path / "inventory.json", place / "inventory.yml")
    programs = place / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "ansible-playbook").symlink_to(pathlib.Path(sys.executable).parent / "ansible-playbook")
    return place


def _sh(script, place, **environment):
    told = {**os.environ, "ANSIBLE_HOME": str(place / "ansible"), "ANSIBLE_NOCOLOR": "1", "PWD": str(place)}
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=place,
        env={**told, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", JOBS)
def test_job_drills_publishes_and_fails_with_the_drill(name, workspace, tmp_path):
    job = JOBS[name]()
    settings = {"SELECTION": "random", "RUNNER_TEMP": str(tmp_path), "DRILL_KNOWN_HOSTS": "/dev/null"}
    settings["GITHUB_STEP_SUMMARY"] = str(tmp_path / "summary.md")
    settings["CI_PROJECT_DIR"] = str(workspace)
    done = _sh(job["drill"], workspace, **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    for path in job["published"]:
        found = list(workspace.glob(path.rstrip("/")))
        assert found and any(each.is_dir() or each.stat().st_size for each in found), path
    report = json.loads((workspace / "drill-reports" / "latest" / "drill.json").read_text())
    assert report["selection"]["rule"] == "random"
    assert _sh(job["after"] or "true", workspace, **settings).returncode == 0
    (backup,) = (tmp_path / "shop-1" / "b" / "app").glob("*.db")
    backup.write_bytes(backup.read_bytes()[:-1] + b"X")
    assert _sh(job["drill"], workspace, **settings).returncode != 0
    assert 'errors="0"' in (workspace / "drill-reports" / "latest" / "junit.xml").read_text()


@pytest.mark.parametrize("name", ["github", "gitlab"])
def test_key_is_in_a_file_that_nobody_else_can_read(name, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("the key")
    key = tmp_path / "key"
    settings = {"RUNNER_TEMP": str(tmp_path), "DRILL_SSH_KEY": "the key" if name == "github" else str(secret)}
    settings.update(DRILL_KNOWN_HOSTS="host", ANSIBLE_PRIVATE_KEY_FILE=str(key))
    assert _sh(JOBS[name]()["key"], tmp_path, **settings).returncode == 0
    assert key.read_text().strip() == "the key"
    assert key.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", JOBS)
def test_job_installs_by_hashes_and_hands_no_secret_to_a_program(name):
    job = JOBS[name]()
    assert "pip install --require-hashes -r requirements.txt" in job["install"]
    assert "ansible-galaxy collection install -r requirements.yml" in job["install"]
    assert not re.search(r"\$\{?DRILL_SSH_KEY|\$\{?ANSIBLE_PRIVATE_KEY_FILE", job["drill"])
    assert (
        "StrictHostKeyChecking=yes"
        in (CI / {"github": "github-actions.yml", "gitlab": "gitlab-ci.yml"}.get(name, "Jenkinsfile")).read_text()
    )


@pytest.mark.parametrize(
    ("file", "schema"), [("github-actions.yml", "vendor.github-workflows"), ("gitlab-ci.yml", "vendor.gitlab-ci")]
)
def test_job_is_one_by_its_schema(file, schema):
    command = [str(pathlib.Path(sys.executable).parent / "check-jsonschema"), "--builtin-schema", schema]
    if schema == "vendor.gitlab-ci":
        command += ["--data-transform", "gitlab-ci"]
    done = subprocess.run([*command, str(CI / file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_execution_environment_is_created_from_the_collection(tmp_path):
    (tmp_path / "build").mkdir()
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    tarball = tmp_path / "build" / f"digitalme-backup-{version}.tar.gz"
    tarball.write_bytes(b"as make build makes it")
    shutil.copy(ENVIRONMENT, tmp_path)
    builder = pathlib.Path(sys.executable).parent / "ansible-builder"
    done = subprocess.run([str(builder), "create"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    context = tmp_path / "context"
    assert (context / "_build" / "collections" / tarball.name).read_bytes() == tarball.read_bytes()
    wanted = yaml.safe_load((context / "_build" / "requirements.yml").read_text())["collections"]
    assert wanted == [{"name": f"collections/{tarball.name}", "type": "file"}]
    assert "openssh-clients" in (context / "_build" / "bindep.txt").read_text()


def test_execution_environment_pins_what_the_requirements_pin():
    pinned = {
        line.split(";")[0].strip()
        for line in (ROOT / "requirements.in").read_text().splitlines()
        if line and not line.startswith("#")
    }
    described = yaml.safe_load(ENVIRONMENT.read_text())["dependencies"]
    assert described["ansible_core"]["package_pip"] in pinned
    meta = yaml.safe_load((ROOT / "meta" / "execution-environment.yml").read_text())
    beside = (ROOT / meta["dependencies"]["python"]).read_text().splitlines()
    assert {line for line in beside if not line.startswith("#")} == {
        line for line in pinned if not line.startswith("ansible-core")
    }
