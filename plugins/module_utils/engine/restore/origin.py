# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Is a backup one of the database that it is to replace, or of another?

A backup that was made of this path on this host is one of this database, whatever its schema was then: an application
migrates it, and what stands there now may be damaged. Of any other, application_id and schema must be the live ones.
"""

from __future__ import annotations

import sqlite3

from .. import contents, database, errors, files, manifest


def require_same(entry, plan, busy_timeout):
    """Raise OtherDatabase when the backup is of another database than the live one, as far as both can be read."""
    source = (entry.manifest or {}).get("source", {})
    if not source or (source.get("path") == plan.database and entry.manifest.get("host") == manifest.host()):
        return
    if plan.live != "sound" or not files.size(plan.database):
        return
    try:
        connection = database.open_live(plan.database, plan.live_header, busy_timeout)
        try:
            application_id = connection.execute("PRAGMA application_id").fetchone()[0]
            schema = contents.schema_sha256(connection)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise database.translate(error, plan.database) from error
    differs = []
    if source.get("application_id") not in (None, application_id):
        differs.append(f"its application_id is {source['application_id']} and not {application_id}")
    if source.get("schema_sha256") not in (None, schema):
        differs.append("its schema is another")
    if differs:
        raise errors.OtherDatabase(
            f"it is a backup of {errors.show(source.get('path'))} on {errors.show(entry.manifest.get('host'))}, and "
            + " and ".join(differs),
            path=entry.path,
        )
