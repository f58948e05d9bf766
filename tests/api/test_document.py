# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The OpenAPI document: the service does what it says, and its page works without a network."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
import time

import playwright.sync_api as playwright

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# bench/api asks for more.
EXAMPLES = os.environ.get("API_EXAMPLES", "8")


def test_service_does_what_its_document_says(serve):
    served = serve(("shop", "ledger"), metrics="token")
    served.made()
    served.made(pinned=True)
    token = served.token(exp=int(time.time()) + 7200)
    words = [str(pathlib.Path(sys.executable).parent / "schemathesis"), "run"]
    words += [f"http://127.0.0.1:{served.port}/openapi.json", "-H", f"Authorization: Bearer {token}"]
    words += ["--max-examples", EXAMPLES, "--checks", "all", "--phases", "examples,coverage,fuzzing"]
    words += ["--generation-database", "none", "--no-color", "--request-timeout", "60"]
    # Found in advance, so that a run of CI tries the same as the one before.
    words += ["--seed", "1"] if EXAMPLES == "8" else []
    done = subprocess.run(words, cwd=served.place, capture_output=True, text=True, check=False)
    said = done.stdout[done.stdout.find("FAILURES") :] if "FAILURES" in done.stdout else done.stdout
    assert done.returncode == 0, said + done.stderr
    assert "17 selected / 17 total" in done.stdout
    assert "Traceback" not in served.log()
    sys.stdout.write(next(line for line in done.stdout.splitlines() if " generated, " in line).strip() + "\n")


def test_page_of_the_document_works_without_a_network(serve):
    served = serve()
    address = f"http://127.0.0.1:{served.port}"
    heard = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page()
        page.on("request", lambda request: heard.append(request.url))
        page.on("console", lambda message: heard.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.goto(f"{address}/docs")
        page.get_by_text("/api/backup/restore/{file}").wait_for()
        assert page.locator(".opblock").count() == 16
        browser.close()
    assert heard and all(text.startswith((address, "data:")) for text in heard), heard


def test_every_code_of_a_problem_is_documented():
    service = ROOT / "roles" / "api" / "files" / "backup_api"
    source = "".join(path.read_text() for path in service.glob("*.py"))
    codes = set(re.findall(r'Problem\(\s*\d+,\s*"(\w+)"', source))
    told = "".join((ROOT / "docs" / name).read_text() for name in ("API_RECIPES.md", "ERRORS.md"))
    assert len(codes) > 10
    assert [code for code in sorted(codes) if f"`{code}`" not in told] == []


def test_document_names_what_a_route_needs(shop):
    made = shop.ask("GET", "/openapi.json", token=None).json
    scopes = {
        f"{method} {path}": route.get("x-required-scope")
        for path, methods in made["paths"].items()
        for method, route in methods.items()
    }
    assert scopes["post /api/backup/restore/{file}"] == "admin" and scopes["get /api/backup"] == "read"
    assert scopes.pop("get /health") is None and None not in scopes.values()
