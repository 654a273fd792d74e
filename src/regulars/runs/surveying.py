"""How many a choice would write to, on what channel, whom it leaves out and why: asked once.

The verdicts of a hundred thousand guests take a second or two; the counts and the page of rows that
a preview shows are read from one and the same judging, which also keeps them consistent.
"""

from typing import Any

from regulars.lib import sql
from regulars.runs.choosing import Choice


def survey(choice: Choice, limit: int, offset: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The groups (reason, channel, number; the largest first) and a page of rows, the sends first."""
    values = choice.parameters | {"row_limit": max(limit, 0), "row_offset": offset}
    found = sql.fetch_rows(_SURVEY.format(choice=choice.text), values)
    groups = [{key: row[key] for key in _GROUP} for row in found if row["number"] is not None]
    rows = [{key: row[key] for key in _ROW} for row in found if row["number"] is None]
    return groups, rows


_GROUP = ("reason", "channel", "number")
_ROW = ("customer_id", "occasion", "reason", "channel", "address", "due_at", "send_after")

_SURVEY = """
WITH choice AS MATERIALIZED ({choice}),
groups AS (
  SELECT reason, CASE WHEN reason IS NULL THEN channel END AS channel, count(*) AS number
    FROM choice GROUP BY 1, 2
),
listed AS (
  SELECT * FROM choice ORDER BY reason IS NOT NULL, due_at, customer_id, occasion
   LIMIT %(row_limit)s OFFSET %(row_offset)s
)
SELECT row_number() OVER (ORDER BY number DESC) AS place, number, reason, channel,
       NULL::bigint AS customer_id, NULL AS occasion, NULL AS address,
       NULL::timestamptz AS due_at, NULL::timestamptz AS send_after
  FROM groups
 UNION ALL
SELECT row_number() OVER (ORDER BY reason IS NOT NULL, due_at, customer_id, occasion),
       NULL, reason, channel, customer_id, occasion, address, due_at, send_after
  FROM listed
 ORDER BY place
"""
