"""The run without writing and sending: what it would do, counted, and its first rows."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from regulars.automations.models import Automation
from regulars.automations.policy import Policy
from regulars.runs.choosing import choose
from regulars.runs.surveying import survey


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """One verdict: send on `channel` to `address`, or left out for `reason`."""

    customer_id: int
    occasion: str
    reason: str | None
    # The automation that wrote instead, or that goes first.
    winner_id: UUID | None
    channel: str | None
    address: str | None
    due_at: datetime
    send_after: datetime
    cost: Decimal | None


@dataclass(frozen=True, slots=True)
class Preview:
    """What a run at this moment would do; `delivery` is what it does about messages in doubt.

    `held` of the sends leave later, when quiet hours are over: between `first_leaves` and `last_leaves`.
    """

    due: int
    send: int
    skipped_by_reason: dict[str, int]
    by_channel: dict[str, int]
    rows: list[VerdictRow]
    delivery: str
    held: int = 0
    first_leaves: datetime | None = None
    last_leaves: datetime | None = None
    # By channel, in the organization's currency; a channel without prices is not in it.
    cost_by_channel: dict[str, Decimal] = field(default_factory=dict)


def preview(
    automation: Automation,
    now: datetime,
    subjects: Sequence[int] | None = None,
    *,
    limit: int,
    offset: int,
) -> Preview:
    """The same query as the run's, judged at `now`, with `limit` rows from `offset` on.

    Raises:
        AutomationNotReadyError: no account can send on any of its channels.
    """
    version = automation.current_version
    choice = choose(version, now, subjects)
    groups, found = survey(choice, limit, offset)
    sends = {row["channel"]: row["number"] for row in groups if row["reason"] is None}
    skips: dict[str, int] = {}
    for row in groups:
        if row["reason"] is not None:
            skips[row["reason"]] = skips.get(row["reason"], 0) + row["number"]
    send = sum(sends.values())
    rows, delivery = [VerdictRow(**row) for row in found], Policy.model_validate(version.policy).delivery
    waits = [row for row in groups if row["held"]]
    return Preview(
        due=send + sum(skips.values()),
        send=send,
        skipped_by_reason=skips,
        by_channel=sends,
        rows=rows,
        delivery=delivery,
        held=sum(row["held"] for row in waits),
        first_leaves=min((row["first_leaves"] for row in waits), default=None),
        cost_by_channel={row["channel"]: row["total"] for row in groups if row["total"] is not None},
        last_leaves=max((row["last_leaves"] for row in waits), default=None),
    )
