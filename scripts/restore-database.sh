#!/bin/sh
# Restore a database on this host without Ansible. All it does is to call the command line; see docs/BACKUP_RUNBOOK.md.
set -eu

usage() {
    cat <<'END'
usage: restore-database.sh [--test] [--force] [--pre-backup] [--verify] [--backup-dir D] [--data-dir D] FILE

  FILE            a backup's file name or path; latest or latest_backup.db: the newest verified one; or a time
  --test          rehearse the restore in a scratch place; the database is not touched
  --force         do not ask for confirmation (without a terminal it is refused unless this is given)
  --pre-backup    keep the old content first; it always is, so the word changes nothing
  --verify        check the backup fully, whatever the configuration says
  --backup-dir D  where the backups lie
  --data-dir D    where the database lies; its file name is the one that was backed up

Without a configuration BACKUP_DATABASE names the database and BACKUP_DIRECTORY the directory of its backups.
Exit status: 0 done; 3 backup invalid or not found; 4 not confirmed; 7 failed and rolled back; docs/COMMANDS.md has all.
END
}

run() {
    here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
    if [ -n "${DIGITALME_BACKUP:-}" ]; then exec "$DIGITALME_BACKUP" "$@"; fi
    if command -v digitalme-backup >/dev/null; then exec digitalme-backup "$@"; fi
    PYTHONPATH="$here/../plugins/module_utils${PYTHONPATH:+:$PYTHONPATH}" exec python3 -m engine "$@"
}

wrong() {
    echo "restore-database.sh: $1" >&2
    usage >&2
    exit 2
}

command='restore' force='' verify='' backup_dir='' data_dir='' file=''
while [ $# -gt 0 ]; do
    case $1 in
    --test) command='test' ;;
    --force) force=--force ;;
    --pre-backup) ;;
    --verify) verify=full ;;
    --backup-dir | --data-dir)
        [ -n "${2:-}" ] || wrong "$1 needs a directory"
        if [ "$1" = --backup-dir ]; then backup_dir=$2; else data_dir=${2%/}/; fi
        shift
        ;;
    help | --help | -h)
        usage
        exit 0
        ;;
    --)
        shift
        [ $# -eq 1 ] && [ -z "$file" ] || wrong "one FILE is needed"
        file=$1
        ;;
    -*) wrong "there is no $1" ;;
    *)
        [ -z "$file" ] || wrong "one FILE is needed, not two"
        file=$1
        ;;
    esac
    shift
done
[ -n "$file" ] || wrong "a FILE is needed"
[ "$command" = restore ] || force='' # A test replaces nothing, so there is nothing to confirm.
run "$command" ${force:+"$force"} ${verify:+--verify "$verify"} ${backup_dir:+--backup-dir "$backup_dir"} \
    ${data_dir:+--database "$data_dir"} -- "$file"
