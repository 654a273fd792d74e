"""The demo's past: finished runs with real ledger rows, found by the triggers themselves.

Each earlier run asks the trigger who was due at that moment, as a real one does, and writes what
the engine would have left behind: run, chunk, messages, guards, skips and the sandbox's outbox.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import F

from regulars.automations import triggers
from regulars.automations.models import Automation, Template
from regulars.automations.quiet_hours import QuietHours, country_of, held_until
from regulars.automations.rendering import compile_template
from regulars.automations.tact import tact_of
from regulars.hospitality.demo.history import Town, come_back
from regulars.hospitality.demo.intent import HOUR, LETTER
from regulars.hospitality.demo.people import TRAVELLERS, Guest
from regulars.hospitality.models import Reservation
from regulars.hospitality.triggers.audience import Joined
from regulars.lib import sql
from regulars.runs import partitions
from regulars.runs.models import (
    Message,
    MessageState,
    Occasion,
    Run,
    RunChunk,
    RunState,
    SandboxMessage,
    Skip,
)
from regulars.runs.ticking import NOBODY_WORKED

LETTER_DAYS_AGO = 25
# Daily runs, from so many days ago to so many. Then the machine was off until just now, and what it
# should have done on these days is listed as missed.
DAILY = ("birthday", "post_visit")
DAYS_AGO = range(14, 3, -1)
MISSED_DAYS_AGO = (3, 1)
# How long ago the last event was.
_MOMENT = timedelta(minutes=3)


@dataclass
class _Past:
    """What has been written so far, so that no earlier run breaks a rule."""

    town: Town
    account_id: int
    guests: dict[int, Guest]
    taken: set[tuple[Any, int, str]] = field(default_factory=set)
    skipped: set[tuple[Any, int, str]] = field(default_factory=set)
    addressed: set[tuple[Any, tuple[str, str] | None]] = field(default_factory=set)
    last: dict[tuple[Any, int], datetime] = field(default_factory=dict)
    heard: dict[int, list[datetime]] = field(default_factory=lambda: defaultdict(list))
    messages: list[Message] = field(default_factory=list)
    skips: list[Skip] = field(default_factory=list)


def write_past(town: Town, automations: dict[str, Automation]) -> None:
    """Write the earlier runs of the demo, the oldest first."""
    account = town.organization.accounts.get()
    by_customer = {customer.pk: guest for customer, guest in zip(town.customers, town.guests, strict=True)}
    past = _Past(town, account.pk, by_customer)
    _run(past, automations[LETTER], _ago(town, LETTER_DAYS_AGO), only_letters=True)
    come_back(town)
    for days in DAYS_AGO:
        for kind in DAILY:
            _run(past, automations[kind], _ago(town, days))
    for kind in DAILY:
        _miss(town, automations[kind])
    _hold(past, automations["post_visit"])
    _withhold(past, automations["reservation_confirmation"])
    _write(past)


def _miss(town: Town, automation: Automation) -> None:
    """The slots of the days on which nothing was at work, as a tick records them."""
    first, last = (_ago(town, days) for days in MISSED_DAYS_AGO)
    Run.objects.create(
        organization=town.organization,
        automation=automation,
        state=RunState.MISSED,
        reason=NOBODY_WORKED,
        origin="schedule",
        scheduled_for=first,
        scheduled_until=last,
        created_at=town.now,
        finished_at=town.now,
    )


def _hold(past: _Past, automation: Automation) -> None:
    """The travellers' visits came in a moment ago: thanks leave, but where it is night for the guest."""
    at = past.town.now - _MOMENT
    mine = [past.town.customers[number].pk for number in TRAVELLERS]
    rows = list(_due(past, automation, at, mine))
    run = _event_run(past, automation, at, mine, due=len(rows))
    written = [_message(past, run, triggers.get(automation.trigger), row) for row in rows]
    held = [message for message in written if _is_night(past, message, at)]
    past.messages += written
    run.state = RunState.WAITING
    run.save(force_insert=True)
    RunChunk.objects.create(
        run=run,
        number=1,
        account_id=past.account_id,
        total=len(written),
        sent=len(written) - len(held),
        next_due=min(message.send_after for message in held),
    )


def _is_night(past: _Past, message: Message, at: datetime) -> bool:
    """Whether it waits for the end of the guest's quiet hours; then it is queued until then."""
    zone = ZoneInfo(past.guests[message.customer_id].timezone)
    until = held_until(at, zone, QuietHours(), country_of(message.channel, message.address))
    if until is None:
        return False
    message.send_after, message.state, message.state_at = until, MessageState.QUEUED, at
    message.accepted_at, message.epoch, message.attempt = None, 0, 0
    return True


