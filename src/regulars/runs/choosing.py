"""From an automation to verdicts: the one query behind the run, the preview and the explanation.

Nothing is written here and no clock is asked: `now` comes in. Whoever wants the verdicts puts the
query behind an INSERT (a run) or a SELECT (a preview), which is why the two cannot differ.
"""

import re
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
from regulars.runs import allowance, budget
from regulars.runs.allowance import LONGEST_PLANNED_AHEAD
from regulars.runs.eligibility import DRAW, ROW_RULES, case_expression
from regulars.runs.partitions import floor_id
from regulars.runs.silences import RELATION, silence_of, silences


class AutomationNotReadyError(Exception):
    """The automation cannot run: something that it needs is missing. The text says what to do."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A SELECT of verdicts and its named parameters.

    Columns: customer_id, occasion, due_at, expires_at, send_after, venue_id, reference,
    reason (null: send), winner_id (the automation that wrote or goes first instead, where there is
    one), channel, account_id, address, cost (null: no price is known). `due` asks only who is due,
    with the same parameters: a tick for which nobody is due need not judge anybody.
    """

    text: str
    parameters: dict[str, Any]
    due: str


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
    stage = _stage_one(version, now, subjects, replanned_run=replanned_run)
    field, field_values = _contest(version, now, subjects)
    cost, cost_values = budget.costs(version)
    limits = budget.limits(version.automation, now)
    stage_two = _STAGE_TWO.format(
        contest=_JOIN_CONTEST if field else _NO_CONTEST,
        cost=cost,
        draw=DRAW,
        sum=budget.SUM if limits else budget.NOTHING,
        left=budget.LEFT if limits else _NO_LIMIT,
    )
    values = stage.values | field_values | cost_values | limits
    return Choice(f"WITH {stage.text}{field}{stage_two}", values, stage.due)


@dataclass(frozen=True, slots=True)
class _Stage:
    """The common table expressions of stage 1, their parameters, and the query of who is due."""

    text: str
    values: dict[str, Any]
    due: str


def _stage_one(
    version: AutomationVersion,
    now: datetime,
    subjects: Sequence[int] | None,
    *,
    replanned_run: str | None = None,
    prefix: str = "",
) -> _Stage:
    """Who is due and what is to be said against each alone. With a `prefix` it stands beside another
    automation's in one statement, and only about the guests who are due for that one."""
    automation = version.automation
    trigger = triggers.get(automation.trigger)
    parameters = trigger.parameters.model_validate(version.parameters)
    due, due_values = compile_named(trigger.due(automation.organization, parameters, now, subjects), "due")
    matching, matching_values = _matching(version, now)
    upcoming, upcoming_values = _upcoming(automation, now)
    tact, tact_values = _tact(automation, trigger, now, prefix)
    text = _STAGE_ONE.format(
        p=prefix,
        due=_AMONG_DUE.format(due=due) if prefix else due,
        matching=matching,
        upcoming=upcoming,
        objection=case_expression(ROW_RULES),
        suppressed=_SUPPRESSED,
        replanned=_REPLANNED if replanned_run else "",
        **tact,
    )
    values = _policy_values(version, trigger, now) | _reach_values(version) | due_values | matching_values
    values |= upcoming_values | tact_values | {"replanned_run": replanned_run}
    if prefix:
        text = re.sub(r"%\((\w+)\)s", rf"%({prefix}\1)s", text)
        values = {prefix + name: value for name, value in values.items()}
    return _Stage(text, values, due)


def _tact(
    automation: Automation, trigger: triggers.Trigger, now: datetime, prefix: str
) -> tuple[dict[str, str], dict[str, Any]]:
    """The parts of stage 1 about quiet hours and caps: nothing where they are not, or do not hold now."""
    parts = {
        "quiet_until": "NULL::timestamptz",
        "silence": "",
        "toll": "",
        "room": "NULL::bigint AS room, NULL::bigint AS last_id",
        "paid": "",
    }
    if trigger.purpose != Purpose.MARKETING:
        return parts, {}
    quiet = silences(automation.organization, now)
    toll, values = allowance.toll(automation.organization, now, prefix)
    if any(quiet.values()):
        parts |= {"quiet_until": "silence.until", "silence": f"LEFT JOIN {RELATION} ON {_SILENT}"}
    if toll:
        parts |= {
            "toll": toll,
            "room": "coalesce(toll.room, %(cap_room)s) AS room, toll.last_id",
            "paid": f"LEFT JOIN {prefix}toll toll ON toll.customer_id = due.customer_id",
        }
    return parts, values | quiet


