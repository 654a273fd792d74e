"""Why one customer gets a message of an automation, or does not, and when that could change.

The verdict is the run's own: the same query, asked about this customer and those it may depend on.
What it rests on is told by the trigger (why due or not) and by `runs.evidence` (why left out).
Nothing is written.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from regulars.automations import triggers
from regulars.automations.conditions import unmet
from regulars.automations.evidence import Evidence, Outlook
from regulars.automations.models import Automation, AutomationVersion
from regulars.customers.models import Customer
from regulars.lib import sql
from regulars.runs.choosing import AutomationNotReadyError, Choice, choose
from regulars.runs.circle import circle
from regulars.runs.eligibility import words
from regulars.runs.evidence import FIRM, PLANNED, Case, about, evidence_of
from regulars.runs.models import Message, MessageState

NOT_DUE = "is not due: the occasion has not come"
UNMATCHED = "is due, but does not match the conditions of this automation"
WOULD_GO = "would be contacted now"
WOULD_GO_LATER = "would be contacted later"


class Verdict(StrEnum):
    """What a run at this moment would decide."""

    SEND = "send"
    HOLD = "hold"
    SKIP = "skip"
    NOT_DUE = "not_due"
    NOT_READY = "not_ready"


@dataclass(frozen=True, slots=True)
class Explanation:
    """What one automation would decide about one customer now, and why.

    `due`, `occasion`, `reason` and `channel` are those of the preview's row; `words` follow the name
    of a guest. `changes_at` is the next moment at which time alone could make it another verdict;
    None: it takes more than time. `evidence` says what it rests on, and what is planned or was sent.
    """

    automation: Automation
    verdict: Verdict
    due: bool
    occasion: str | None
    reason: str | None
    words: str
    # The automation that wrote, or goes first, instead.
    winner_id: UUID | None
    channel: str | None
    address: str | None
    due_at: datetime | None
    expires_at: datetime | None
    send_after: datetime | None
    changes_at: datetime | None
    evidence: tuple[Evidence, ...]


def explain(customer: Customer, now: datetime, automation: Automation | None = None) -> list[Explanation]:
    """One explanation for each automation of the organization and occasion that is due, by name."""
    mine = Automation.objects.filter(organization_id=customer.organization_id, deleted_at=None)
    wanted = mine if automation is None else mine.filter(pk=automation.pk)
    found: list[Explanation] = []
    for each in wanted.select_related("organization").order_by("name", "pk"):
        found += _explain(each, customer, now)
    return found


def _explain(automation: Automation, customer: Customer, now: datetime) -> list[Explanation]:
    version = automation.current_version
    try:
        trigger = triggers.get(automation.trigger)
        choice = choose(version, now, circle([customer.pk], automation, now))
    except (AutomationNotReadyError, triggers.UnknownTriggerError) as problem:
        return [_without_verdict(automation, Verdict.NOT_READY, str(problem), Outlook())]
    parameters = trigger.parameters.model_validate(version.parameters)
    outlook = trigger.outlook(automation.organization, parameters, now, customer.pk)
    verdicts = _verdicts(choice)
    own = [row for row in verdicts if row["customer_id"] == customer.pk]
    if not own:
        return [_not_due(version, customer, outlook, now)]
    others = [row for row in verdicts if row["customer_id"] != customer.pk]
    cases = [Case(customer, automation, row, others, choice.parameters, now) for row in own]
    return [_with_verdict(case, outlook) for case in cases]


def _verdicts(choice: Choice) -> list[dict[str, Any]]:
    text = f"SELECT * FROM ({choice.text}) choice ORDER BY due_at, customer_id, occasion"
    return sql.fetch_rows(text, choice.parameters)


def _with_verdict(case: Case, outlook: Outlook) -> Explanation:
    row, told = case.verdict, evidence_of(case)
    reason = row["reason"]
    later = row["send_after"] > case.now
    going = Verdict.HOLD if later else Verdict.SEND
    return Explanation(
        automation=case.automation,
        verdict=Verdict.SKIP if reason else going,
        due=True,
        occasion=row["occasion"],
        reason=reason,
        words=words(reason) if reason else WOULD_GO_LATER if later else WOULD_GO,
        winner_id=row["winner_id"],
        channel=None if reason else row["channel"],
        address=None if reason else row["address"],
        due_at=row["due_at"],
        expires_at=row["expires_at"],
        send_after=None if reason else row["send_after"],
        changes_at=_changes_at(case, told, outlook),
        evidence=(
            *outlook.evidence,
            *_news(told, outlook),
            *_history(case.automation, case.customer, told),
        ),
    )


def _news(told: Outlook, outlook: Outlook) -> list[Evidence]:
    """What the trigger has not said already."""
    said = {(fact.kind, fact.at) for fact in outlook.evidence if fact.at is not None}
    return [fact for fact in told.evidence if (fact.kind, fact.at) not in said]


def _changes_at(case: Case, told: Outlook, outlook: Outlook) -> datetime | None:
    """The first of: the reason ends, the occasion does, a further one falls due, what is held leaves."""
    if case.verdict["reason"] in FIRM:
        return told.next_at
    leaves = None if case.verdict["reason"] else case.verdict["send_after"]
    moments = (told.next_at, case.verdict["expires_at"], outlook.next_at, leaves)
    return min((moment for moment in moments if moment and moment > case.now), default=None)


def _not_due(version: AutomationVersion, customer: Customer, outlook: Outlook, now: datetime) -> Explanation:
    """Not in the choice: the trigger does not find the customer, or the conditions leave them out."""
    automation = version.automation
    trigger = triggers.get(automation.trigger)
    parameters = trigger.parameters.model_validate(version.parameters)
    found = trigger.due(automation.organization, parameters, now, [customer.pk]).exists()
    failing = tuple(unmet(version.conditions, automation.organization, now, customer.pk))
    told = Outlook((*outlook.evidence, *failing), None if failing else outlook.next_at)
    history = Outlook((*told.evidence, *_history(automation, customer, told)), told.next_at)
    return _without_verdict(automation, Verdict.NOT_DUE, UNMATCHED if found else NOT_DUE, history)


def _without_verdict(automation: Automation, verdict: Verdict, text: str, told: Outlook) -> Explanation:
    return Explanation(
        automation=automation,
        verdict=verdict,
        due=False,
        occasion=None,
        reason=None,
        words=text,
        winner_id=None,
        channel=None,
        address=None,
        due_at=None,
        expires_at=None,
        send_after=None,
        changes_at=told.next_at,
        evidence=told.evidence,
    )


def _history(automation: Automation, customer: Customer, told: Outlook) -> list[Evidence]:
    """What this automation has planned for the customer, and what it sent last."""
    mine = (
        Message.objects.filter(customer_id=customer.pk, automation_id=automation.pk)
        .select_related("automation")
        .order_by("-pk")
    )
    planned = list(mine.filter(state__in=PLANNED)[:1])
    left = list(mine.exclude(state__in=[*PLANNED, MessageState.WITHHELD])[:1])
    known = {fact.reference for fact in told.evidence if fact.kind == "message"}
    return [about(message) for message in (*planned, *left) if message.pk not in known]
