# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The documents tell the truth: their commands run, what exists is documented, the references are those of the code."""

from __future__ import annotations

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest
import sample_app
import yaml
from engine import errors

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))


def _load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fences = _load(HERE / "fences.py")
sys.modules["fences"] = fences
on_host = _load(HERE / "on_host.py")
reference = _load(ROOT / "tools" / "reference.py")
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "roles").glob("*/README.md")])
FENCES = [fence for path in DOCUMENTS for fence in fences.of(str(path.relative_to(ROOT)), path.read_text("utf-8"))]


def _id(fence):
    return f"{fence.document}:{fence.line}"


def _ansible(tmp_path, *command):
    config = tmp_path / "ansible.cfg"
    config.write_text("[defaults]\n", encoding="ascii")
    environment = {**os.environ, "ANSIBLE_HOME": str(tmp_path / "home"), "ANSIBLE_CONFIG": str(config)}
    program = pathlib.Path(sys.executable).parent / command[0]
    return subprocess.run(
        [str(program), *command[1:]], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )


def test_fences_are_all_marked():
    assert fences.problems(FENCES) == []


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("```console\nmake x\n```\n", "no mark"),
        ("<!-- test: walk -->\n```console\nmake x\n```\n", "unknown mark"),
        ("<!-- test: skip -->\n```console\nmake x\n```\n", "without a reason"),
        ("<!-- test: exit well -->\n```console\nmake x\n```\n", "needs a status"),
    ],
)
def test_fence_checker_complains_of_a_bad_mark(text, complaint):
    assert complaint in fences.problems(fences.of("x.md", text))[0]


@pytest.mark.parametrize(
    ("shown", "printed", "lacking"),
    [
        ("one 1\nthree 3\n", "one 7\ntwo\nthree 12.5\n", None),
        ("one 1\nthree 3\n", "three 3\none 1\n", "three 3"),
        ("one 1\n", "one 1 more\n", "one 1"),
        ("one 1...\n", "one 1 more\n", None),
        (
            "app_20260101_000000.db 2026-01-01T00:00:00.000Z\n",
            "    - app_20270202_111111_2.db   2027-01-02T03:04:05Z\n",
            None,
        ),
        ("confirm 0123456789abcdef\n", "confirm fedcba9876543210\n", None),
        ("rows 5 ok\n", "rows 5 failed\n", "rows 5 ok"),
        ("anything\n", "", "anything"),
    ],
)
def test_what_a_document_shows_is_looked_for_in_its_order(shown, printed, lacking):
    assert on_host.missing(shown, printed) == lacking


def test_command_that_ends_otherwise_than_the_document_says_is_told(tmp_path):
    document = tmp_path / "page.md"
    runner = [sys.executable, str(HERE / "on_host.py"), str(document), f"--directory={tmp_path}", "--host=sh -eu"]
    for body, good in (
        ("<!-- test: host -->\n```console\ntrue\n```\n", True),
        ("<!-- test: host -->\n```console\nfalse\n```\n", False),
        ("<!-- test: controller exit 3 -->\n```console\nexit 3\n```\n", True),
        ("<!-- test: controller after nothing -->\n```console\ntrue\n```\n", False),
        ("<!-- test: host -->\n```console\necho 5 rows\n```\n<!-- test: output -->\n```text\n7 rows\n```\n", True),
        ("<!-- test: host -->\n```console\necho 5 rows\n```\n<!-- test: output -->\n```text\n7 cows\n```\n", False),
    ):
        document.write_text(body, encoding="utf-8")
        (tmp_path / "actions.sh").write_text("", encoding="utf-8")
        done = subprocess.run(
            [*runner, f"--actions={tmp_path}/actions.sh"], capture_output=True, text=True, check=False
        )
        assert (done.returncode == 0) == good, body + done.stdout + done.stderr


@pytest.mark.parametrize("fence", [f for f in FENCES if f.verb in ("run", "exit")], ids=_id)
def test_fenced_commands_do_what_is_said(fence, tmp_path):
    """Run from a checkout, beside a sample database called app.db, in one shell."""
    for name in ("plugins", "playbooks", "roles"):
        (tmp_path / name).symlink_to(ROOT / name)
    sample_app.create(str(tmp_path / "app.db"), mib=1)
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        ["bash", "-ec" if fence.verb == "run" else "-c", fence.body],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == (int(fence.rest) if fence.verb == "exit" else 0), done.stdout + done.stderr


