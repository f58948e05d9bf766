# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Metrics, alert rules, their pages and the dashboard fit each other, as Prometheus' own promtool reads them."""

from __future__ import annotations

import json
import pathlib
import re
import shutil
import subprocess

import pytest
import yaml
from engine import metrics, operations

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FILES = ROOT / "roles" / "monitoring" / "files"
RULES_FILE = FILES / "digitalme-backup.rules.yml"
RULES_TESTS = sorted((ROOT / "tests" / "integration" / "rules").glob("*.test.yml"))
PAGES = ROOT / "docs" / "alerts"
BASE = "https://github.com/digitalme/backup/blob/main/docs/alerts/"
GROUP = yaml.safe_load(RULES_FILE.read_text("utf-8"))["groups"][0]
RULES = {rule["alert"]: rule for rule in GROUP["rules"]}
DASHBOARD = json.loads((FILES / "digitalme-backup-dashboard.json").read_text("utf-8"))
FAMILIES = {metrics.PREFIX + name: said for name, said in metrics.FAMILIES}
SECTIONS = ["Meaning", "Impact", "Diagnosis", "Mitigation"]


def _promtool(*arguments, text=None):
    program = shutil.which("promtool")
    assert program, "promtool is not installed: on Debian it is in the package prometheus"
    command = [program, *map(str, arguments)]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def _used(text):
    """Names of our series in a PromQL expression."""
    return set(re.findall(rf"{metrics.PREFIX}\w+", text))


def _found(value, key):
    """Every value under a key, wherever it stands in nested data."""
    if isinstance(value, dict):
        return ([value[key]] if key in value else []) + [x for each in value.values() for x in _found(each, key)]
    return [x for each in value for x in _found(each, key)] if isinstance(value, list) else []


# --- metrics ---------------------------------------------------------------------------------------------------------


def test_rendered_files_are_what_promtool_likes(tmp_path, make_db):
    """Of a name before its first backup, with odd characters, and after a backup and a restore test."""
    names = ["gone", 'odd "name" {1}', "app"]
    paths = [tmp_path / "gone.db", make_db(tmp_path / "odd.db"), make_db(tmp_path / "app.db")]
    rows = [{"name": name, "path": str(path)} for name, path in zip(names, paths)]
    defaults = {"backup_dir": str(tmp_path / "backups"), "disk_limit_percent": 100, "rpo_objective": 86400}
    directory = tmp_path / "textfile"
    directory.mkdir()
    config = tmp_path / "config.json"
    log = str(tmp_path / "audit.jsonl")
    config.write_text(
        json.dumps({"databases": rows, "defaults": defaults, "metrics_dir": str(directory), "audit_log": log})
    )
    operations.run(names=["app"], config_path=str(config))
    operations.restore(name="app", test=True, config_path=str(config))
    for name in names:
        operations.metrics(name=name, config_path=str(config))
    files = sorted(directory.glob("*.prom"))
    assert len(files) == len(names)
    for path in files:
        done = _promtool("check", "metrics", text=path.read_text("utf-8"))
        assert (done.returncode, done.stdout + done.stderr) == (0, ""), path


def test_promtool_complains_of_a_bad_metric():
    assert _promtool("check", "metrics", text="digitalme_backup_sizeBytes 1\n").returncode != 0


def test_document_has_every_series_with_its_help():
    text = (ROOT / "docs" / "METRICS.md").read_text("utf-8")
    rows = re.findall(rf"^\| `({metrics.PREFIX}\w+)` \|[^|]*\| (.*) \|$", text, re.M)
    assert dict(rows) == FAMILIES and len(rows) == len(FAMILIES)


# --- rules -----------------------------------------------------------------------------------------------------------


def test_rules_are_valid():
    done = _promtool("check", "rules", RULES_FILE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(RULES) == len(GROUP["rules"]) > 10


def test_alerts_fire_for_what_is_bad_and_for_nothing_else():
    done = _promtool("test", "rules", *RULES_TESTS)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", sorted(RULES))
@pytest.mark.parametrize("damage", ["vector(0) > 1", "group by (instance, database, state, status) ({})"])
def test_tests_of_the_rules_notice_an_alert_that_never_or_always_fires(tmp_path, alert, damage):
    series = max(_used(RULES[alert]["expr"]), key=RULES[alert]["expr"].index)
    rules = [{**rule, "expr": damage.format(series)} if rule["alert"] == alert else rule for rule in RULES.values()]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{**GROUP, "rules": rules}]}), encoding="utf-8")
    assert _promtool("check", "rules", tmp_path / "rules.yml").returncode == 0
    (path,) = [path for path in RULES_TESTS if f"# {alert}\n" in path.read_text("utf-8")]
    document = yaml.safe_load(path.read_text("utf-8"))
    (tmp_path / "test.yml").write_text(json.dumps({**document, "rule_files": ["rules.yml"]}), encoding="utf-8")
    done = _promtool("test", "rules", tmp_path / "test.yml")
    assert done.returncode == 1 and "got:" in done.stderr and f'alertname="{alert}"' in done.stderr, done.stderr


