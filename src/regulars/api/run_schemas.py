"""What goes over the wire about runs and their messages. Shapes only, no rule."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from ninja import Schema
from pydantic import Field

from regulars.api.parsing import Text
from regulars.api.schemas import Count, Strict


class RunOut(Schema):
    """One execution of one version of an automation."""

    id: UUID
    automation_id: UUID
    automation_name: str
    version: int | None
    state: str
    reason: str
    origin: str
    requested_by: str | None
    processed: Count
    sent: Count
    skipped: Count
    failed: Count
    held: Count
    unknown: Count = Field(description="Of the failed: those whose outcome nobody knows yet")
    skipped_by_reason: dict[str, Count]
    scheduled_for: datetime | None = Field(
        description="By a schedule: the slot that it ran for, or the first that it missed"
    )
    scheduled_until: datetime | None = Field(description="The last of several slots that were missed")
    created_at: datetime
    planned_at: datetime | None
    finished_at: datetime | None
    purged_at: datetime | None = Field(
        description="When its messages and skips were removed for their age; its counts stay"
    )


class HoldOut(Schema):
    """What keeps messages back: quiet hours, a limit, a day's quota, an account that has trouble."""

    why: Literal["quiet_hours", "rate", "daily_limit", "recipients", "breaker"]
    account: str
    until: datetime | None
    limit: int | None
    unit: str
    reason: str
    words: str = Field(description="For people")


class RunProgress(Schema):
    """One `progress` event of a run's stream."""

    state: str
    reason: str
    processed: Count
    sent: Count
    skipped: Count
    failed: Count
    held: Count
    unknown: Count
    holds: list[HoldOut]
    per_second: float | None = Field(description="Messages per second lately; null until it is known")
    seconds_left: int | None = Field(description="At this pace; null where nobody can say")


class RunDetail(RunOut):
    """A run, and what it waits for."""

    holds: list[HoldOut]


class RunPage(Schema):
    """Newest first."""

    items: list[RunOut]
    next: UUID | None = Field(description="Give it as `after` to read on; null at the end")


class MessageOut(Schema):
    """What was said to one customer on one occasion, and what became of it."""

    id: int
    run_id: UUID
    automation_id: UUID
    customer_id: int
    occasion: str
    purpose: str
    channel: str
    account_id: int
    address: str = Field(description="Masked for those who may not see contact data")
    state: str
    reason: str
    error: str
    provider_id: str
    attempt: Count
    due_at: datetime
    expires_at: datetime | None
    send_after: datetime
    created_at: datetime
    accepted_at: datetime | None
    state_at: datetime


class MessagePage(Schema):
    """By id."""

    items: list[MessageOut]
    next: int | None = Field(description="Give it as `after` to read on; null at the end")


class EventOut(Schema):
    """A later fact about a message."""

    kind: str
    attempt: Count
    actor: str
    at: datetime


class MessageDetail(MessageOut):
    """A message with its delivery events."""

    events: list[EventOut]


class SkipOut(Schema):
    """A verdict not to write to a customer."""

    id: int
    customer_id: int
    occasion: str
    reason: str
    words: str
    winner_id: UUID | None = Field(description="The automation that wrote, or goes first, instead")
    at: datetime


class SkipPage(Schema):
    """By id."""

    items: list[SkipOut]
    next: int | None = Field(description="Give it as `after` to read on; null at the end")


class PauseIn(Strict):
    """Why the run is paused."""

    reason: Annotated[Text, Field(max_length=500)] = ""


class RetryIn(Strict):
    """Which failures get one more try."""

    failures: Literal["temporary"] = Field(
        alias="class", description="Only temporary ones: what was refused for good is never sent again"
    )


class RetryOut(Schema):
    """How many messages get one more try."""

    queued: Count = Field(description="Messages that are tried once more")
    too_late: Count = Field(description="Messages past their lateness limit: they stay failed")
    run: RunOut


class LookUpOut(Schema):
    """What the providers knew of messages in doubt."""

    asked: Count = Field(description="Messages that were asked about, at most 200 a call")
    settled: Count = Field(description="Those of which the provider knew")
    cannot: list[str] = Field(description="Providers that cannot be asked")
    run: RunOut


class SettleIn(Strict):
    """What a person decides about messages of which nobody knows whether they arrived."""

    decision: Literal["arrived", "send_again", "leave"]


class SettleAllOut(Schema):
    """How many messages were decided."""

    settled: Count
    run: RunOut
