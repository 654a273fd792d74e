"""What must always be true of the pack's tables: the doctor asks this with the ledger's own."""

from regulars.runs import invariants
from regulars.runs.invariants import Invariant

SUMMARIES = Invariant(
    "the summary of every guest's visits is what the visits say",
    """WITH counted AS (
         SELECT DISTINCT ON (customer_id)
                customer_id, organization_id, count(*) OVER (PARTITION BY customer_id) AS completed,
                id AS last_visit_id, venue_id AS last_venue_id,
                visited_at AS last_visited_at, service_date AS last_service_date
           FROM visits WHERE state = 'completed'
          ORDER BY customer_id, service_date DESC, visited_at DESC, id DESC)
       SELECT count(*) FROM counted FULL JOIN visit_summaries summary USING (customer_id)
        WHERE (counted.organization_id, counted.completed, counted.last_visit_id,
               counted.last_venue_id, counted.last_visited_at, counted.last_service_date)
              IS DISTINCT FROM
              (summary.organization_id, summary.completed::bigint, summary.last_visit_id,
               summary.last_venue_id, summary.last_visited_at, summary.last_service_date)""",
)


def register() -> None:
    """Make it known to the doctor; called when the pack is loaded."""
    invariants.register(SUMMARIES)
