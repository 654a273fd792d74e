"""How many a choice would write to, on what channel, whom it leaves out and why: asked once.

The verdicts of a hundred thousand guests take a second or two; the counts and the page of rows that
a preview shows are read from one and the same judging, which also keeps them consistent.
"""

from typing import Any

from regulars.lib import sql
from regulars.runs.choosing import Choice


def survey(choice: Choice, limit: int, offset: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The groups (reason, channel, number, how many of it are held from when until when, and what
    they cost; the largest first) and a page of rows, the sends first."""
    values = choice.parameters | {"row_limit": max(limit, 0), "row_offset": offset}
    found = sql.fetch_rows(
        _SURVEY.format(choice=choice.text, held="reason IS NULL AND send_after > %(now)s"), values
    )
    groups = [{key: row[key] for key in _GROUP} for row in found if row["number"] is not None]
    rows = [{key: row[key] for key in _ROW} for row in found if row["number"] is None]
    return groups, rows


_GROUP = ("reason", "channel", "number", "held", "first_leaves", "last_leaves", "total")
_ROW = (
    "customer_id",
    "occasion",
    "reason",
    "winner_id",
    "channel",
    "address",
    "due_at",
    "send_after",
    "cost",
)

_SURVEY = """
WITH choice AS MATERIALIZED ({choice}),
groups AS (
  SELECT reason, CASE WHEN reason IS NULL THEN channel END AS channel, count(*) AS number,
         count(*) FILTER (WHERE {held}) AS held,
         min(send_after) FILTER (WHERE {held}) AS first_leaves,
         max(send_after) FILTER (WHERE {held}) AS last_leaves,
         sum(cost) AS total
    FROM choice GROUP BY 1, 2
),
listed AS (
  SELECT * FROM choice ORDER BY reason IS NOT NULL, due_at, customer_id, occasion
   LIMIT %(row_limit)s OFFSET %(row_offset)s
)
SELECT row_number() OVER (ORDER BY number DESC) AS place, number, held, first_leaves, last_leaves, total,
       reason, NULL::uuid AS winner_id, channel,
       NULL::bigint AS customer_id, NULL AS occasion, NULL AS address,
       NULL::timestamptz AS due_at, NULL::timestamptz AS send_after, NULL::numeric AS cost
  FROM groups
 UNION ALL
SELECT row_number() OVER (ORDER BY reason IS NOT NULL, due_at, customer_id, occasion),
       NULL, NULL, NULL, NULL, NULL, reason, winner_id, channel, customer_id, occasion, address,
       due_at, send_after, cost
  FROM listed
 ORDER BY place
"""
