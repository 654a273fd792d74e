"""On whom a verdict depends: so that a few customers can be judged alone, and exactly as in a run.

Every rule looks at one customer's own rows, but those of the second stage: one message an address,
whoever shares it. So those who share addresses, directly or through others, must be judged together.
The month's money is shared by all who are due: where it counts, nobody can be judged alone.
"""

from collections.abc import Sequence
from datetime import datetime

from regulars.automations.models import Automation
from regulars.lib import sql
from regulars.runs import budget


def circle(customers: Sequence[int], automation: Automation, now: datetime) -> list[int] | None:
    """The customers whose verdicts by `automation` those of `customers` may depend on, and themselves.

    None: on everybody's who is due.
    """
    if budget.limits(automation, now):
        return None
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
