"""The dry run: the run's own query without writing and sending.

Three questions, so that the first numbers come at once however many are due: how many (nobody is
judged), the counts with samples (everybody is judged, once), and the list. A page of the list judges
only the guests that are on it and those on whom their verdicts depend, so that the last page costs
as much as the first; the whole list, for a file, is one judging that is read in pieces. A page of only
those with one verdict judges on until it is full, or until so many were judged that a person has waited
long enough; then it is short, and the next one goes on.
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

# The verdict on whom there is no objection to.
SEND = "send"
# For a page of one verdict only: how many guests are judged at most, in pages.
_BLOCKS = (1, 4, 16, 64)


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
    # The name of the automation that wrote instead, or that goes first.
    winner: str | None

    # The columns of `cells`.
    HEADER: ClassVar[tuple[str, ...]] = (
        *("customer_id", "external_id", "first_name", "last_name", "verdict", "reason", "words"),
        *("winner", "channel", "address", "occasion", "due_at", "send_after", "cost"),
    )

    def has(self, verdict: str) -> bool:
        """Whether this is the verdict: `send`, or the code of a reason; empty: any."""
        return verdict in ("", self.reason or SEND)

    def cells(self, zone: str, *, show_addresses: bool) -> list[Any]:
        """The verdict as a row of a table for people: moments as wall time in `zone`."""
        address = self.address
        if address and not show_addresses:
            address = mask_address(address)
        return [
            *(self.customer_id, self.external_id, self.first_name, self.last_name),
            *("skip" if self.reason else SEND, self.reason, self.reason and words(self.reason)),
            *(self.winner, self.channel, address, self.occasion, _wall(self.due_at, zone)),
            *((None, None) if self.reason else (_wall(self.send_after, zone), self.cost)),
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
    automation: Automation, now: datetime, *, after: int = 0, limit: int = 100, verdict: str = ""
) -> tuple[list[Guest], int | None]:
    """The verdicts of the next `limit` guests by id, and the id after which to read on (None: the end).

    `verdict`: only `send`, or the code of one reason; such a page may be short, or empty, before the end.

    Raises:
        AutomationNotReadyError: no account can send on any of its channels.
    """
    found: list[Guest] = []
    for block in _BLOCKS if verdict else (1,):
        people, more = _next(automation, now, after, limit * block)
        found += [guest for guest in _judged(automation, now, people) if guest.has(verdict)]
        shown = sorted({guest.customer_id for guest in found})[: limit + 1]
        if len(shown) > limit or (len(shown) == limit and more):
            last = shown[limit - 1]
            return [guest for guest in found if guest.customer_id <= last], last
        if not more:
            return found, None
        after = people[-1]
    return found, after


def _next(automation: Automation, now: datetime, after: int, number: int) -> tuple[list[int], bool]:
    """The next guests by id who are due, and whether there are more."""
    due = audience(automation.current_version, now)
    values = due.parameters | {"after": after, "row_limit": number + 1}
    found = [row["customer_id"] for row in sql.fetch_rows(_NEXT.format(audience=due.text), values)]
    return found[:number], len(found) > number


def _judged(automation: Automation, now: datetime, people: Sequence[int]) -> list[Guest]:
    """The verdicts on these guests, as a judging of everybody would find them."""
    if not people:
        return []
    choice = choose(automation.current_version, now, circle(people, automation, now))
    text = _LIST.format(choice=choice.text, among="WHERE choice.customer_id = ANY(%(people)s)")
    return [Guest(**row) for row in sql.fetch_rows(text, choice.parameters | {"people": list(people)})]


def everybody(automation: Automation, now: datetime, verdict: str = "") -> Iterator[Guest]:
    """All verdicts (or one, as in `page`) by id of the guest, a few thousand of them in memory at a time.

    Raises:
        AutomationNotReadyError: no account can send on any of its channels; at once, not at the
            first row.
    """
    choice = choose(automation.current_version, now)
    rows = sql.stream_rows(_LIST.format(choice=choice.text, among=""), choice.parameters)
    return (guest for row in rows if (guest := Guest(**row)).has(verdict))


_NEXT = """
SELECT DISTINCT customer_id FROM ({audience}) audience
 WHERE customer_id > %(after)s ORDER BY customer_id LIMIT %(row_limit)s
"""

_LIST = """
SELECT choice.customer_id, choice.occasion, choice.reason, choice.winner_id,
       CASE WHEN choice.reason IS NULL THEN choice.channel END AS channel,
       CASE WHEN choice.reason IS NULL THEN choice.address END AS address,
       choice.due_at, choice.send_after, choice.cost,
       customer.external_id, customer.first_name, customer.last_name, winner.name AS winner
  FROM ({choice}) choice
  JOIN customers customer ON customer.id = choice.customer_id
  LEFT JOIN automations winner ON winner.id = choice.winner_id
 {among}
 ORDER BY choice.customer_id, choice.due_at, choice.occasion
"""