def _draw(prefix: str) -> str:
    return DRAW.replace("%(", f"%({prefix}")


def _contest(
    version: AutomationVersion, now: datetime, subjects: Sequence[int] | None
) -> tuple[str, dict[str, Any]]:
    """Whom the automations higher in the list would write to now, among those who are due here."""
    texts: list[str] = []
    claims: list[str] = []
    values: dict[str, Any] = {}
    for place, rival in enumerate(allowance.rivals(version.automation)):
        prefix = f"rival_{place}_"
        try:
            stage = _stage_one(rival, now, subjects, prefix=prefix)
        except AutomationNotReadyError:
            continue
        texts.append(f", {stage.text}")
        claims.append(allowance.CLAIM.format(p=prefix, place=place, draw=_draw(prefix)))
        values |= stage.values
    if not claims:
        return "", {}
    return "".join(texts) + allowance.CONTEST.format(claims="\n UNION ALL ".join(claims)), values


def require_ready(version: AutomationVersion, now: datetime) -> None:
    """What `choose` would refuse is refused here, without asking who is due.

    Raises:
        AutomationNotReadyError: no account can send on any channel of the automation.
    """
    triggers.get(version.automation.trigger).parameters.model_validate(version.parameters)
    _matching(version, now)
    _reach_values(version)


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
        "cooldown_floor": floor_id(now - timedelta(days=policy.cooldown_days) - LONGEST_PLANNED_AHEAD),
        "family": [str(key) for key in kin.values_list("pk", flat=True)],
        "kin": automation.family if automation.family and policy.cooldown_days else str(automation.pk),
        "due_from": automation.due_from,
        "holdout_percent": policy.holdout_percent if marketing else 0,
        "holdout_key": bytes(automation.organization.fingerprint_key) + automation.pk.bytes,
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


# Two looks instead of one with OR: each can be answered from one pass over all suppressions.
_SUPPRESSED = " OR ".join(
    f"""EXISTS (
              SELECT 1 FROM suppressions stop
               WHERE stop.organization_id = %(organization)s AND stop.fingerprint = address.fingerprint
                 AND stop.channel = {channel} AND (%(marketing)s OR stop.reason <> 'opt_out'))"""
    for channel in ("''", "address.channel")
)

_REPLANNED = """
  WHERE NOT EXISTS (SELECT 1 FROM messages own
                     WHERE own.id = guard.message_id AND own.run_id = %(replanned_run)s)"""

