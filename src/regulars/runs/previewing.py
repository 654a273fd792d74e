"""The dry run: the run's own query without writing and sending.

Three questions, so that the first numbers come at once however many are due: how many (nobody is
judged), the counts with samples (everybody is judged, once), and the list. A page of the list judges
only the guests that are on it and those on whom their verdicts depend, so that the last page costs
as much as the first; the whole list, for a file, is one judging that is read in pieces.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID
from zoneinfo import ZoneInfo

from regulars.automations.accounts import accounts_by_channel
from regulars.automations.models import Automation
from regulars.automations.policy import Policy
from regulars.customers.models import Channel
from regulars.lib import sql
from regulars.lib.masking import mask_address
from regulars.runs import portfolios
from regulars.runs.choosing import audience, choose
from regulars.runs.circle import circle
from regulars.runs.eligibility import words
from regulars.runs.sampling import Sample, samples
from regulars.runs.surveying import survey


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """One verdict: send on `channel` to `address` after `send_after`, or left out for `reason`."""

    customer_id: int
    occasion: str
    reason: str | None
    # The automation that wrote instead, or that goes first.
    winner_id: UUID | None
    channel: str | None
    address: str | None
    due_at: datetime
    send_after: datetime
    # In the organization's currency; None: no price is known.
    cost: Decimal | None


@dataclass(frozen=True, slots=True)
class Guest(VerdictRow):
    """A verdict with the name of the guest it is about, for lists."""

    external_id: str | None
    first_name: str
    last_name: str

    # The columns of `cells`.
    HEADER: ClassVar[tuple[str, ...]] = (
        *("customer_id", "external_id", "first_name", "last_name", "verdict", "reason", "words"),
        *("channel", "address", "occasion", "due_at", "send_after"),
    )

    def cells(self, zone: str, *, show_addresses: bool) -> list[Any]:
        """The verdict as a row of a table for people: moments as wall time in `zone`."""
        address = self.address
        if address and not show_addresses:
            address = mask_address(address)
        return [
            *(self.customer_id, self.external_id, self.first_name, self.last_name),
            *("skip" if self.reason else "send", self.reason, self.reason and words(self.reason)),
            *(self.channel, address, self.occasion, _wall(self.due_at, zone)),
            None if self.reason else _wall(self.send_after, zone),
        ]


def _wall(moment: datetime, zone: str) -> str:
    return f"{moment.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M:%S}"


@dataclass(frozen=True, slots=True)
class Preview:
    """What a run at this moment would do; `delivery` is what it does about messages in doubt.

    `held` of the sends leave later than now: between `first_leaves` and `last_leaves`.
    `cost_by_channel` is in the organization's currency; a channel without prices is not in it. `days`:
    over how many of them WhatsApp's limit of different guests spreads the sends (1: today).
    `rows` are a glance at the verdicts, the sends first.
    """

    due: int
    send: int
    skipped_by_reason: dict[str, int]
    by_channel: dict[str, int]
    held: int
    first_leaves: datetime | None
    last_leaves: datetime | None
    cost_by_channel: dict[str, Decimal]
    days: int
    rows: list[VerdictRow]
    samples: list[Sample]
    delivery: str


def preview(
    automation: Automation,
    now: datetime,
    subjects: Sequence[int] | None = None,
    *,
    limit: int = 100,
    sample: int = 0,
) -> Preview:
    """Counts by verdict and reason, up to `limit` rows, and `sample` messages as a run would send them.

    Raises:
        AutomationNotReadyError: no account can send on any of its channels.
    """
    version = automation.current_version
    found = survey(choose(version, now, subjects), limit, faces=sample, now=now)
    sends = [row for row in found.groups if row["reason"] is None]
    skips: dict[str, int] = {}
    for row in found.groups:
        if row["reason"] is not None:
            skips[row["reason"]] = skips.get(row["reason"], 0) + row["number"]
    number = sum(row["number"] for row in sends)
    by_channel = {row["channel"]: row["number"] for row in sends}
    whatsapp = accounts_by_channel(automation.organization).get(Channel.WHATSAPP)
    waits = [row for row in sends if row["held"]]
    return Preview(
        due=number + sum(skips.values()),
        send=number,
        skipped_by_reason=skips,
        by_channel=by_channel,
        held=sum(row["held"] for row in waits),
        first_leaves=min((row["first_leaves"] for row in waits), default=None),
        last_leaves=max((row["last_leaves"] for row in waits), default=None),
        cost_by_channel={row["channel"]: row["total"] for row in sends if row["total"] is not None},
        days=portfolios.days_for(whatsapp, by_channel.get(Channel.WHATSAPP, 0), now),
        rows=[VerdictRow(**row) for row in found.rows],
        samples=samples(version, found.faces, sample, now),
        delivery=Policy.model_validate(version.policy).delivery,
    )


def count_due(automation: Automation, now: datetime) -> int:
    """How many verdicts a preview at this moment would count, without judging anybody.

    Raises:
        AutomationNotReadyError: no account can send on any of its channels.
    """
    due = audience(automation.current_version, now)
    rows = sql.fetch_rows(f"SELECT count(*) AS number FROM ({due.text}) audience", due.parameters)
    return int(rows[0]["number"])


def page(
    automation: Automation, now: datetime, *, after: int = 0, limit: int = 100
) -> tuple[list[Guest], int | None]:
    """The verdicts of the next `limit` guests by id, and the id after which to read on (None: the end).

    Raises:
        AutomationNotReadyError: no account can send on any of its channels.
    """
    version = automation.current_version
    due = audience(version, now)
    values = due.parameters | {"after": after, "row_limit": limit + 1}
    found = sql.fetch_rows(_NEXT.format(audience=due.text), values)
    people = [row["customer_id"] for row in found][:limit]
    if not people:
        return [], None
    choice = choose(version, now, circle(people, automation, now))
    text = _LIST.format(choice=choice.text, among="WHERE choice.customer_id = ANY(%(people)s)")
    rows = sql.fetch_rows(text, choice.parameters | {"people": people})
    return [Guest(**row) for row in rows], people[-1] if len(found) > limit else None


def everybody(automation: Automation, now: datetime) -> Iterator[Guest]:
    """All verdicts by id of the guest, a few thousand of them in memory at a time.

    Raises:
        AutomationNotReadyError: no account can send on any of its channels; at once, not at the
            first row.
    """
    choice = choose(automation.current_version, now)
    rows = sql.stream_rows(_LIST.format(choice=choice.text, among=""), choice.parameters)
    return (Guest(**row) for row in rows)


_NEXT = """
SELECT DISTINCT customer_id FROM ({audience}) audience
 WHERE customer_id > %(after)s ORDER BY customer_id LIMIT %(row_limit)s
"""

_LIST = """
SELECT choice.customer_id, choice.occasion, choice.reason, choice.winner_id,
       CASE WHEN choice.reason IS NULL THEN choice.channel END AS channel,
       CASE WHEN choice.reason IS NULL THEN choice.address END AS address,
       choice.due_at, choice.send_after, choice.cost,
       customer.external_id, customer.first_name, customer.last_name
  FROM ({choice}) choice
  JOIN customers customer ON customer.id = choice.customer_id
 {among}
 ORDER BY choice.customer_id, choice.due_at, choice.occasion
"""
