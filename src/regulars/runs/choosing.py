"""From an automation to verdicts: the one query behind the run, the preview and the explanation.

Nothing is written here and no clock is asked: `now` comes in. Whoever wants the verdicts puts the
query behind an INSERT (a run) or a SELECT (a preview), which is why the two cannot differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from regulars.automations import triggers
from regulars.automations.accounts import accounts_by_channel
from regulars.automations.conditions import compile_conditions
from regulars.automations.models import Automation, AutomationVersion
from regulars.automations.policy import Policy
from regulars.customers.models import Customer, Purpose
from regulars.lib.sql import compile_named
from regulars.runs.eligibility import ROW_RULES, case_expression


class AutomationNotReadyError(Exception):
    """The automation cannot run: something that it needs is missing. The text says what to do."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A SELECT of verdicts and its named parameters.

    Columns: customer_id, occasion, due_at, expires_at, send_after, venue_id, reference,
    reason (null: send), channel, account_id, address.
    """

    text: str
    parameters: dict[str, Any]


def choose(
    version: AutomationVersion,
    now: datetime,
    subjects: Sequence[int] | None = None,
    *,
    replanned_run: str | None = None,
) -> Choice:
    """The verdicts of `version` at `now`, for everybody or for `subjects` (customer ids).

    `replanned_run` leaves out what an earlier, interrupted planning of that run has already written.

    Raises:
        AutomationNotReadyError: no account can send on any channel of the automation.
    """
    automation = version.automation
    trigger = triggers.get(automation.trigger)
    parameters = trigger.parameters.model_validate(version.parameters)
    due, due_values = compile_named(trigger.due(automation.organization, parameters, now, subjects), "due")
    matching, matching_values = _matching(version, now)
    upcoming, upcoming_values = _upcoming(automation, now)
    text = _CHOICE.format(
        due=due,
        matching=matching,
        upcoming=upcoming,
        objection=case_expression(ROW_RULES),
        replanned=_REPLANNED if replanned_run else "",
    )
    values = _policy_values(version, trigger, now) | _reach_values(version)
    return Choice(
        text,
        {**values, **due_values, **matching_values, **upcoming_values, "replanned_run": replanned_run},
    )


def _matching(version: AutomationVersion, now: datetime) -> tuple[str, dict[str, Any]]:
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


def _policy_values(version: AutomationVersion, trigger: triggers.Trigger, now: datetime) -> dict[str, Any]:
    automation = version.automation
    policy = Policy.model_validate(trigger.policy.model_dump() | version.policy)
    marketing = trigger.purpose == Purpose.MARKETING
    family = Automation.objects.filter(organization_id=automation.organization_id)
    kin = family.filter(family=automation.family) if automation.family else family.filter(pk=automation.pk)
    return {
        "now": now,
        "organization": automation.organization_id,
        "automation": automation.pk,
        "marketing": marketing,
        "skip_upcoming": policy.skip_upcoming_reservation,
        "cooldown_counts": marketing and policy.cooldown_days > 0,
        "cooldown_since": now - timedelta(days=policy.cooldown_days),
        "family": [str(key) for key in kin.values_list("pk", flat=True)],
    }


def _reach_values(version: AutomationVersion) -> dict[str, Any]:
    """The channels in the automation's order, each with the account that sends on it."""
    accounts = accounts_by_channel(version.automation.organization)
    usable = [channel for channel in version.channels if channel in accounts]
    if not usable:
        wanted = ", ".join(version.channels)
        raise AutomationNotReadyError(
            f"No provider account can send on {wanted}. Add one: regulars provider add NAME --kind KIND"
        )
    return {"channels": usable, "accounts": [accounts[channel].pk for channel in usable]}


_REPLANNED = """
  WHERE NOT EXISTS (SELECT 1 FROM messages own
                     WHERE own.id = guard.message_id AND own.run_id = %(replanned_run)s)"""

