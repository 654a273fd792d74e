"""How many a choice would write to, when, on what channel, whom it leaves out and why: asked once.

The verdicts of a hundred thousand guests take seconds; the counts, the page of rows and the guests
whose messages are shown are read from one and the same judging, which also keeps them consistent.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from regulars.lib import sql
from regulars.runs.choosing import Choice

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Survey:
    """`groups` by reason and channel, with how many of it are held and what they cost, the largest first;
    `rows` a page, the sends first; `faces` are sends that differ: of each channel and language, with and
    without a first name, the longest name."""

    groups: list[Row]
    rows: list[Row]
    faces: list[Row]


def survey(choice: Choice, limit: int, *, faces: int, now: datetime) -> Survey:
    """Judge once; at most `limit` rows; no faces where `faces` is 0, else at least so many if there are."""
    values = choice.parameters | {"row_limit": max(limit, 0), "face_limit": faces, "among": AMONG, "now": now}
    text = _SURVEY.format(
        choice=choice.text,
        held="reason IS NULL AND send_after > %(now)s",
        faces=_FACES if faces else _NO_FACES,
    )
    parts: dict[str, list[Row]] = {"group": [], "row": [], "face": []}
    for row in sql.fetch_rows(text, values):
        parts[row["part"]].append({name: row[name] for name in _COLUMNS[row["part"]]})
    return Survey(parts["group"], parts["row"], parts["face"])


# Faces are looked for among about so many of the verdicts, spread over all: to sort a million names
# would take longer than to judge them.
AMONG = 50_000

_ROW = (
    *("customer_id", "occasion", "reason", "winner_id", "channel", "address"),
    *("due_at", "send_after", "cost"),
)
_COLUMNS = {
    "group": ("reason", "channel", "number", "held", "first_leaves", "last_leaves", "total"),
    "row": _ROW,
    "face": (*_ROW, "venue_id", "reference", "first_name", "last_name", "tier", "language"),
}

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
  SELECT * FROM choice ORDER BY reason IS NOT NULL, due_at, customer_id, occasion LIMIT %(row_limit)s
),
{faces}
SELECT 'group' AS part, row_number() OVER (ORDER BY number DESC) AS place,
       reason, channel, number, held, first_leaves, last_leaves, total,
       NULL::bigint AS customer_id, NULL AS occasion, NULL AS address, NULL::timestamptz AS due_at,
       NULL::timestamptz AS send_after, NULL::bigint AS venue_id, NULL::bigint AS reference,
       NULL AS first_name, NULL AS last_name, NULL AS tier, NULL AS language,
       NULL::uuid AS winner_id, NULL::numeric AS cost
  FROM groups
 UNION ALL
SELECT 'row', row_number() OVER (ORDER BY reason IS NOT NULL, due_at, customer_id, occasion),
       reason, channel, NULL, NULL, NULL, NULL, NULL, customer_id, occasion, address, due_at, send_after,
       NULL, NULL, NULL, NULL, NULL, NULL, winner_id, cost
  FROM listed
 UNION ALL
SELECT 'face', row_number() OVER (ORDER BY due_at, customer_id, occasion),
       NULL, channel, NULL, NULL, NULL, NULL, NULL, customer_id, occasion, address, due_at, send_after,
       venue_id, reference, first_name, last_name, tier, language, NULL, cost
  FROM faces
 ORDER BY part, place
"""

_FACES = """
sends AS (
  SELECT choice.*, customer.first_name, customer.last_name, customer.tier, customer.language
    FROM choice JOIN customers customer ON customer.id = choice.customer_id
   WHERE choice.reason IS NULL
     AND choice.customer_id %% (1 + (SELECT count(*) FROM choice) / %(among)s) = 0
),
faces AS (
  (SELECT DISTINCT ON (channel, language, first_name = '') * FROM sends
    ORDER BY channel, language, first_name = '',
             length(first_name) + length(last_name) DESC, customer_id, occasion)
   UNION
  (SELECT * FROM sends ORDER BY due_at, customer_id, occasion LIMIT %(face_limit)s)
)
"""
_NO_FACES = """
faces AS (
  SELECT choice.*, '' AS first_name, '' AS last_name, '' AS tier, '' AS language FROM choice LIMIT 0
)
"""
