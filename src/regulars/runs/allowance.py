"""What guests have heard lately, what is left of the caps, and who in the list goes first.

The planner's lock of the organization is held while this is read, so that two runs cannot both take
the last message that is left: the second sees the first one's as queued.
"""

from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, Q

from regulars.automations import triggers
from regulars.automations.models import Automation, AutomationVersion
from regulars.automations.tact import tact_of
from regulars.customers.models import Purpose
from regulars.organizations.models import Organization
from regulars.runs.partitions import floor_id

# What has been planned for longer is never sent, so that a message accepted since some moment has an
# id from at most this long before it: ninety days, and a month for clocks that disagree.
LONGEST_PLANNED_AHEAD = timedelta(days=90 + 31)


def toll(organization: Organization, now: datetime, prefix: str) -> tuple[str | None, dict[str, Any]]:
    """The common table expression of what is left of the caps, with its parameters; None without caps.

    Columns: customer_id, room (0 or less: nothing is left), last_id (the newest message that counts).
    Only guests who have heard something have a row.
    """
    caps = tact_of(organization.tact).caps
    if not caps:
        return None, {}
    left = [
        f"%(cap_{number})s - count(*) FILTER (WHERE heard.moment > %(cap_since_{number})s)"
        for number in range(len(caps))
    ]
    longest = timedelta(days=max(cap.days for cap in caps))
    values = {"cap_floor": floor_id(now - longest - LONGEST_PLANNED_AHEAD), "cap_since": now - longest}
    values["cap_room"] = min(cap.messages for cap in caps)
    for number, cap in enumerate(caps):
        values[f"cap_{number}"] = cap.messages
        values[f"cap_since_{number}"] = now - timedelta(days=cap.days)
    return _TOLL.format(p=prefix, room=", ".join(left)), values


def rivals(automation: Automation) -> list[AutomationVersion]:
    """The versions of the automations that go first where they want to write to the same guest now.

    Higher in the list, switched on, and sharing something: the caps, or the cooldown of a family.
    """
    if triggers.get(automation.trigger).purpose != Purpose.MARKETING:
        return []
    place = Q(position__lt=automation.position) | Q(
        position=automation.position, created_at__lt=automation.created_at
    )
    higher = Automation.objects.filter(
        place, organization_id=automation.organization_id, enabled=True, deleted_at=None, paused_reason=""
    )
    if not tact_of(automation.organization.tact).caps:
        higher = higher.filter(family=automation.family).exclude(family="")
    known = {trigger.kind for trigger in triggers.all_triggers() if trigger.purpose == Purpose.MARKETING}
    current = AutomationVersion.objects.filter(
        automation__in=higher.filter(trigger__in=known), number=F("automation__version_number")
    )
    versions = list(
        current.select_related("automation").order_by("automation__position", "automation__created_at")
    )
    for version in versions:
        version.automation.organization = automation.organization
    return versions


# Each message once: those to the guest, and those to others at the same address. Queued and on its way
# counts like received; unknown may have arrived (E42).
_HEARD = """
    SELECT reach.customer_id, recent.id,
           CASE recent.state WHEN 'queued' THEN 'infinity' WHEN 'sending' THEN 'infinity'
                WHEN 'unknown' THEN greatest(recent.accepted_at, recent.state_at)
                ELSE recent.accepted_at END AS moment
      FROM {p}reach reach JOIN messages recent ON {same}
     WHERE reach.usable AND recent.organization_id = %(organization)s AND recent.id >= %(cap_floor)s
       AND recent.purpose = 'marketing'
       AND (recent.accepted_at > %(cap_since)s OR recent.state IN ('queued', 'sending', 'unknown'))"""

_TOLL = f"""{{p}}toll AS (
  SELECT heard.customer_id, least({{room}}) AS room, max(heard.id) AS last_id
    FROM ({_HEARD.format(p="{p}", same="recent.customer_id = reach.customer_id")}
     UNION ALL {
    _HEARD.format(p="{p}", same="recent.address = reach.address AND recent.customer_id <> reach.customer_id")
}) heard
   WHERE heard.moment > %(cap_since)s
   GROUP BY heard.customer_id
),
"""

# What one rival asks for; `kin` is its family (one message for all of it) or itself.
CLAIM = """
    SELECT customer_id, {place} AS place, %({p}automation)s::uuid AS automation, %({p}kin)s::text AS kin
      FROM {p}judged WHERE objection IS NULL AND NOT {draw}"""

CONTEST = """,
contest AS (
  SELECT customer_id, count(DISTINCT rival.kin) AS claims,
         (array_agg(rival.automation ORDER BY rival.place))[1] AS first,
         (array_agg(rival.automation ORDER BY rival.place)
            FILTER (WHERE rival.kin = %(kin)s::text))[1] AS first_kin
    FROM ({claims}) rival GROUP BY customer_id
)"""
