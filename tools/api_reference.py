# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""docs/API.md and docs/api/openapi.json, from the OpenAPI document that the service itself makes."""

from __future__ import annotations

import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "roles" / "api" / "files"))


def document():
    """The OpenAPI document, with /metrics."""
    import tempfile

    from backup_api import app, settings

    with tempfile.TemporaryDirectory() as keys:
        (pathlib.Path(keys) / "none.secret").write_text("x" * settings.SHORTEST_SECRET)
        database = {"name": "shop", "gate": "/nowhere"}
        made = settings.Settings(databases=[database], tokens={"keys_dir": keys}, metrics="token")
        return app.create(made, _version()).openapi()


def _version():
    import yaml

    return yaml.safe_load((ROOT / "galaxy.yml").read_text("utf-8"))["version"]


def openapi():
    return json.dumps(document(), indent=1, sort_keys=True, ensure_ascii=True) + "\n"


def page(mark):
    """Every route: what it is for, who may ask, what it takes and answers."""
    made = document()
    lines = ["# The REST API", "", mark, made["info"]["description"], ""]
    lines += [
        "How it is used: [API_RECIPES.md](API_RECIPES.md). For programs: [api/openapi.json](api/openapi.json).",
        "",
    ]
    lines += ["| route | scope | |", "| --- | --- | --- |"]
    routes = [(path, method, route) for path, methods in made["paths"].items() for method, route in methods.items()]
    routes.sort(key=lambda row: (row[0], row[1]))
    for path, method, route in routes:
        title = f"{method.upper()} {path}"
        lines.append(f"| [{title}](#{_anchor(title)}) | {route.get('x-required-scope', 'none')} | {route['summary']} |")
    for path, method, route in routes:
        lines += ["", f"## {method.upper()} {path}", "", f"Scope: {route.get('x-required-scope', 'none')}."]
        lines += ["", *route.get("description", "").splitlines()]
        lines += _parameters(route)
        lines += _body(route)
        lines += _answers(route)
    lines += ["", "## What the answers hold"]
    for name, schema in sorted(made["components"]["schemas"].items()):
        lines += ["", f"### {name}", "", *schema.get("description", "").splitlines()]
        lines += ["" if schema.get("description") else None, "| field | type |", "| --- | --- |"]
        lines += [f"| `{field}` | {_type(part)} |" for field, part in schema["properties"].items()]
    return "\n".join(line for line in lines if line is not None) + "\n"


def _anchor(title):
    return "".join(c for c in title.lower().replace(" ", "-") if c.isalnum() or c in "-_")


def _parameters(route):
    rows = route.get("parameters", ())
    if not rows:
        return []
    lines = ["", "| parameter | in | type | |", "| --- | --- | --- | --- |"]
    for row in rows:
        about = row.get("description") or row["schema"].get("description") or ""
        lines.append(f"| `{row['name']}` | {row['in']} | {_type(row['schema'])} | {about} |")
    return lines


def _body(route):
    content = route.get("requestBody", {}).get("content", {})
    return [line for part in content.values() for line in ("", f"Body, where there is one: {_type(part['schema'])}.")]


def _answers(route):
    lines = ["", "| status | answer | |", "| ---: | --- | --- |"]
    for status, answer in route["responses"].items():
        kinds = [
            _type(part["schema"]) if part.get("schema") else kind for kind, part in answer.get("content", {}).items()
        ]
        lines.append(f"| {status} | {', '.join(dict.fromkeys(kinds)) or 'nothing'} | {answer['description']} |")
    return lines


def _type(part):
    if "$ref" in part:
        name = part["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in part:
        return " or ".join(_type(each) for each in part["anyOf"])
    if "enum" in part:
        return " or ".join(f"`{value}`" for value in part["enum"])
    if part.get("type") == "array":
        return f"list of {_type(part['items'])}"
    if part.get("format") == "date-time":
        return "time"
    return part.get("type", "anything")
