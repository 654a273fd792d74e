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
from regulars.runs.partitions import floor_id

# What has been planned for longer is never sent, so that a message accepted since some moment has an
# id from at most this long before it: ninety days, and a month for clocks that disagree.
LONGEST_PLANNED_AHEAD = timedelta(days=90 + 31)


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


@dataclass(frozen=True, slots=True)
class Due:
    """A SELECT of who is due (`DUE_COLUMNS`) and its named parameters; nobody is judged yet."""

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
    return judge(version, who_is_due(version, now, subjects), now, replanned_run=replanned_run)


def who_is_due(version: AutomationVersion, now: datetime, subjects: Sequence[int] | None = None) -> Due:
    """The first half of `choose`, apart: a run for which nobody is due need not judge anybody."""
    automation = version.automation
    trigger = triggers.get(automation.trigger)
    parameters = trigger.parameters.model_validate(version.parameters)
    query = trigger.due(automation.organization, parameters, now, subjects)
    return Due(*compile_named(query, "due"))


def judge(version: AutomationVersion, due: Due, now: datetime, *, replanned_run: str | None = None) -> Choice:
    """The second half of `choose`: the verdicts on those whom `due` finds.

    Raises:
        AutomationNotReadyError: no account can send on any channel of the automation.
    """
    matching, matching_values = _matching(version, now)
    values = _policy_values(version, now) | _reach_values(version) | {"replanned_run": replanned_run}
    is_asked = values["skip_upcoming"]
    upcoming, upcoming_values = _upcoming(version.automation, now) if is_asked else ("FALSE", {})
    marketing = values["marketing"]
    text = _CHOICE.format(
        due=due.text,
        matching=matching,
        upcoming=upcoming,
        objection=case_expression(ROW_RULES),
        consented="coalesce(consent.granted, FALSE)" if marketing else "TRUE",
        consent=_CONSENT if marketing else "",
        replanned=_REPLANNED if replanned_run else "",
    )
    return Choice(text, values | due.parameters | matching_values | upcoming_values)


def require_ready(version: AutomationVersion, now: datetime) -> None:
    """What `choose` would refuse is refused here, without asking who is due.

    Raises:
        AutomationNotReadyError: no account can send on any channel of the automation.
    """
    triggers.get(version.automation.trigger).parameters.model_validate(version.parameters)
    _matching(version, now)
    _reach_values(version)


@dataclass(frozen=True, slots=True)
class Audience:
    """A SELECT of the `customer_id` of each verdict that `choose` would give, and its parameters."""

    text: str
    parameters: dict[str, Any]


def audience(version: AutomationVersion, now: datetime) -> Audience:
    """Whom `choose` would judge, without judging anybody.

    Raises:
        AutomationNotReadyError: no account can send on any channel of the automation.
    """
    require_ready(version, now)
    due = who_is_due(version, now)
    matching, values = _matching(version, now)
    text = _AUDIENCE.format(due=due.text, matching=matching)
    return Audience(text, due.parameters | values | {"organization": version.automation.organization_id})


_AUDIENCE = """
SELECT due.customer_id FROM ({due}) due
  JOIN customers customer
    ON customer.id = due.customer_id AND customer.organization_id = %(organization)s
  {matching}
"""


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
    }


def _kin(automation: Automation) -> list[str]:
    """The automations that share its cooldown, itself included."""
    if not automation.family:
        return [str(automation.pk)]
    kin = Automation.objects.filter(organization_id=automation.organization_id, family=automation.family)
    return [str(key) for key in kin.values_list("pk", flat=True)]


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
# one; where none is usable it still says how far the customer got (an address? consent?). A landline
# is no address for a text message; any other bad address counts as suppressed. Materialized: where
# the database expects one guest and finds thousands, it would work all of it out anew for each.
_CHOICE = """
WITH due AS MATERIALIZED ({due}),
way AS (
  SELECT address.customer_id, address.id, address.position, address.address,
         wanted.channel, wanted.account_id, wanted.preference,
         {consented} AS consented,
         (address.bad_reason <> '' OR stop.fingerprint IS NOT NULL) AS stopped
    FROM (SELECT DISTINCT customer_id FROM due) audience
    JOIN addresses address
      ON address.customer_id = audience.customer_id AND address.bad_reason <> 'landline'
    JOIN unnest(%(channels)s::text[], %(accounts)s::bigint[])
         WITH ORDINALITY AS wanted (channel, account_id, preference) ON wanted.channel = address.channel
    {consent}
    -- One for all channels and one for this one make two rows; `reach` keeps one of a customer's.
    LEFT JOIN suppressions stop
      ON stop.organization_id = %(organization)s AND stop.fingerprint = address.fingerprint
     AND stop.channel IN ('', address.channel) AND (%(marketing)s OR stop.reason <> 'opt_out')
),
reach AS MATERIALIZED (
  SELECT DISTINCT ON (customer_id) customer_id, consented, consented AND NOT stopped AS usable,
         channel, account_id, address
    FROM way
   ORDER BY customer_id, consented AND NOT stopped DESC, consented DESC, preference, position, id
),
candidate AS (
  SELECT due.customer_id, due.occasion, due.due_at, due.expires_at, due.venue_id, due.reference,
         customer.do_not_contact,
         guard.message_id IS NOT NULL AS guarded,
         reach.customer_id IS NOT NULL AS has_address,
         coalesce(reach.consented, FALSE) AS has_consent,
         CASE WHEN reach.usable THEN reach.channel END AS channel,
         CASE WHEN reach.usable THEN reach.account_id END AS account_id,
         CASE WHEN reach.usable THEN reach.address END AS address,
         {upcoming} AS has_upcoming
    FROM due
    JOIN customers customer
      ON customer.id = due.customer_id AND customer.organization_id = %(organization)s
    {matching}
    LEFT JOIN occasions guard
      ON guard.automation_id = %(automation)s AND guard.customer_id = due.customer_id
     AND guard.occasion = due.occasion
    LEFT JOIN reach ON reach.customer_id = due.customer_id
    {replanned}
),
judged AS (
  -- OFFSET 0: judged once, and not anew for each expression that asks for the objection.
  SELECT candidate.*, {objection} AS objection FROM candidate OFFSET 0
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
