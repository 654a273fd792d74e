"""Stage 1 of the verdicts: what is to be said for and against each guest who is due, alone.

A piece of SQL, from the query of who is due to one objection a row; `runs.choosing` makes the verdicts
of it, and puts those of the automations higher in the list beside it.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from regulars.automations import triggers
from regulars.automations.conditions import compile_conditions
from regulars.automations.models import Automation, AutomationVersion
from regulars.automations.policy import Policy
from regulars.customers import ages
from regulars.customers.models import Customer, Purpose
from regulars.lib.clock import local_date
from regulars.lib.sql import compile_named
from regulars.runs import allowance, ways
from regulars.runs.allowance import LONGEST_PLANNED_AHEAD
from regulars.runs.eligibility import ROW_RULES, case_expression
from regulars.runs.partitions import floor_id
from regulars.runs.silences import RELATION, silence_of, silences


@dataclass(frozen=True, slots=True)
class Stage:
    """The common table expressions of stage 1, the last of them `judged`, and their parameters."""

    text: str
    values: dict[str, Any]


def stage_one(
    version: AutomationVersion,
    due: str,
    due_values: dict[str, Any],
    now: datetime,
    *,
    replanned_run: str | None = None,
    prefix: str = "",
) -> Stage:
    """Whom the query `due` finds, and what is to be said against each alone. With a `prefix` it stands
    beside another automation's in one statement, and only about the guests who are due for that one.

    Raises:
        AutomationNotReadyError: no account can send on any channel of the automation.
    """
    automation = version.automation
    joined, matching_values = matching(version, now)
    ready = ways.ready_ways_of(version)
    values = _policy_values(version, now) | ways.values_of(ready) | {"replanned_run": replanned_run}
    upcoming, upcoming_values = _upcoming(automation, now) if values["skip_upcoming"] else ("FALSE", {})
    tact, tact_values = _tact(automation, now, prefix)
    consents, consent_values = _consents(automation, now)
    text = _STAGE_ONE.format(
        p=prefix,
        due=_AMONG_DUE.format(due=due) if prefix else due,
        matching=joined,
        upcoming=upcoming,
        objection=case_expression(ROW_RULES),
        replanned=_REPLANNED if replanned_run else "",
        born=BORN,
        **consents,
        **ways.parts_of(ready, "%(now)s"),
        **tact,
    )
    values |= due_values | matching_values | upcoming_values | tact_values | consent_values
    if prefix:
        text = re.sub(r"%\((\w+)\)s", rf"%({prefix}\1)s", text)
        values = {prefix + name: value for name, value in values.items()}
    return Stage(text, values)


def _consents(automation: Automation, now: datetime) -> tuple[dict[str, str], dict[str, Any]]:
    """The parts of stage 1 about what the guests agreed to, which only marketing asks for."""
    marketing = triggers.get(automation.trigger).purpose == Purpose.MARKETING
    doubtful, values = ways.doubtful(automation.organization, marketing=marketing, now=now)
    parts = {
        "consented": "coalesce(consent.granted, FALSE)" if marketing else "TRUE",
        "consent": _CONSENT if marketing else "",
        "doubtful": doubtful,
    }
    return parts, values


def _tact(automation: Automation, now: datetime, prefix: str) -> tuple[dict[str, str], dict[str, Any]]:
    """The parts of stage 1 about quiet hours and caps: nothing where they are not, or do not hold now."""
    parts = {
        "quiet_until": "NULL::timestamptz",
        "silence": "",
        "toll": "",
        "room": "NULL::bigint AS room, NULL::bigint AS last_id",
        "paid": "",
    }
    if triggers.get(automation.trigger).purpose != Purpose.MARKETING:
        return parts, {}
    quiet = silences(automation.organization, now)
    toll, values = allowance.toll(automation.organization, now, prefix)
    if any(quiet.values()):
        parts |= {"quiet_until": "silence.until", "silence": f"LEFT JOIN {RELATION} ON {_SILENT}"}
    if toll:
        parts |= {
            "toll": toll,
            "room": "coalesce(toll.room, %(cap_room)s) AS room, toll.last_id",
            "paid": f"FULL JOIN {prefix}toll toll ON toll.customer_id = due.customer_id",
        }
    return parts, values | quiet


def matching(version: AutomationVersion, now: datetime) -> tuple[str, dict[str, Any]]:
    """The join to those of `due` who match the conditions, with its parameters; empty without any."""
    if not version.conditions:
        return "", {}
    organization = version.automation.organization
    query = Customer.objects.filter(
        compile_conditions(version.conditions, organization, now), organization=organization
    ).values("id")
    text, values = compile_named(query, "matching")
    return f"JOIN ({text}) matching ON matching.id = due.customer_id", values


def _upcoming(automation: Automation, now: datetime) -> tuple[str, dict[str, Any]]:
    parts: list[str] = []
    values: dict[str, Any] = {}
    for number, query in enumerate(triggers.upcoming(automation.organization, now)):
        text, found = compile_named(query, f"upcoming_{number}")
        parts.append(f"due.customer_id IN ({text})")
        values |= found
    return " OR ".join(parts) or "FALSE", values


def _policy_values(version: AutomationVersion, now: datetime) -> dict[str, Any]:
    automation = version.automation
    trigger = triggers.get(automation.trigger)
    policy = Policy.model_validate(trigger.policy.model_dump() | version.policy)
    marketing = trigger.purpose == Purpose.MARKETING
    cooldown_counts = marketing and policy.cooldown_days > 0
    return {
        "now": now,
        "organization": automation.organization_id,
        "automation": automation.pk,
        "marketing": marketing,
        "skip_upcoming": policy.skip_upcoming_reservation,
        "cooldown_counts": cooldown_counts,
        "cooldown_since": now - timedelta(days=policy.cooldown_days),
        "cooldown_floor": floor_id(now - timedelta(days=policy.cooldown_days) - LONGEST_PLANNED_AHEAD),
        "family": _kin(automation) if cooldown_counts else [],
        "kin": automation.family if automation.family and policy.cooldown_days else str(automation.pk),
        "due_from": automation.due_from,
        **ages_of(automation, policy, marketing, now),
        "holdout_percent": policy.holdout_percent if marketing else 0,
        "holdout_key": bytes(automation.organization.fingerprint_key) + automation.pk.bytes,
    }


def ages_of(automation: Automation, policy: Policy, marketing: bool, now: datetime) -> dict[str, int]:
    """Who is too young: for marketing at all (but for a guardian's consent), and for what is offered."""
    organization = automation.organization
    today = local_date(now, organization.timezone)
    minor = ages.born_until(today, ages.consent_age(organization.country)) if marketing else ages.NEVER
    least = policy.minimum_age
    return {
        "minor_after": minor,
        "too_young_after": ages.NEVER if least is None else ages.born_until(today, least),
    }


def _kin(automation: Automation) -> list[str]:
    """The automations that share its cooldown, itself included."""
    if not automation.family:
        return [str(automation.pk)]
    kin = Automation.objects.filter(organization_id=automation.organization_id, family=automation.family)
    return [str(key) for key in kin.values_list("pk", flat=True)]


# The number yyyymmdd of a customer's birth; null where the year is not known.
BORN = """customer.birth_year * 10000 + coalesce(customer.birth_month, 12) * 100
           + coalesce(customer.birth_day, 31)"""

# Only marketing asks for consent; what nobody asks for is not read.
_CONSENT = """
    LEFT JOIN consents consent
      ON consent.customer_id = address.customer_id AND consent.channel = address.channel
     AND consent.purpose = 'marketing' AND consent.is_current"""

_REPLANNED = """
  WHERE NOT EXISTS (SELECT 1 FROM messages own
                     WHERE own.id = guard.message_id AND own.run_id = %(replanned_run)s)"""

# Everything about all customers at once, so that the planner may read tables in whatever way is
# cheapest for this many: by index for an event's one guest, whole for a large audience.
#
# `reach` keeps the best of a customer's ways in the automation's order of channels: the first usable
# one; where none is usable it still says how far the customer got (an address? consent?). What is sorted
# for that is kept narrow: a way is its number until the best one is known. A landline
# is no address for a text message; any other bad address counts as suppressed. Materialized: where
# the database expects one guest and finds thousands, it would work all of it out anew for each.
#
# `known` puts beside each who is due what was found out about the guest. Nobody is in `reach` or `toll`
# who is not due, so that a FULL JOIN gives what a LEFT JOIN would; but it is never made by comparing
# everybody with everybody, which is what the database does where it expects a handful of each. (The
# `coalesce` keeps it from seeing that the two are the same.)
_STAGE_ONE = """
{p}due AS MATERIALIZED ({due}),
{p}way AS (
  SELECT address.customer_id, address.id, address.position, address.address, wanted.preference,
         {consented} AS consented,
         (address.bad_reason <> '' OR stop.fingerprint IS NOT NULL OR {doubtful}) AS stopped,
         {closed} AS closed
    FROM (SELECT DISTINCT customer_id FROM {p}due) audience
    JOIN addresses address
      ON address.customer_id = audience.customer_id AND address.bad_reason <> 'landline'
    JOIN {ways} ON wanted.channel = address.channel AND address.portfolio {portfolio}
    {consent}
    -- One for all channels and one for this one make two rows; `reach` keeps one of a customer's.
    LEFT JOIN suppressions stop
      ON stop.organization_id = %(organization)s AND stop.fingerprint = address.fingerprint
     AND stop.channel IN ('', address.channel) AND (%(marketing)s OR stop.reason <> 'opt_out')
),
{p}reach AS MATERIALIZED (
  SELECT best.*, (%(channels)s::text[])[preference] AS channel,
         (%(accounts)s::bigint[])[preference] AS account_id
    FROM (SELECT DISTINCT ON (customer_id) customer_id, consented, stopped,
                 consented AND NOT (stopped OR closed) AS usable, preference, address
            FROM {p}way way
           ORDER BY customer_id, consented AND NOT (stopped OR closed) DESC, consented DESC,
                    {stopped_last} preference, position, id) best
),
{toll}{p}known AS (
  SELECT coalesce(due.customer_id, reach.customer_id) AS customer_id, due.occasion, due.due_at,
         due.expires_at, due.venue_id, due.reference, reach.customer_id AS reached, reach.consented,
         reach.stopped, reach.usable, reach.channel, reach.account_id, reach.address,
         {room}
    FROM {p}due due
    FULL JOIN {p}reach reach ON reach.customer_id = due.customer_id
    {paid}
),
{p}candidate AS (
  SELECT due.customer_id, due.occasion, due.due_at, due.expires_at, due.venue_id, due.reference,
         customer.do_not_contact, customer.language,
         {born} AS born,
         coalesce(guard.kind = 'message', FALSE) AS guarded,
         coalesce(guard.kind = 'holdout', FALSE) AS held_out,
         due.reached IS NOT NULL AS has_address,
         coalesce(due.consented, FALSE) AS has_consent,
         coalesce(NOT (due.stopped OR due.usable), FALSE) AS lacks_template,
         CASE WHEN due.usable THEN due.channel END AS channel,
         CASE WHEN due.usable THEN due.account_id END AS account_id,
         CASE WHEN due.usable THEN due.address END AS address,
         {upcoming} AS has_upcoming,
         -- Quiet hours do not skip: they move this moment.
         greatest(due.due_at, %(now)s, {quiet_until}) AS send_after,
         due.room, due.last_id
    FROM {p}known due
    JOIN customers customer
      ON customer.id = due.customer_id AND customer.organization_id = %(organization)s
    {matching}
    LEFT JOIN occasions guard
      ON guard.automation_id = %(automation)s AND guard.customer_id = due.customer_id
     AND guard.occasion = due.occasion
    {silence}
    {replanned}
),
{p}judged AS (
  -- OFFSET 0: judged once, and not anew for each expression that asks for the objection.
  SELECT candidate.*, {objection} AS objection FROM {p}candidate candidate OFFSET 0
)
"""

# Of another automation in the list only what is due for the guests in question.
_AMONG_DUE = "SELECT * FROM ({due}) own WHERE own.customer_id IN (SELECT customer_id FROM due)"
_SILENT = silence_of("customer", "due.venue_id", "due.channel", "due.address")
