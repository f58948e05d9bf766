# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the role api_client asks of the REST API, and what it makes of the answers."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError
from ansible_collections.digitalme.backup.plugins.module_utils.engine import errors
from ansible_collections.digitalme.backup.plugins.plugin_utils import api_answers, api_texts


def api_url(base, *parts, **query):
    """The address of a route below /api/backup."""
    try:
        return api_answers.url(base, *parts, **query)
    except errors.BackupError as error:
        raise AnsibleFilterError(error.message) from None


def api_answer(response, scope="read", listed=False):
    """What the module uri has returned, judged; with the operation that was begun, and whether it has ended."""
    answer = api_answers.judged(response, scope, listed)
    if listed:
        return {**answer, "running": api_answers.running(answer["body"])}
    return {**answer, "operation": api_answers.operation_of(answer), "ended": api_answers.ended(answer)}


def api_backup(backups, reference):
    """The backup that is meant."""
    return api_answers.chosen(backups, reference)


def api_plan(backup, base, database, info, tested, response):
    """The plan of its restore."""
    return api_texts.plan(base, database, backup, info, tested, response)


def api_outcome(answer, host, database, backup, operation=""):
    """What came of the restore, with the lines that say it."""
    found = api_texts.outcome(answer, operation)
    good = found["state"] == "succeeded"
    return {**found, "lines": api_texts.report(host, database, backup, found) if good else []}


def api_health(hosts, hostvars, variable):
    """What the hosts have said of their health: a row for each, and the lines of each."""
    found = []
    for host in hosts:
        known = hostvars.get(host, {}).get(variable) or {"msg": "nothing was asked of it"}
        row = api_texts.health_row(host, str(known.get("database") or ""), known)
        found.append({**row, "lines": api_texts.health_lines(known)})
    return found


class FilterModule:
    """The filters of this file."""

    def filters(self):
        """Names and functions."""
        return {
            "api_url": api_url,
            "api_answer": api_answer,
            "api_backup": api_backup,
            "api_plan": api_plan,
            "api_outcome": api_outcome,
            "api_health": api_health,
        }