# Everything about all customers at once, so that the planner may read tables in whatever way is
# cheapest for this many: by index for an event's one guest, whole for a large audience.
#
# `reach` keeps the best of a customer's ways in the automation's order of channels: the first usable
# one; where none is usable it still says how far the customer got (an address? consent?). A landline
# is no address for a text message; any other bad address counts as suppressed.
_STAGE_ONE = """
{p}due AS MATERIALIZED ({due}),
{p}way AS (
  SELECT address.customer_id, address.id, address.position, address.address,
         wanted.channel, wanted.account_id, wanted.preference,
         (NOT %(marketing)s OR coalesce(consent.granted, FALSE)) AS consented,
         (address.bad_reason <> '' OR {suppressed}) AS stopped
    FROM (SELECT DISTINCT customer_id FROM {p}due) audience
    JOIN addresses address
      ON address.customer_id = audience.customer_id AND address.bad_reason <> 'landline'
    JOIN unnest(%(channels)s::text[], %(accounts)s::bigint[])
         WITH ORDINALITY AS wanted (channel, account_id, preference) ON wanted.channel = address.channel
    LEFT JOIN consents consent
      ON consent.customer_id = address.customer_id AND consent.channel = address.channel
     AND consent.purpose = 'marketing' AND consent.is_current
),
{p}reach AS (
  SELECT DISTINCT ON (customer_id) customer_id, consented, consented AND NOT stopped AS usable,
         channel, account_id, address
    FROM {p}way way
   ORDER BY customer_id, consented AND NOT stopped DESC, consented DESC, preference, position, id
),
{toll}{p}candidate AS (
  SELECT due.customer_id, due.occasion, due.due_at, due.expires_at, due.venue_id, due.reference,
         customer.do_not_contact, customer.language,
         coalesce(guard.kind = 'message', FALSE) AS guarded,
         coalesce(guard.kind = 'holdout', FALSE) AS held_out,
         reach.customer_id IS NOT NULL AS has_address,
         coalesce(reach.consented, FALSE) AS has_consent,
         CASE WHEN reach.usable THEN reach.channel END AS channel,
         CASE WHEN reach.usable THEN reach.account_id END AS account_id,
         CASE WHEN reach.usable THEN reach.address END AS address,
         {upcoming} AS has_upcoming,
         -- Quiet hours do not skip: they move this moment.
         greatest(due.due_at, %(now)s, {quiet_until}) AS send_after,
         {room}
    FROM {p}due due
    JOIN customers customer
      ON customer.id = due.customer_id AND customer.organization_id = %(organization)s
    {matching}
    LEFT JOIN occasions guard
      ON guard.automation_id = %(automation)s AND guard.customer_id = due.customer_id
     AND guard.occasion = due.occasion
    LEFT JOIN {p}reach reach ON reach.customer_id = due.customer_id
    {paid}
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
_SILENT = silence_of("customer", "due.venue_id", "reach.channel", "reach.address")
_JOIN_CONTEST = "LEFT JOIN contest USING (customer_id)"
_NO_LIMIT = "CROSS JOIN (SELECT NULL::numeric AS amount) purse"
_NO_CONTEST = (
    "CROSS JOIN (SELECT NULL::bigint AS claims, NULL::uuid AS first, NULL::uuid AS first_kin) contest"
)

_STAGE_TWO = """,
-- One occasion a customer and family: that of the automation higher in the list, then the earliest due.
turns AS (
  SELECT judged.*, contest.claims, contest.first, contest.first_kin, row_number() OVER (
           PARTITION BY objection IS NULL, customer_id ORDER BY due_at, occasion) AS turn
    FROM judged {contest}
),
spaced AS (
  SELECT turns.*,
         coalesce(objection, CASE WHEN %(cooldown_counts)s AND (turn > 1 OR first_kin IS NOT NULL)
                                  THEN 'cooldown' END) AS spaced_objection
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
                  CASE WHEN %(marketing)s AND place > 1 THEN 'duplicate_address'
                       -- What is left of the cap goes to those higher in the list (E44).
                       WHEN claims >= room THEN 'frequency_cap' END) AS reason
    FROM addressed
),
priced AS (
  SELECT verdict.*, CASE WHEN reason IS NULL THEN {cost} END AS cost FROM verdict
),
-- The month's money goes to the rows in their order; who is left when it is gone is told so.
paid AS (
  SELECT priced.*, {sum} AS sum FROM priced
),
final AS (
  SELECT paid.customer_id, occasion, due_at, expires_at, send_after, venue_id, reference,
         coalesce(reason, CASE WHEN paid.sum > purse.amount THEN 'budget' WHEN {draw} THEN 'holdout' END)
           AS reason,
         objection, room, last_id, first, first_kin, paid.channel, account_id, address, cost
    FROM paid {left}
)
SELECT customer_id, occasion, due_at, expires_at, send_after, venue_id, reference, reason,
       CASE WHEN reason = 'frequency_cap' AND room <= 0
            THEN (SELECT last.automation_id FROM messages last WHERE last.id = last_id)
            WHEN reason = 'frequency_cap' THEN first
            WHEN reason = 'cooldown' AND objection IS NULL THEN first_kin END AS winner_id,
       channel, account_id, address, CASE WHEN reason IS NULL THEN cost END AS cost
  FROM final
"""
