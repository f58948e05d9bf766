# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One report of several: of the slices of a fleet."""

from __future__ import annotations

from ansible_collections.digitalme.backup.plugins.module_utils.engine import errors

from . import judging, model


def checked(report, path):
    """The report, if it is one that this version knows; raises UsageError, naming the file."""
    if not isinstance(report, dict) or report.get("kind") not in model.KINDS or "hosts" not in report:
        raise errors.UsageError("it is no report of a drill", path=path)
    if report.get("schema_version") != model.SCHEMA_VERSION:
        version = errors.excerpt(report.get("schema_version"))
        raise errors.UsageError(f"it is of the unknown schema_version {version}", path=path)
    return report


def merge(reports):
    """One report of all; a host that is in several counts as the newest of them says."""
    oldest, newest = reports[0], reports[-1]
    hosts = {
        host["host"]: host for report in sorted(reports, key=lambda one: one["started_at"]) for host in report["hosts"]
    }
    return judging.judge({**newest, "started_at": oldest["started_at"], "hosts": list(hosts.values())})