def _withhold(past: _Past, automation: Automation) -> None:
    """A booking that was cancelled in the second in which its confirmation was to leave."""
    town = past.town
    booking = Reservation.objects.get(organization=town.organization, external_id="booking-changed-mind")
    assert booking.confirmed_at is not None
    assert booking.cancelled_at is not None
    run = _event_run(past, automation, booking.confirmed_at, [booking.customer_id], due=1)
    expires_at = booking.confirmed_at + timedelta(hours=24)
    occasion = f"reservation:{booking.pk}:confirmed"
    row = (booking.customer_id, occasion, run.created_at, expires_at, booking.venue_id, booking.pk)
    message = _message(past, run, triggers.get(automation.trigger), row)
    message.state, message.reason = MessageState.WITHHELD, "cancelled_before_send"
    message.state_at = booking.cancelled_at
    message.accepted_at, message.epoch, message.attempt = None, 0, 0
    past.messages.append(message)
    run.totals, run.finished_at = {"withheld": 1}, booking.cancelled_at
    run.save(force_insert=True)
    RunChunk.objects.create(
        run=run, number=1, account_id=past.account_id, total=1, withheld=1, urgent=True, closed=True
    )


def _due(past: _Past, automation: Automation, at: datetime, customers: list[int] | None = None) -> Any:
    trigger = triggers.get(automation.trigger)
    parameters = trigger.parameters.model_validate(automation.current_version.parameters)
    return trigger.due(past.town.organization, parameters, at, customers)


def _event_run(past: _Past, automation: Automation, at: datetime, customers: list[int], due: int) -> Run:
    """A run that an event asked for; not saved yet."""
    return Run(
        organization=past.town.organization,
        automation=automation,
        version=automation.current_version,
        state=RunState.FINISHED,
        origin="event",
        subjects=customers,
        as_of=at,
        due=due,
        created_at=at,
        planned_at=at,
    )


def _ago(town: Town, days: int) -> datetime:
    """Late morning so many days ago, in the organization's zone."""
    there = town.now.astimezone(ZoneInfo(town.organization.timezone)) - timedelta(days=days)
    return there.replace(hour=HOUR, minute=0, second=0, microsecond=0).astimezone(town.now.tzinfo)


def _run(past: _Past, automation: Automation, at: datetime, *, only_letters: bool = False) -> None:
    version, trigger = automation.current_version, triggers.get(automation.trigger)
    rows = list(_due(past, automation, at))
    if only_letters:
        rows = [row for row in rows if past.guests[row[0]].written_to]
    run = Run(
        organization=past.town.organization,
        automation=automation,
        version=version,
        state=RunState.FINISHED,
        origin="manual" if only_letters else "schedule",
        scheduled_for=None if only_letters else at,
        as_of=at,
        due=len(rows),
        created_at=at,
        planned_at=at,
        finished_at=at + timedelta(seconds=2),
    )
    reasons = Counter(reason for row in rows if (reason := _judge(past, run, trigger, row)))
    run.skipped_by_reason = dict(reasons)
    sent = len(rows) - reasons.total()
    run.totals = {"sent": sent}
    run.save(force_insert=True)
    if sent:
        RunChunk.objects.create(
            run=run, number=1, account_id=past.account_id, total=sent, sent=sent, closed=True
        )


def _judge(past: _Past, run: Run, trigger: triggers.Trigger, row: tuple[Any, ...]) -> str:
    """The engine's order of reasons, as far as it can matter here; empty: a message was written."""
    customer_id, occasion, _, expires_at, _, _ = row
    guest, key = past.guests[customer_id], (run.automation_id, customer_id, occasion)
    reason = _objection(past, guest, key, run, trigger, expires_at)
    if reason and reason != "already_contacted" and key not in past.skipped:
        past.skipped.add(key)
        past.skips.append(_skip(run, customer_id, occasion, reason))
    if not reason:
        past.taken.add(key)
        past.addressed.add((run.pk, guest.way))
        past.last[key[:2]] = run.created_at
        past.heard[customer_id].append(run.created_at)
        past.messages.append(_message(past, run, trigger, row))
    return reason


def _objection(
    past: _Past,
    guest: Guest,
    key: tuple[Any, int, str],
    run: Run,
    trigger: triggers.Trigger,
    expires_at: datetime,
) -> str:
    at = run.created_at
    last = past.last.get(key[:2])
    objections = {
        "do_not_contact": bool(guest.do_not_contact_reason),
        "already_contacted": key in past.taken,
        "no_address": not guest.addresses,
        "no_consent": not any(guest.consents.get(channel) for channel in guest.addresses),
        "suppressed": guest.suppressed,
        "expired": expires_at <= at,
        "cooldown": last is not None and at - last < timedelta(trigger.policy.cooldown_days),
        "frequency_cap": any(
            sum(at - heard < timedelta(cap.days) for heard in past.heard[key[1]]) >= cap.messages
            for cap in tact_of(past.town.organization.tact).caps
        ),
        "duplicate_address": (run.pk, guest.way) in past.addressed,
    }
    return next((reason for reason, holds in objections.items() if holds), "")