@pytest.mark.parametrize("fence", [f for f in FENCES if f.verb == "playbook"], ids=_id)
def test_fenced_playbooks_are_playbooks(fence, tmp_path):
    path = tmp_path / "play.yml"
    path.write_text(fence.body, encoding="utf-8")
    done = _ansible(tmp_path, "ansible-playbook", "--inventory=localhost,", "--syntax-check", str(path))
    assert done.returncode == 0, done.stdout + done.stderr


def test_readme_playbook_has_ten_lines():
    playbooks = [fence for fence in FENCES if fence.document == "README.md" and fence.verb == "playbook"]
    assert playbooks
    assert all(len(fence.body.splitlines()) <= 10 for fence in playbooks)


def test_readme_names_every_module():
    text = (ROOT / "README.md").read_text("utf-8")
    assert [name for name in MODULES if f"`{name}`" not in text] == []


def test_readme_links_lead_somewhere():
    import re

    text = (ROOT / "README.md").read_text("utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_playbooks_are_documented():
    text = "".join(path.read_text("utf-8") for path in DOCUMENTS)
    assert [path.name for path in PLAYBOOKS if path.name not in text] == []


@pytest.mark.parametrize("page", sorted(reference.PAGES))
def test_reference_is_that_of_the_code(page):
    """When this fails: make reference."""
    assert (ROOT / page).read_text("utf-8") == reference.PAGES[page]()


def test_reference_has_every_error_code_and_command():
    page = reference.error_page()
    assert [code for code in errors.CODES if f"| `{code}` |" not in page] == []
    commands = reference.command_page()
    assert [name for name in reference.commands() if f"## {name}\n" not in commands] == []


def test_every_flag_has_a_help_text():
    silent = [
        f"{name} {action.option_strings}"
        for name, command in reference.commands().items()
        for action in command._actions
        if not action.help
    ]
    assert silent == []


@pytest.mark.parametrize("role", ROLES)
def test_role_readme_has_every_input(role):
    """The role's table and its argument specs name the same variables, with the same defaults."""
    specs = yaml.safe_load((ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text("utf-8"))
    defaults = yaml.safe_load((ROOT / "roles" / role / "defaults" / "main.yml").read_text("utf-8")) or {}
    text = (ROOT / "roles" / role / "README.md").read_text("utf-8")
    options = {}
    for entry in specs["argument_specs"].values():
        options.update(entry.get("options", {}))
    assert sorted(options) == sorted(defaults)
    assert [name for name in options if f"| `{name}` |" not in text] == []
    stated = {name: option["default"] for name, option in options.items() if "default" in option}
    assert stated == {name: defaults[name] for name in stated}


def test_modules_render_as_manual_pages(tmp_path):
    names = [f"digitalme.backup.{name}" for name in MODULES]
    done = _ansible(tmp_path, "ansible-doc", "--json", "--type", "module", *names)
    assert done.returncode == 0, done.stderr
    pages = json.loads(done.stdout)
    assert sorted(pages) == sorted(names)
    for name, page in pages.items():
        for option, told in page["doc"]["options"].items():
            assert told["description"], f"{name}: {option}"
        for key, told in page["return"].items():
            assert "sample" in told, f"{name}: {key} has no sample"


def test_examples_of_every_module_are_tasks(tmp_path):
    tasks = []
    for name in MODULES:
        done = _ansible(tmp_path, "ansible-doc", "--json", "--type", "module", f"digitalme.backup.{name}")
        examples = yaml.safe_load(json.loads(done.stdout)[f"digitalme.backup.{name}"]["examples"])
        assert any(f"digitalme.backup.{name}" in task for task in examples), name
        tasks += examples
    play = tmp_path / "play.yml"
    play.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}]), encoding="utf-8")
    done = _ansible(tmp_path, "ansible-playbook", "--inventory=localhost,", "--syntax-check", str(play))
    assert done.returncode == 0, done.stdout + done.stderr
