#!/usr/bin/env python3
# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Write the reference documents from the code: docs/ERRORS.md, docs/COMMANDS.md, the tables of the roles' README.md,
and of docs/DRILL_REPORT.md, with its schema; docs/API.md (api_reference.py).

tests/docs compares them.

The layout of argparse's help differs between Python releases, so the commands are written from the parser's data.
"""

from __future__ import annotations

import argparse
import functools
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "plugins" / "module_utils"))
sys.path.insert(0, str(ROOT / "tools"))

import api_reference  # noqa: E402
from engine import __main__ as program  # noqa: E402
from engine import arguments, errors  # noqa: E402

MADE = "<!-- made by tools/reference.py: change the code, then run make reference -->\n"


def error_page():
    """Every error code, its exit status and the next step."""
    lines = [
        "# Error codes",
        "",
        MADE,
        "A failed module, command or API call answers with `error_code` and `msg`, which names the file, the cause and",
        "the next step; the command line exits with the status. Unless the step says otherwise, all is as it was.",
        "",
        "| code | exit status | next step |",
        "| --- | ---: | --- |",
    ]
    for code, kind in sorted(errors.CODES.items()):
        lines.append(f"| `{code}` | {kind.exit_code} | {kind.hint} |")
    return "\n".join(lines) + "\n"


def command_page():
    """Every command with its arguments, flags and example."""
    lines = ["# The command line", "", MADE, (program.__doc__ or "").strip(), ""]
    for name, command in commands().items():
        lines += [f"## {name}", "", str(command.description), "", "```text", example(command), "```", ""]
        lines += ["| | |", "| --- | --- |"]
        lines += [row(action) for action in command._actions if not isinstance(action, argparse._HelpAction)]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def commands():
    """{name: parser} of all commands."""
    top = arguments.parser()
    groups = [action for action in top._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(groups[0].choices)


def example(command):
    return str(command.epilog).partition("example: ")[2]


def row(action):
    shown = ", ".join(f"`{flag}`" for flag in action.option_strings) or f"`{action.metavar}`"
    if action.option_strings and action.nargs != 0:
        shown += f" {action.metavar or action.dest.upper()}"
    if action.choices:
        shown = ", ".join(f"`{flag}`" for flag in action.option_strings) + " " + "\\|".join(action.choices)
    return f"| {shown} | {(action.help or '').replace('%%', '%')} |"


TABLE = "<!-- made by tools/reference.py from meta/argument_specs.yml: change that, then run make reference -->"


def role_page(role):
    """The role's README.md: what stands above the mark is written by hand, the table of variables below is made."""
    import yaml

    place = ROOT / "roles" / role
    specs = yaml.safe_load((place / "meta" / "argument_specs.yml").read_text("utf-8"))["argument_specs"]
    text = (place / "README.md").read_text("utf-8").partition(TABLE)[0].rstrip()
    lines = [text, "", TABLE]
    for entry, spec in specs.items():
        if not spec.get("options"):
            continue
        lines += ["", *([f"`tasks_from: {entry}`", ""] if entry != "main" else [])]
        lines += ["| variable | default | meaning |", "| --- | --- | --- |"]
        lines += [option_row(name, option) for name, option in spec["options"].items()]
    return "\n".join(lines) + "\n"


def option_row(name, option):
    default = "required" if option.get("required") else option.get("default")
    shown = default if default == "required" else "" if default in (None, "") else f"`{plain_value(default)}`"
    said = option["description"]
    text = " ".join(said if isinstance(said, list) else [said])
    choices = f" One of {', '.join(f'`{choice}`' for choice in option['choices'])}." if option.get("choices") else ""
    return f"| `{name}` | {shown} | {plain(text)}{choices} |".replace("|  |", "| |")


def plain_value(value):
    import json

    text = value if isinstance(value, str) else json.dumps(value)
    return text.replace("|", "\\|")


FIELDS = "<!-- made by tools/reference.py from the report's schema.json: change that, then run make reference -->"
SCHEMA = ROOT / "plugins" / "plugin_utils" / "report" / "schema.json"


def report_page():
    """docs/DRILL_REPORT.md: what stands above the mark is written by hand, the tables of fields below are made."""
    import json

    schema = json.loads(SCHEMA.read_text("ascii"))
    text = (ROOT / "docs" / "DRILL_REPORT.md").read_text("utf-8").partition(FIELDS)[0].rstrip()
    lines = [text, "", FIELDS]
    for name, part in [("report", schema), *schema["$defs"].items()]:
        lines += ["", f"### {name}", "", part["description"], "", "| field | type | meaning |", "| --- | --- | --- |"]
        lines += field_rows(part)
    return "\n".join(lines) + "\n"


def field_rows(part, above=""):
    """A row for each field of an object of the schema, those of an object in it right below."""
    for name, field in part["properties"].items():
        always = "" if name in part["required"] else " Not always there."
        choices = [f"`{choice}`" for choice in field.get("enum", ()) if choice is not None]
        one_of = f" One of {', '.join(choices)}." if len(choices) > 1 else ""
        yield f"| `{above}{name}` | {field_type(field)} | {plain(field['description'])}{one_of}{always} |"
        if "properties" in field:
            yield from field_rows(field, f"{above}{name}.")


def field_type(field):
    """What a field holds, with a link where that has a table of its own."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{name})"
    if "items" in field:
        return f"list of {field_type(field['items'])}"
    types = field["type"] if isinstance(field["type"], list) else [field["type"]]
    shown = ["time" if "pattern" in field and name == "string" else name for name in types]
    return " or ".join(shown)


def plain(text):
    """Ansible's markup as Markdown."""
    import re

    text = re.sub(r"\b[CVOI]\(([^)]*)\)", r"`\1`", text)
    return re.sub(r"\bM\(([^)]*)\)", r"`\1`", text).replace("|", "\\|")


ROLES = sorted(path.parent.parent.name for path in ROOT.glob("roles/*/meta/argument_specs.yml"))
PAGES = {
    "docs/ERRORS.md": error_page,
    "docs/COMMANDS.md": command_page,
    "docs/API.md": lambda: api_reference.page(MADE),
    "docs/api/openapi.json": api_reference.openapi,
    "docs/DRILL_REPORT.md": report_page,
    "docs/drill-report.schema.json": lambda: SCHEMA.read_text("ascii"),
    **{f"roles/{role}/README.md": functools.partial(role_page, role) for role in ROLES},
}


def main():
    for name, page in PAGES.items():
        (ROOT / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
