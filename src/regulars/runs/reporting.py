"""What a provider says later about a message: by callback, or because somebody asked it.

Each report is kept as an event, once, and may come in any order: what it says of the message only
ever adds to what is known (`learned`). It settles an unknown; it never causes a message to be sent.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from regulars.lib.crash_points import reach
from regulars.providers.base import Report
from regulars.runs import deltas, partitions
from regulars.runs.models import DeliveryEvent, Message, MessageState

# So long after its planning a message is still found by the provider's own number alone.
REPORTED_WITHIN = timedelta(days=31)


class NoSuchMessageError(LookupError):
    """There is no message with this id, or none that this account sent under this number."""


@dataclass(frozen=True, slots=True)
class News:
    """One report: about a message by our id, or by the account and the id that its provider gave.

    `organization_id` says whose word it is: another organization's message is not found. With it the
    provider's number and the normalised `address` find a message by one look instead of reading months,
    whichever account it left by.

    `key` tells this report from others about the message; what comes again under the same key is the
    same report. Without one, each kind counts once. `attempt` is the try it is about, if it says so.
    """

    report: Report
    message_id: int | None = None
    organization_id: int | None = None
    account_id: int | None = None
    provider_id: str = ""
    address: str = ""
    key: str = ""
    attempt: int | None = None
    words: str = ""
    actor: str = "provider"


@dataclass(frozen=True, slots=True)
class Learned:
    """The state of the message after a report, and whether the report was new and changed it."""

    message_id: int
    run_id: UUID
    state: str
    was_new: bool
    changed: bool


def report(news: News, now: datetime) -> Learned:
    """Take note of a report; the message, its chunk and its run follow it.

    Raises:
        NoSuchMessageError: it is about no message of ours.
    """
    known = _find(news, now)
    with transaction.atomic():
        deltas.hold_run(known.run_id)
        message = Message.objects.select_for_update().get(pk=known.pk)
        if not _keep(message, news, now):
            return Learned(message.pk, message.run_id, message.state, was_new=False, changed=False)
        before, state = message.state, learned(message, news)
        if state is not None:
            _change(message, state, news, now)
            move = deltas.Move(message.chunk_number, before, state)
            deltas.apply(message.run_id, [move], now)
        reach("report.inside")
    reach("report.committed")
    return Learned(message.pk, message.run_id, state or before, was_new=True, changed=state is not None)


def learned(message: Message, news: News) -> MessageState | None:
    """The state that a report makes of a message, or None where it says nothing new about it.

    Reports have a rank, and the highest one is what is known: so any order gives the same state, and
    delivered and read are never lowered.
    """
    if not message.attempt or message.state == MessageState.WITHHELD:
        return None
    of_another = news.attempt is not None and news.attempt != message.attempt
    match news.report:
        case Report.NEVER_ACCEPTED:
            fits = message.state == MessageState.UNKNOWN and not of_another
        case Report.FAILED:
            # Of a message that waits for another try, an earlier try's failure is no news.
            fits = (
                message.state != MessageState.QUEUED
                and not of_another
                and _rank(message) < _RANKS[news.report]
            )
        case _:
            # That it arrived, or came back, is true of the message whichever try it was.
            fits = _rank(message) < _RANKS[news.report]
    return _TO[news.report] if fits else None


def _rank(message: Message) -> int:
    if message.state == MessageState.FAILED:
        return _RANKS[Report.FAILED] if message.reason == _REASONS[Report.FAILED] else 0
    return next((rank for report, rank in _RANKS.items() if _TO[report] == message.state), 0)


def _find(news: News, now: datetime) -> Message:
    """By our id: one look into one partition. By the provider's: the months in which it may report, read
    whole, because an index on a column that sending changes would make each record dearer.
    """
    rows = Message.objects.only("id", "run_id")
    if news.organization_id is not None:
        rows = rows.filter(organization_id=news.organization_id)
    if news.message_id is not None:
        rows = rows.filter(pk=news.message_id)
    elif news.organization_id is not None and news.address and news.provider_id:
        recent = rows.filter(pk__gte=partitions.floor_id(now - REPORTED_WITHIN))
        rows = recent.filter(address=news.address, provider_id=news.provider_id)
    elif news.account_id is not None and news.provider_id:
        recent = rows.filter(pk__gte=partitions.floor_id(now - REPORTED_WITHIN))
        rows = recent.filter(account_id=news.account_id, provider_id=news.provider_id)
    else:
        raise NoSuchMessageError(NoSuchMessageError.__doc__)
    found = rows.first()
    if found is None:
        raise NoSuchMessageError(NoSuchMessageError.__doc__)
    return found


def _keep(message: Message, news: News, now: datetime) -> bool:
    """Write the report down, unless it is there already. The message's lock makes that exact."""
    if DeliveryEvent.objects.filter(message_id=message.pk, raw__key=key_of(news)).exists():
        return False
    event_of(message, news, now).save()
    return True


def key_of(news: News) -> str:
    """What tells this report from others about its message."""
    return news.key or str(news.report)


def event_of(message: Message, news: News, now: datetime) -> DeliveryEvent:
    """The report as a row, not yet written."""
    raw: dict[str, Any] = {"key": key_of(news)}
    if news.words:
        raw["words"] = news.words
    if news.provider_id:
        raw["provider_id"] = news.provider_id
    return DeliveryEvent(
        message_id=message.pk,
        kind=str(news.report),
        attempt=message.attempt if news.attempt is None else news.attempt,
        actor=news.actor,
        raw=raw,
        at=now,
    )


def _change(message: Message, state: MessageState, news: News, now: datetime) -> None:
    turn(message, state, news, now)
    message.save(update_fields=CHANGED)


# What a report may change of a message.
CHANGED = ["state", "state_at", "reason", "error", "provider_id", "accepted_at"]


def turn(message: Message, state: MessageState, news: News, now: datetime) -> None:
    """Let the message be in `state`, by this report; writes nothing."""
    message.state, message.state_at = state, now
    message.reason = _REASONS.get(news.report, "")
    message.error = news.words if news.report in _REASONS else ""
    message.provider_id = message.provider_id or news.provider_id
    if news.report is not Report.NEVER_ACCEPTED:
        message.accepted_at = message.accepted_at or now


# From what says least to what says most. A message may be given up on and still come through.
_RANKS = {
    Report.ACCEPTED: 1,
    Report.FAILED: 2,
    Report.BOUNCED: 3,
    Report.DELIVERED: 4,
    Report.COMPLAINED: 4,
    Report.READ: 5,
    Report.CLICKED: 5,
}
_TO = {
    Report.ACCEPTED: MessageState.SENT,
    Report.DELIVERED: MessageState.DELIVERED,
    Report.COMPLAINED: MessageState.DELIVERED,
    Report.READ: MessageState.READ,
    Report.CLICKED: MessageState.READ,
    Report.BOUNCED: MessageState.BOUNCED,
    Report.FAILED: MessageState.FAILED,
    Report.NEVER_ACCEPTED: MessageState.FAILED,
}
# What was never taken may be tried again by a person, what the provider gave up on may not.
_REASONS = {Report.BOUNCED: "bounced", Report.FAILED: "undelivered", Report.NEVER_ACCEPTED: "temporary"}