# `reach` looks at the addresses of one customer in the automation's order of channels and keeps the
# first usable one; where none is usable it still says how far the customer got (an address? consent?).
# A landline is no address for a text message; any other bad address counts as suppressed.
_CHOICE = """
WITH due AS MATERIALIZED ({due}),
candidate AS (
  SELECT due.customer_id, due.occasion, due.due_at, due.expires_at, due.venue_id, due.reference,
         customer.do_not_contact,
         guard.message_id IS NOT NULL AS guarded,
         coalesce(reach.has_address, FALSE) AS has_address,
         coalesce(reach.has_consent, FALSE) AS has_consent,
         reach.channel, reach.account_id, reach.address,
         {upcoming} AS has_upcoming
    FROM due
    JOIN customers customer
      ON customer.id = due.customer_id AND customer.organization_id = %(organization)s
    {matching}
    LEFT JOIN occasions guard
      ON guard.automation_id = %(automation)s AND guard.customer_id = due.customer_id
     AND guard.occasion = due.occasion
    LEFT JOIN LATERAL (
      SELECT TRUE AS has_address,
             bool_or(way.consented) AS has_consent,
             (array_agg(way.channel ORDER BY way.preference, way.position, way.id)
                FILTER (WHERE way.consented AND NOT way.stopped))[1] AS channel,
             (array_agg(way.account_id ORDER BY way.preference, way.position, way.id)
                FILTER (WHERE way.consented AND NOT way.stopped))[1] AS account_id,
             (array_agg(way.address ORDER BY way.preference, way.position, way.id)
                FILTER (WHERE way.consented AND NOT way.stopped))[1] AS address
        FROM (
          SELECT wanted.preference, wanted.channel, wanted.account_id,
                 address.id, address.position, address.address,
                 (NOT %(marketing)s OR EXISTS (
                    SELECT 1 FROM consents
                     WHERE consents.customer_id = due.customer_id
                       AND consents.channel = address.channel AND consents.purpose = 'marketing'
                       AND consents.is_current AND consents.granted)) AS consented,
                 (address.bad_reason <> '' OR EXISTS (
                    SELECT 1 FROM suppressions
                     WHERE suppressions.organization_id = %(organization)s
                       AND suppressions.fingerprint = address.fingerprint
                       AND suppressions.channel IN ('', address.channel)
                       AND (%(marketing)s OR suppressions.reason <> 'opt_out'))) AS stopped
            FROM unnest(%(channels)s::text[], %(accounts)s::bigint[])
                 WITH ORDINALITY AS wanted (channel, account_id, preference)
            JOIN addresses address
              ON address.customer_id = due.customer_id AND address.channel = wanted.channel
             AND address.bad_reason <> 'landline'
        ) way
       HAVING count(*) > 0
    ) reach ON TRUE
    {replanned}
),
judged AS (
  SELECT candidate.*, {objection} AS objection FROM candidate
),
-- One occasion a customer: the earliest due goes first.
turns AS (
  SELECT judged.*, row_number() OVER (
           PARTITION BY objection IS NULL, customer_id ORDER BY due_at, occasion) AS turn
    FROM judged
),
spaced AS (
  SELECT turns.*,
         coalesce(objection, CASE WHEN %(cooldown_counts)s AND turn > 1 THEN 'cooldown' END)
           AS spaced_objection
    FROM turns
),
-- One marketing message an address, whoever shares it (E23).
addressed AS (
  SELECT spaced.*, row_number() OVER (
           PARTITION BY spaced_objection IS NULL, address ORDER BY due_at, customer_id, occasion) AS place
    FROM spaced
),
verdict AS (
  SELECT addressed.*,
         coalesce(spaced_objection,
                  CASE WHEN %(marketing)s AND place > 1 THEN 'duplicate_address' END) AS reason
    FROM addressed
)
SELECT customer_id, occasion, due_at, expires_at,
       -- Quiet hours do not skip: they move this moment.
       greatest(due_at, %(now)s) AS send_after,
       venue_id, reference, reason, channel, account_id, address
  FROM verdict
"""