@pytest.mark.parametrize("alert", sorted(RULES))
def test_alert_says_how_bad_it_is_where_and_what_to_read(alert):
    rule = RULES[alert]
    assert rule["labels"]["severity"] in ("warning", "critical") and rule["for"]
    assert rule["annotations"]["summary"].endswith(".")
    for label in ("{{ $labels.instance }}", "{{ $labels.database }}"):
        assert label in rule["annotations"]["description"]
    assert rule["annotations"]["runbook_url"] == f"{BASE}{alert}.md"


def test_rules_use_series_that_there_are():
    used = set().union(*(_used(rule["expr"]) for rule in RULES.values()))
    assert used - set(FAMILIES) == set() and len(used) > 10


@pytest.mark.parametrize("alert", sorted(RULES))
def test_alert_has_its_page(alert):
    text = (PAGES / f"{alert}.md").read_text("utf-8")
    parts = re.split(r"^## (.*)$", text, flags=re.M)
    assert parts[1::2] == SECTIONS
    assert all(part.strip() for part in parts[2::2])
    severity, summary = RULES[alert]["labels"]["severity"], RULES[alert]["annotations"]["summary"]
    assert parts[0] == f"# {alert}\n\nSeverity: {severity}. {summary}\n\n"
    assert all("```console" in part for part in parts[6::2])
    row = f"| [{alert}]({alert}.md) | {severity} | {summary} |"
    assert row in (PAGES / "README.md").read_text("utf-8").splitlines()


def test_every_page_is_of_an_alert_and_its_links_lead_somewhere():
    assert {path.stem for path in PAGES.glob("*.md")} == {*RULES, "README"}
    for page in [*PAGES.glob("*.md"), ROOT / "docs" / "METRICS.md"]:
        links = [link for link in re.findall(r"\]\(([^)#]+)", page.read_text("utf-8")) if "://" not in link]
        assert [link for link in links if not (page.parent / link).exists()] == [], page


# --- dashboard -------------------------------------------------------------------------------------------------------


def test_dashboard_has_its_variables_and_what_grafana_needs():
    assert (DASHBOARD["schemaVersion"], DASHBOARD["uid"]) == (39, "digitalme-backup")
    assert [row["name"] for row in DASHBOARD["templating"]["list"]] == ["datasource", "instance", "database"]
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    assert {uid for panel in panels for uid in _found(panel, "uid")} == {"${datasource}"}
    for panel in panels:
        references = [target["refId"] for target in panel["targets"]]
        assert references and len(references) == len(set(references))
    (table,) = [panel for panel in panels if panel["type"] == "table"]
    renamed = _found(table["transformations"], "renameByName")[0]
    assert {f"Value #{target['refId']}" for target in table["targets"]} <= set(renamed)
    shown = set(renamed.values())
    assert {rule["matcher"]["options"] for rule in table["fieldConfig"]["overrides"]} <= shown


def test_panels_do_not_overlap():
    cells = [
        (x, y)
        for place in _found(DASHBOARD["panels"], "gridPos")
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells)) and max(x for x, _y in cells) < 24


def test_dashboard_expressions_are_promql_over_series_that_there_are(tmp_path):
    expressions = _found(DASHBOARD["panels"], "expr")
    queries = _found(DASHBOARD["templating"], "definition")
    assert len(expressions) > 20 and len(queries) == 2
    assert set().union(*map(_used, expressions + queries)) - set(FAMILIES) == set()
    plain = [re.sub(r"\$(instance|database)\b", ".*", expression) for expression in expressions]
    assert [text for text in plain if "$" in text] == []
    rules = [{"record": f"panel:number:{number}", "expr": text} for number, text in enumerate(plain)]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}), encoding="utf-8")
    done = _promtool("check", "rules", tmp_path / "rules.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {len(expressions)} rules found" in done.stdout


def test_every_expression_of_a_host_is_of_the_chosen_hosts():
    loose = [
        text
        for text in _found(DASHBOARD["panels"], "expr")
        if text.count(metrics.PREFIX) != text.count('{instance=~"$instance", database=~"$database"')
    ]
    assert loose == []
