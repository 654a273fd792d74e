"""From an automation to verdicts: the one query behind the run, the preview and the explanation.

Nothing is written here and no clock is asked: `now` comes in. Whoever wants the verdicts puts the
query behind an INSERT (a run) or a SELECT (a preview), which is why the two cannot differ.

First each guest alone (`runs.staging`), then what they share: the caps with the automations higher in
the list, one message an occasion and address, the month's money.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from regulars.automations import triggers
from regulars.automations.models import AutomationVersion
from regulars.lib.sql import compile_named
from regulars.runs import allowance, budget
from regulars.runs.eligibility import DRAW
from regulars.runs.staging import matching, stage_one
from regulars.runs.ways import AutomationNotReadyError, ready_ways_of

__all__ = [
    "Audience",
    "AutomationNotReadyError",
    "Choice",
    "Due",
    "audience",
    "choose",
    "judge",
    "require_ready",
    "who_is_due",
]


@dataclass(frozen=True, slots=True)
class Choice:
    """A SELECT of verdicts and its named parameters.

    Columns: customer_id, occasion, due_at, expires_at, send_after, venue_id, reference,
    reason (null: send), winner_id (the automation that wrote or goes first instead, where there is
    one), channel, account_id, address, cost (null: no price is known).
    """

    text: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Due:
    """A SELECT of who is due (`DUE_COLUMNS`) and its named parameters; nobody is judged yet.

    `subjects`: only these customers were asked about; None: everybody. `once_a_guest`: nobody is twice
    in it (`Trigger.once_a_guest`).
    """

    text: str
    parameters: dict[str, Any]
    subjects: Sequence[int] | None
    once_a_guest: bool


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
    return Due(*compile_named(query, "due"), subjects, trigger.once_a_guest(parameters))


def judge(version: AutomationVersion, due: Due, now: datetime, *, replanned_run: str | None = None) -> Choice:
    """The second half of `choose`: the verdicts on those whom `due` finds.

    Raises:
        AutomationNotReadyError: no account can send on any channel of the automation.
    """
    stage = stage_one(version, due.text, due.parameters, now, replanned_run=replanned_run)
    field, field_values = _contest(version, now, due.subjects)
    cost, cost_values = budget.costs(version)
    limits = budget.limits(version.automation, now)
    stage_two = _STAGE_TWO.format(
        contest=_JOIN_CONTEST if field else _NO_CONTEST,
        cost=cost,
        draw=DRAW,
        turn="1" if due.once_a_guest else _TURN,
        sum=budget.SUM if limits else budget.NOTHING,
        left=budget.LEFT if limits else _NO_LIMIT,
    )
    values = stage.values | field_values | cost_values | limits
    return Choice(f"WITH {stage.text}{field}{stage_two}", values)


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
            due = who_is_due(rival, now, subjects)
            stage = stage_one(rival, due.text, due.parameters, now, prefix=prefix)
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
    matching(version, now)
    ready_ways_of(version)


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
    joined, values = matching(version, now)
    text = _AUDIENCE.format(due=due.text, matching=joined)
    return Audience(text, due.parameters | values | {"organization": version.automation.organization_id})


_AUDIENCE = """
SELECT due.customer_id FROM ({due}) due
  JOIN customers customer
    ON customer.id = due.customer_id AND customer.organization_id = %(organization)s
  {matching}
"""


# FULL as in `runs.staging`; but the contest may know guests whom this automation's conditions left out.
_JOIN_CONTEST = """FULL JOIN contest ON contest.customer_id = judged.customer_id
   WHERE coalesce(judged.customer_id, 0) <> 0"""
_NO_LIMIT = "CROSS JOIN (SELECT NULL::numeric AS amount) purse"
_NO_CONTEST = (
    "CROSS JOIN (SELECT NULL::bigint AS claims, NULL::uuid AS first, NULL::uuid AS first_kin) contest"
)

# Where nobody can be due twice there is nothing to sort.
_TURN = "row_number() OVER (PARTITION BY objection IS NULL, judged.customer_id ORDER BY due_at, occasion)"

_STAGE_TWO = """,
-- One occasion a customer and family: that of the automation higher in the list, then the earliest due.
turns AS (
  SELECT judged.*, contest.claims, contest.first, contest.first_kin, {turn} AS turn
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
