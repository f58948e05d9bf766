#!/bin/sh
# Back up databases on this host without Ansible. All it does is to call the command line; see docs/BACKUP_RUNBOOK.md.
set -eu

usage() {
    cat <<'END'
usage: backup-database.sh [backup|status|help] [flag ...]

  backup   back up every configured database now, or the one that --name tells (this is done without a word, too)
  status   judge the backups of every configured database
  help     show this

Without a configuration BACKUP_DATABASE names the database and BACKUP_DIRECTORY the directory of its backups.
Further flags are those of "digitalme-backup run". Exit status: 0 done; see docs/COMMANDS.md for the others.
END
}

run() {
    here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
    if [ -n "${DIGITALME_BACKUP:-}" ]; then exec "$DIGITALME_BACKUP" "$@"; fi
    if command -v digitalme-backup >/dev/null; then exec digitalme-backup "$@"; fi
    PYTHONPATH="$here/../plugins/module_utils${PYTHONPATH:+:$PYTHONPATH}" exec python3 -m engine "$@"
}

action=${1:-backup}
[ $# -eq 0 ] || shift
case $action in
backup) run run --only backup "$@" ;;
status) run run --only health "$@" ;;
help | --help | -h) usage ;;
*)
    usage >&2
    exit 2
    ;;
esac
