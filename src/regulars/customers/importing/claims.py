"""Who is in a file already: each identity belongs to the first line that names it.

Without this two lines about one guest would overwrite each other at every import of the file.
"""

from regulars.customers.importing.summary import Reject
from regulars.lib import sql

SEEN = "import_seen"

_CLAIM = f"""
INSERT INTO {SEEN} (key, line)
SELECT {{key}}, min(s.line) FROM {{table}} s WHERE {{where}} GROUP BY 1 ON CONFLICT DO NOTHING
"""
_DROP_LATER = f"""
DELETE FROM {{table}} s USING {SEEN} seen
WHERE seen.key = {{key}} AND seen.line <> s.line AND {{where}}
RETURNING s.line AS line, seen.line AS first
"""


def claim(table: str, key: str, where: str, column: str, reason: str) -> list[Reject]:
    """Give each `key` (an SQL expression over `table` as `s`) to its first line; take the others out.

    `reason` may use `{first}`, the line that has it.
    """
    sql.execute(_CLAIM.format(table=table, key=key, where=where))
    rows = sql.fetch_rows(_DROP_LATER.format(table=table, key=key, where=where))
    return [Reject(row["line"], column, reason.format(first=row["first"])) for row in rows]
