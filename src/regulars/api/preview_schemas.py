"""What goes over the wire about what a run would do, and why. Shapes only, no rule."""

from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from ninja import Schema
from pydantic import Field

from regulars.api.schemas import Count


class DueOut(Schema):
    """How many verdicts the preview will count; nobody is judged for it, so it comes at once."""

    due: Count


class PreviewRow(Schema):
    """One verdict: send on a channel, or a reason not to."""

    customer_id: int
    occasion: str
    reason: str | None
    words: str | None = Field(description="The reason for people")
    winner_id: UUID | None = Field(description="The automation that wrote, or goes first, instead")
    channel: str | None
    address: str | None
    due_at: datetime | None
    send_after: datetime | None = Field(description="When it would leave; null: it would not")
    cost: Decimal | None = Field(description="In the organization's currency; null: no price is known")


class SampleOut(Schema):
    """A message as a run would send it, word for word."""

    customer_id: int
    occasion: str
    channel: str
    address: str
    language: str
    send_after: datetime
    subject: str
    body: str
    html: str = Field(description="E-mail only")
    problem: str = Field(description="Why it cannot be rendered; a run would count it as failed")
    shows: list[str] = Field(description="What the samples before it do not show")


class PreviewOut(Schema):
    """What a run would do now. Nothing is written, nothing is sent."""

    due: Count
    send: Count
    skipped_by_reason: dict[str, Count]
    by_channel: dict[str, Count]
    held: Count = Field(description="Of `send`: those that would leave later than now")
    first_leaves: datetime | None = Field(description="When the first of the held ones would leave")
    last_leaves: datetime | None = Field(description="When the last of them would leave")
    cost_by_channel: dict[str, Decimal] = Field(description="What the sends cost, where prices are known")
    days: Count = Field(
        description="Over how many WhatsApp's limit of different guests spreads them; 1: today"
    )
    delivery: Literal["at_most_once", "at_least_once"] = Field(
        description="Whether a message in doubt is left to a person, or sent again by itself"
    )
    rows: list[PreviewRow] = Field(description="A glance, the sends first; all of them: /preview/verdicts")
    samples: list[SampleOut] = Field(description="Chosen to differ")


class VerdictOut(PreviewRow):
    """One verdict with the name of its customer."""

    external_id: str | None
    first_name: str
    last_name: str


class VerdictPage(Schema):
    """By customer; one with several occasions has several rows, always on one page."""

    items: list[VerdictOut]
    next: int | None = Field(description="Give it as `after` to read on; null at the end")


class AutomationBrief(Schema):
    """An automation in passing."""

    id: UUID
    name: str
    enabled: bool


class EvidenceOut(Schema):
    """One fact that an explanation rests on."""

    kind: str = Field(description="last_visit, birthday, message, consent, suppression, booking, ...")
    words: str
    at: datetime | None = Field(description="The moment it is about")
    reference: int | None = Field(description="The id of the visit, message, consent, ...")


class ExplanationOut(Schema):
    """What one automation would decide about a customer now, and why."""

    automation: AutomationBrief
    verdict: Literal["send", "hold", "skip", "not_due", "not_ready"]
    due: bool
    occasion: str | None
    reason: str | None
    words: str = Field(description="The verdict or reason for people; follows the name")
    winner_id: UUID | None = Field(description="The automation that wrote, or goes first, instead")
    channel: str | None
    address: str | None
    due_at: datetime | None
    expires_at: datetime | None = Field(description="From when on it is too late for this occasion")
    send_after: datetime | None
    changes_at: datetime | None = Field(
        description="The next moment at which time alone could change it; null: it takes more than time"
    )
    evidence: list[EvidenceOut]


class ExplanationList(Schema):
    """At least one explanation for each automation: one for each occasion that is due."""

    customer_id: int
    explanations: list[ExplanationOut]
