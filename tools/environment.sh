#!/usr/bin/env bash
# Make the controller's environment in .venv/controller, or bring it up to date:
#   environment.sh run   ansible-core alone, for the drill
#   environment.sh dev   that and the development tools
# A stamp with the lock file's hash tells whether there is anything to do.
set -euo pipefail
cd "$(dirname "$0")/.."

kind=${1:?usage: environment.sh run|dev}
case "$kind" in
run) lock=requirements.txt ;;
dev) lock=requirements-dev.txt ;;
*)
    echo "usage: environment.sh run|dev" >&2
    exit 2
    ;;
esac

environment=.venv/controller
stamp="$environment/.$kind-$(sha256sum "$lock" | cut -c1-16)"
# The link to the checkout is made last. One that is missing, or leads elsewhere, tells of a set-up that was broken off
# or of a checkout that was moved or copied, whose programs still name the old place.
linked=$(echo "$environment"/lib/python3*/site-packages/ansible_collections/digitalme/backup)
usable() { [ "$linked" -ef . ] && "$environment/bin/python" -c '' 2>/dev/null; }
usable && [ -e "$stamp" ] && exit 0

python=$(tools/interpreters.sh controller)
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y python3-venv >/dev/null
    else
        echo "$python has no venv module: install the package python3-venv, then run this again" >&2
        exit 1
    fi
fi

echo "Setting up $environment with $("$python" --version) ..." >&2
usable || "$python" -m venv --clear "$environment"
"$environment/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"

# The checkout itself is the installed collection, wherever it lies: every tool but ansible-test finds it by this link.
site=$("$environment/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
mkdir -p "$site/ansible_collections/digitalme"
ln -sfn "$PWD" "$site/ansible_collections/digitalme/backup"
rm -f "$environment/.$kind-"*
touch "$stamp"
