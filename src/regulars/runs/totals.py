"""Messages by month: those that are kept, and the totals of those that were purged, read as one.

The month is that of planning, in UTC, as in the message's id (`runs.partitions`).
"""

from typing import Any

from regulars.lib import sql
from regulars.organizations.models import Organization

_GROUPS = """
SELECT organization_id, automation_id, date_trunc('month', created_at AT TIME ZONE 'UTC')::date AS month,
       channel, state, reason, count(*) AS number
  FROM {source}
 GROUP BY 1, 2, 3, 4, 5, 6
"""

# A month that is purged in parts adds up.
ROLL_UP = f"""
INSERT INTO message_totals AS total (organization_id, automation_id, month, channel, state, reason, number)
{_GROUPS}
ON CONFLICT (organization_id, automation_id, month, channel, state, reason)
DO UPDATE SET number = total.number + EXCLUDED.number
"""

_MONTHLY = f"""
SELECT month, automation_id, channel, state, reason, sum(number)::bigint AS number
  FROM (SELECT * FROM message_totals WHERE organization_id = %(organization)s
        UNION ALL
        {_GROUPS.format(source="messages WHERE organization_id = %(organization)s")}) every
 GROUP BY 1, 2, 3, 4, 5
 ORDER BY 1, 2, 3, 4, 5
"""


def monthly(organization: Organization) -> list[dict[str, Any]]:
    """All messages that an organization has ever planned: month, automation_id, channel, state, reason,
    number; whether they have been purged makes no difference."""
    return sql.fetch_rows(_MONTHLY, {"organization": organization.pk})
