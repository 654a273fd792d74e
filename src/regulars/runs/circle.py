"""On whom a verdict depends: so that a few customers can be judged alone, and exactly as in a run.

Every rule looks at one customer's own rows, but those of the second stage: one message an address,
whoever shares it. So those who share addresses, directly or through others, must be judged together.
A rule that looks at the whole audience must make `circle` answer None.
"""

from collections.abc import Sequence

from regulars.lib import sql


def circle(customers: Sequence[int]) -> list[int] | None:
    """The customers whose verdicts those of `customers` may depend on, themselves included.

    None: on everybody's who is due.
    """
    rows = sql.fetch_rows(_CIRCLE, {"customers": list(customers)})
    return [row["customer_id"] for row in rows]


_CIRCLE = """
WITH RECURSIVE circle AS (
  SELECT unnest(%(customers)s::bigint[]) AS customer_id
   UNION
  SELECT other.customer_id
    FROM circle
    JOIN addresses own ON own.customer_id = circle.customer_id
    JOIN addresses other
      ON other.organization_id = own.organization_id AND other.address = own.address
)
SELECT customer_id FROM circle
"""
