# digitalme.backup: `make help` lists what there is. Everything that is set up lies in .venv/ and build/ of the checkout.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
BIN := .venv/controller/bin
LOCK := UV_PYTHON_DOWNLOADS=never $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header
export ANSIBLE_HOME := $(CURDIR)/build/ansible
# A stale copy of the collection in the user's own folder must not shadow the checkout.
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/build/ansible/collections

.PHONY: help drill test lint sanity unit integration faults soak format reference attack bench bench-api bench-fleet bench-drills bench-report bench-restore molecule windows-smoke build lock clean run-environment dev-environment

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

drill: run-environment ## the first drill: back up, verify, restore, damage and restore a sample (or DATABASE=/path, only read)
	@PYTHONDONTWRITEBYTECODE=1 $(BIN)/python tools/drill.py

test: lint sanity unit integration ## everything that CI runs

lint: dev-environment ## code style, types, playbooks and roles, changelog
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive plugins roles/*/files
	$(BIN)/shellcheck .ci/run $(wildcard tools/*.sh molecule/*.sh scripts/*.sh bench/*.sh)
	$(BIN)/yamllint --strict .
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/ansible-lint
	$(BIN)/antsibull-changelog lint

sanity: dev-environment ## ansible-test sanity
	tools/sanity.sh

unit: ## the engine's tests, on every Python from 3.9 to 3.14 of this machine
	tools/unit.sh $(wildcard tests/unit tests/cli)

integration: dev-environment ## modules and playbooks through Ansible, the house rules, the documents, a sample of the faults
	printf 'build/integration/%s.log $(BIN)/python %s\n' \
	    ansible tests/integration \
	    rest 'tests/faults tests/architecture tests/docs tests/report tests/api' | \
	    PATH="$(CURDIR)/$(BIN):$$PATH" xargs -P "$$(nproc)" -L 1 tools/run_tests.sh

faults: dev-environment ## break everything that can break, all of it (CI does a sample): hours on a slow machine
	FAULTS=all $(BIN)/python -m pytest -s tests/faults

soak: dev-environment ## an hour of backups every second, with random kills
	$(BIN)/python tests/faults/soak.py --seconds 3600

bench-api: dev-environment ## what the REST API answers under load, with wrk (BACKUPS=1000 CONNECTIONS=32 SECONDS=6 ROUNDS=3)
	$(BIN)/python bench/api.py
	API_EXAMPLES=150 $(BIN)/python -m pytest -s tests/api/test_document.py -k what_its_document_says

bench-drills: run-environment ## what a drill costs the controller, and at which size each limit is reached (HOSTS=100 SIZES="10M 100M 1G 4G")
	$(BIN)/python bench/drills.py

bench-report: dev-environment ## what the report of a large fleet costs, and the page in Chromium (HOSTS=5000 DATABASES="1 10" ROUNDS=3)
	$(BIN)/python bench/report.py

bench-restore: run-environment ## what a restore costs, against cp and against the same steps by hand over ssh (SIZE=1G ROUNDS=5)
	$(BIN)/python bench/restore.py

molecule: dev-environment ## install, schedule, break and uninstall on real systemd hosts (as root, on Debian)
	molecule/run.sh

windows-smoke: run-environment ## the engine's unit tests under Windows' Python in wine (as root, on Debian; not in CI)
	tools/windows-smoke.sh

format: dev-environment ## format the code
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

reference: dev-environment ## write docs/ERRORS.md, docs/COMMANDS.md and other references from the code
	$(BIN)/python tools/reference.py

bench: run-environment ## compare with .backup, products and others; writes docs/PERFORMANCE.md (PARTS="snapshot ..." SIZES="10M 100M 1G 5G" ROUNDS=3)
	@bench/peers.sh
	$(BIN)/python bench/run.py
	$(BIN)/python bench/page.py

attack: ## let everything happen to a database while it is cloned (SECONDS=1200)
	python3 tests/stress/clone_attack.py --seconds $(or $(SECONDS),1200)

bench-fleet: run-environment ## what a fleet costs the controller, against ping (HOSTS="10 100 200" ROUNDS=3)
	$(BIN)/python bench/fleet.py

build: run-environment ## the collection as a tarball, in build/
	$(BIN)/ansible-galaxy collection build --force --output-path build .

lock: dev-environment ## lock the dependencies of requirements*.in again, with hashes and no addresses
	$(LOCK) --python-version 3.11 -o requirements.txt requirements.in
	$(LOCK) --python-version 3.11 -o requirements-dev.txt requirements-dev.in
	$(LOCK) --python-version 3.9 -o requirements-test.txt requirements-test.in
	$(LOCK) --python-version 3.11 -o bench/requirements.txt bench/requirements.in

clean: ## remove what was set up and built
	rm -rf .venv build

run-environment:
	@tools/environment.sh run

dev-environment:
	@tools/environment.sh dev