def _skip(run: Run, customer_id: int, occasion: str, reason: str) -> Skip:
    return Skip(
        organization_id=run.organization_id,
        automation_id=run.automation_id,
        customer_id=customer_id,
        occasion=occasion,
        reason=reason,
        run_id=run.pk,
        at=run.created_at,
    )


def _message(past: _Past, run: Run, trigger: triggers.Trigger, row: tuple[Any, ...]) -> Message:
    customer_id, occasion, due_at, expires_at, venue_id, reference = row
    way = past.guests[customer_id].way
    assert way is not None
    accepted = run.created_at + timedelta(seconds=1)
    states = (MessageState.SENT, MessageState.DELIVERED, MessageState.DELIVERED, MessageState.READ)
    return Message(
        organization_id=run.organization_id,
        run=run,
        chunk_number=1,
        automation_id=run.automation_id,
        version_id=run.version_id or 0,
        customer_id=customer_id,
        occasion=occasion,
        purpose=trigger.purpose,
        channel=way[0],
        account_id=past.account_id,
        address=way[1],
        venue_id=venue_id,
        reference=reference,
        due_at=due_at,
        expires_at=expires_at,
        send_after=run.created_at,
        state=states[customer_id % len(states)],
        epoch=1,
        attempt=1,
        created_at=run.created_at,
        accepted_at=accepted,
        state_at=accepted,
    )


def _number(messages: list[Message]) -> None:
    """Give each message an id of its own month, as planning does: who looks back looks at ids."""
    for month in {partitions.month_of(message.created_at) for message in messages}:
        partitions.ensure(partitions.first_moment(month), ahead=0)
    rows = sql.fetch_rows(
        "SELECT nextval('messages_number') AS number FROM generate_series(1, %(count)s)",
        {"count": len(messages)},
    )
    for message, row in zip(messages, rows, strict=True):
        message.pk = partitions.floor_id(message.created_at) + row["number"]


def _enclose(messages: list[Message]) -> None:
    """Tell each run's only chunk between which ids its messages are."""
    ids = defaultdict(list)
    for message in messages:
        ids[message.run_id].append(message.pk)
    for run_id, own in ids.items():
        RunChunk.objects.filter(run_id=run_id).update(first_id=min(own), last_id=max(own))


def _write(past: _Past) -> None:
    _number(past.messages)
    messages = Message.objects.bulk_create(past.messages, batch_size=1_000)
    _enclose(messages)
    Message.objects.filter(organization_id=past.town.organization.pk, accepted_at__isnull=False).update(
        provider_id=Joined("sandbox-", F("pk"))
    )
    Skip.objects.bulk_create(past.skips, batch_size=1_000)
    Occasion.objects.bulk_create(
        [
            Occasion(
                automation_id=message.automation_id,
                customer_id=message.customer_id,
                occasion=message.occasion,
                message_id=message.pk,
            )
            for message in messages
            # What was withheld gives its occasion back.
            if message.state != MessageState.WITHHELD
        ],
        batch_size=1_000,
    )
    left = [message for message in messages if message.accepted_at]
    SandboxMessage.objects.bulk_create(_outbox(past, left), batch_size=1_000)


def _outbox(past: _Past, messages: list[Message]) -> list[SandboxMessage]:
    """What each guest would have read, rendered as the sender does."""
    versions = {message.version_id for message in messages}
    texts = {
        (text.version_id, text.channel, text.language): text
        for text in Template.objects.filter(version_id__in=versions)
    }
    details = _details(messages)
    return [_sandboxed(past, message, texts, details) for message in messages]


def _details(messages: list[Message]) -> dict[tuple[Any, int | None], dict[str, Any]]:
    found: dict[tuple[Any, int | None], dict[str, Any]] = {}
    for automation in {message.automation for message in messages}:
        own = [message for message in messages if message.automation_id == automation.pk]
        query = triggers.get(automation.trigger).details([message.reference or 0 for message in own])
        for row in query or ():
            found[automation.pk, row["reference"]] = row
    return found


def _sandboxed(
    past: _Past,
    message: Message,
    texts: dict[tuple[int, str, str], Template],
    details: dict[tuple[Any, int | None], dict[str, Any]],
) -> SandboxMessage:
    guest, organization = past.guests[message.customer_id], past.town.organization
    language = guest.language or organization.language
    text = texts[message.version_id, message.channel, language]
    row = details[message.automation_id, message.reference] | {"now": message.created_at}
    venues: dict[int | None, str] = {venue.pk: venue.name for venue in past.town.venues}
    rendered = compile_template(message.channel, text.subject, text.body, language).render(
        {
            "customer": {"first_name": guest.first_name, "language": language},
            "venue": {"name": venues[message.venue_id]},
            "organization": {"name": organization.name},
            **triggers.get(message.automation.trigger).present(row),
        }
    )
    return SandboxMessage(
        organization_id=organization.pk,
        account_id=message.account_id,
        message_id=message.pk,
        channel=message.channel,
        address=message.address,
        subject=rendered.subject,
        body=rendered.body,
        html=rendered.html,
        at=message.state_at,
    )
