#!/usr/bin/env bash
# One of several runs of pytest at a time: what it says goes to the log, and is shown when it has ended.
#   run_tests.sh LOG PYTHON [PYTEST'S ARGUMENTS...]
set -euo pipefail
cd "$(dirname "$0")/.."

log=$1 python=$2 status=0
shift 2
mkdir -p "$(dirname "$log")"
echo "== $log: $*" >"$log"
# A directory of its own: pytest's shared one is closed to other users again whenever another run begins.
temporary=$(mktemp -d)
"$python" -m pytest --basetemp="$temporary/tests" "$@" >>"$log" 2>&1 </dev/null || status=$?
rm -rf "$temporary"
cat "$log"
exit "$status"
