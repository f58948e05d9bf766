#!/usr/bin/env bash
# Run scenarios on hosts that are made for them and removed again:
#   molecule/run.sh                       every scenario
#   molecule/run.sh fleet upgrade         these
#   molecule/run.sh --keep default        leave the hosts of these running, also after a failure; then
#   molecule/run.sh --step verify default any of molecule's steps on them (converge, verify, login, destroy ...)
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/.."

arguments=(test)
keep=false
if [ "${1:-}" = --keep ]; then
    keep=true
    arguments+=(--destroy never)
    shift
elif [ "${1:-}" = --step ]; then
    arguments=("$2")
    shift 2
fi
if [ $# -eq 0 ]; then
    for scenario in molecule/*/molecule.yml; do set -- "$@" "$(basename "$(dirname "$scenario")")"; done
fi

tools/testhosts.sh setup
PATH="${MOLECULE_BIN:-$PWD/.venv/controller/bin}:$PATH"
export PATH ANSIBLE_HOME="$PWD/build/ansible" ANSIBLE_COLLECTIONS_PATH="$PWD/build/ansible/collections"
export PYTHONDONTWRITEBYTECODE=1 MOLECULE_COMMAND_BORDERS=false
for scenario in "$@"; do
    # With --destroy never molecule goes on with hosts that are there, and takes them for prepared.
    if $keep; then molecule --base-config molecule/shared/config.yml destroy --scenario-name "$scenario"; fi
    molecule --base-config molecule/shared/config.yml "${arguments[@]}" --scenario-name "$scenario"
done
