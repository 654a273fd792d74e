"""Who is in quiet hours now, and until when: a small table that joins into the statements of a run.

A silence is asked of three things: the guest's own zone (if known), the venue that the occasion is
about (its zone and its hours), and the country of the number. There are few of each, so that all
that is quiet at a moment fits into arrays; by day it is empty and costs nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from regulars.automations import triggers
from regulars.automations.quiet_hours import COUNTRY_RULES, QuietHours, held_until
from regulars.automations.tact import tact_of
from regulars.lib import sql
from regulars.organizations.models import Organization

NO_VENUE = 0

# The silences as a relation; columns zone, venue_id, country, until.
RELATION = """unnest(%(quiet_zones)s::text[], %(quiet_venues)s::bigint[], %(quiet_countries)s::text[],
                %(quiet_untils)s::timestamptz[]) AS silence (zone, venue_id, country, until)"""


def silence_of(customer: str, venue: str, channel: str, address: str) -> str:
    """The condition under which a row of `RELATION` is that of a message; arguments are SQL."""
    rules = " ".join(
        f"WHEN {channel} IN ({', '.join(repr(name) for name in sorted(rule.channels))})"
        f" AND {address} LIKE '{rule.prefix}%%' THEN '{country}'"
        for country, rule in COUNTRY_RULES.items()
    )
    return (
        f"silence.zone = {customer}.timezone AND silence.venue_id = coalesce({venue}, {NO_VENUE})"
        f" AND silence.country = CASE {rules} ELSE '' END"
    )


@dataclass(frozen=True, slots=True)
class _Clock:
    venue_id: int
    zone: str
    hours: QuietHours | None


def silences(organization: Organization, now: datetime) -> dict[str, list[Any]]:
    """The parameters of `RELATION` at `now`; empty lists where nobody is in quiet hours."""
    rows = list(_silences(organization, now))
    return {
        "quiet_zones": [row[0] for row in rows],
        "quiet_venues": [row[1] for row in rows],
        "quiet_countries": [row[2] for row in rows],
        "quiet_untils": [row[3] for row in rows],
    }


def _silences(organization: Organization, now: datetime) -> Iterator[tuple[str, int, str, datetime]]:
    zones = {"": None} | {name: _zone(name) for name in _zones_of_guests(organization)}
    found: dict[tuple[ZoneInfo, QuietHours | None, str], datetime | None] = {}
    for clock in _clocks(organization):
        for name, zone in zones.items():
            for country in ("", *COUNTRY_RULES):
                key = (zone or ZoneInfo(clock.zone), clock.hours, country)
                if key not in found:
                    found[key] = held_until(now, *key)
                if until := found[key]:
                    yield name, clock.venue_id, country, until


def _zone(name: str) -> ZoneInfo | None:
    """None where there is no such zone: it tells nothing of the guest, and the venue's holds."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _clocks(organization: Organization) -> Iterator[_Clock]:
    hours = tact_of(organization.tact).quiet_hours
    yield _Clock(NO_VENUE, organization.timezone, hours)
    for query in triggers.clocks(organization):
        for row in query:
            own = row["quiet_hours"]
            yield _Clock(row["id"], row["timezone"], QuietHours.model_validate(own) if own else hours)


def _zones_of_guests(organization: Organization) -> list[str]:
    """The zones that guests of the organization are known to live in: a few, however many guests."""
    rows = sql.fetch_rows(_ZONES, {"organization": organization.pk})
    return [row["timezone"] for row in rows]


# From one zone to the next through the index, instead of through all guests.
_ZONES = """
WITH RECURSIVE zone AS (
  SELECT min(timezone) AS timezone FROM customers
   WHERE organization_id = %(organization)s AND timezone > ''
   UNION ALL
  SELECT (SELECT min(customers.timezone) FROM customers
           WHERE organization_id = %(organization)s AND customers.timezone > ''
             AND customers.timezone > zone.timezone)
    FROM zone WHERE zone.timezone IS NOT NULL
)
SELECT timezone FROM zone WHERE timezone IS NOT NULL
"""
