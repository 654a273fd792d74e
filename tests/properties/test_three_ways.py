"""Preview, run and a slow reference judge in plain Python say the same about every small world."""

import hashlib
from dataclasses import dataclass, field, replace
from datetime import timedelta
from unittest import mock
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import NOW

from regulars.automations.models import (
    Automation,
    AutomationVersion,
    ProviderAccount,
    Template,
)
from regulars.customers.addresses import fingerprint
from regulars.customers.models import Address, Consent, Customer, Suppression
from regulars.hospitality.models import Reservation, Venue, Visit
from regulars.lib.clock import local_date
from regulars.organizations.models import Organization
from regulars.providers import registry
from regulars.runs import engine, planning
from regulars.runs.models import Message, Occasion, Run, RunVerdict

DAYS = 60
# No French number begins so: an example that nobody can have. Silent on this Monday from 22:00 only.
FRENCH = "+33000000101"
ZONES = {"": "Europe/Madrid", "America/New_York": "America/New_York", "Mars/Base": "Europe/Madrid"}


@dataclass(frozen=True)
class Guest:
    """One customer of a small world; `addresses` maps a channel to an address and its fault."""

    visits: tuple[int, ...] = ()
    addresses: tuple[tuple[str, str, str], ...] = ()
    consents: tuple[str, ...] = ()
    do_not_contact: bool = False
    booked: bool = False
    contacted_days_ago: int | None = None
    guarded: bool = False
    zone: str = ""
    # (year, month, day), and whether a guardian has agreed on each channel.
    born: tuple[int, int, int] | None = None
    guardian: bool = False
    # By WhatsApp, to us.
    wrote_hours_ago: int | None = None


@dataclass(frozen=True)
class World:
    guests: tuple[Guest, ...]
    channels: tuple[str, ...]
    suppressed: tuple[tuple[str, str, str], ...] = ()
    cooldown_days: int = 30
    skip_upcoming: bool = True
    accounts: tuple[str, ...] = field(default=("whatsapp", "sms", "email"))
    caps: tuple[tuple[int, int], ...] = ()
    quiet: tuple[str, str] | None = None
    # Another win-back, about 90 days, higher in the list: its family.
    rival: str | None = None
    # A month's money for SMS, of which one costs 1 (to France 2).
    money: int | None = None
    minimum_age: int | None = None
    holdout: int = 0
    # WhatsApp takes our own words only for those who have written within 24 hours.
    windowed: bool = False


channels = st.sampled_from(["whatsapp", "sms", "email"])
# Few addresses, so that guests share them.
texts = st.sampled_from(["a@example.com", "b@example.com", "+12015550101", FRENCH])
guests = st.builds(
    Guest,
    # Mostly due, mostly reachable: the later rules are seen only past the earlier ones.
    visits=st.one_of(
        st.sampled_from([(60, 90), (90, 400), (365, 365), (100, 101)]),
        st.lists(st.sampled_from([5, 59, 60, 61, 90, 365, 366, 400]), max_size=3).map(tuple),
    ),
    addresses=st.lists(
        st.tuples(channels, texts, st.sampled_from(["", "", "", "", "landline", "bounced"])),
        max_size=3,
        unique_by=lambda way: way[:2],
    ).map(tuple),
    consents=st.one_of(st.just(("whatsapp", "sms", "email")), st.lists(channels, unique=True).map(tuple)),
    do_not_contact=st.sampled_from([False] * 6 + [True]),
    booked=st.sampled_from([False, False, True]),
    contacted_days_ago=st.sampled_from([None, None, 1, 29, 30, 31]),
    guarded=st.sampled_from([False] * 6 + [True]),
    zone=st.sampled_from(list(ZONES)),
    # Fourteen, fourteen today, fourteen tomorrow; eighteen today.
    born=st.sampled_from([None] * 6 + [(2012, 6, 14), (2012, 6, 15), (2012, 6, 16), (2008, 6, 15)]),
    guardian=st.booleans(),
    wrote_hours_ago=st.sampled_from([None, None, 1, 23, 24]),
)
worlds = st.builds(
    World,
    guests=st.lists(guests, min_size=1, max_size=6).map(tuple),
    channels=st.lists(channels, min_size=1, unique=True).map(tuple),
    suppressed=st.lists(
        st.tuples(texts, st.sampled_from(["", "sms", "email"]), st.sampled_from(["opt_out", "bounce"])),
        max_size=2,
        unique_by=lambda stop: stop[:2],
    ).map(tuple),
    cooldown_days=st.sampled_from([0, 30]),
    skip_upcoming=st.booleans(),
    accounts=st.just(("whatsapp", "sms", "email")),
    caps=st.sampled_from([(), ((1, 7),), ((1, 30),), ((2, 7), (2, 60))]),
    # In Madrid it is 14:00, in New York 08:00; a night until 06:00 outlives what expires at 05:00.
    quiet=st.sampled_from([None, ("21:00", "10:00"), ("13:00", "16:30"), ("13:00", "06:00")]),
    rival=st.sampled_from([None, None, "other", "win_back"]),
    money=st.sampled_from([None, 1, 2, 3]),
    holdout=st.sampled_from([0, 0, 50]),
    minimum_age=st.sampled_from([None] * 4 + [18]),
    windowed=st.booleans(),
)


def judge(world, drawn=frozenset()):
    """{guest number: (reason or None, channel, address, when it leaves)} of all who are due, read aloud."""
    verdicts = {}
    for number, guest in due(world):
        verdicts[number] = objection(world, guest, world.guests)
    if world.rival == "win_back" and world.cooldown_days:
        for number, guest in due(world):
            if verdicts[number][0] is None and rival_wants(world, guest):
                verdicts[number] = ("cooldown", None, None)
    taken = set()
    for number in in_order(world, verdicts):
        _, channel, address = verdicts[number]
        if address in taken:
            verdicts[number] = ("duplicate_address", channel, address)
        elif rival_wants(world, world.guests[number]) and room(world, world.guests[number], address) <= 1:
            verdicts[number] = ("frequency_cap", channel, address)
        taken.add(address)
    pay(world, verdicts)
    for number in drawn:
        if number in verdicts and verdicts[number][0] is None:
            verdicts[number] = ("holdout", None, None)
    return {
        number: (*verdict, leaves(world, world.guests[number], *verdict[1:]))
        if verdict[0] is None
        else (verdict[0], None, None, None)
        for number, verdict in verdicts.items()
    }


def drawn(world, automation, customers):
    """The numbers of the guests whom the keyed hash holds out."""
    key = bytes(automation.organization.fingerprint_key) + automation.pk.bytes
    hashes = [hashlib.sha256(key + customer.pk.to_bytes(8, "big")).digest() for customer in customers]
    return {
        number
        for number, found in enumerate(hashes)
        if int.from_bytes(found[:2], "big") * 100 < world.holdout * 65536
    }


def pay(world, verdicts):
    """The money goes to the sends in their order; a rival above means a fifth less of it."""
    if world.money is None:
        return
    spent, purse = 0, world.money * (0.8 if world.rival else 1)
    for number in in_order(world, verdicts):
        _, channel, address = verdicts[number]
        if channel == "sms":
            spent += 2 if address.startswith("+33") else 1
            if spent > purse:
                verdicts[number] = ("budget", channel, address)


def in_order(world, verdicts):
    """Those who would be sent to, the longest due first."""
    sends = [number for number, verdict in verdicts.items() if verdict[0] is None]
    return sorted(sends, key=lambda number: (last_visit_due(world.guests[number]), number))


def room(world, guest, address):
    """What is left of the caps for somebody at an address."""
    return min(
        (
            most
            - sum(
                other.contacted_days_ago is not None
                and other.contacted_days_ago < days
                and (other is guest or contacted_address(other) == address)
                for other in world.guests
            )
            for most, days in world.caps
        ),
        default=1000,
    )


def rival_wants(world, guest):
    """Whether the automation higher in the list would write to this guest now."""
    if world.rival is None or not (len(guest.visits) >= 2 and 90 <= min(guest.visits) <= 365):
        return False
    theirs = replace(world, cooldown_days=30 if world.rival == "win_back" else 0, rival=None)
    return objection(theirs, guest, world.guests, guarded=False)[0] is None


def leaves(world, guest, channel, address):
    """Noon UTC, or the end of the silence that lies on it: in the guest's zone, else the venue's."""
    if world.quiet is None:
        return NOW
    starts, ends = (int(text[:2]) * 60 + int(text[3:]) for text in world.quiet)
    moment = NOW
    while True:
        local = moment.astimezone(ZoneInfo(ZONES[guest.zone]))
        minute = local.hour * 60 + local.minute
        night = channel == "sms" and address.startswith("+33") and not 8 * 60 <= minute < 22 * 60
        if not night and not (
            starts <= minute < ends if starts < ends else minute >= starts or minute < ends
        ):
            return moment
        moment += timedelta(minutes=1)


def due(world):
    for number, guest in enumerate(world.guests):
        if len(guest.visits) >= 2 and 60 <= min(guest.visits) <= 365:
            yield number, guest


def last_visit_due(guest):
    return -min(guest.visits)


def objection(world, guest, everybody, *, guarded=None):
    if barred := personal(world, guest, guest.guarded if guarded is None else guarded):
        return barred, None, None
    reason, way = first_way(world, guest)
    if reason is not None:
        return reason, None, None
    channel, address = way
    if world.skip_upcoming and guest.booked:
        return "upcoming_reservation", None, None
    # Beyond 365 days at five o'clock tomorrow.
    if min(guest.visits) == 365 and leaves(world, guest, channel, address) >= NOW + timedelta(hours=15):
        return "expired", None, None
    if world.cooldown_days and recently(world, guest, address, everybody):
        return "cooldown", None, None
    if room(world, guest, address) <= 0:
        return "frequency_cap", None, None
    return None, channel, address


def personal(world, guest, guarded):
    """What speaks against the guest, whatever the ways to reach them."""
    if guest.do_not_contact:
        return "do_not_contact"
    if too_young(world, guest):
        return "underage"
    return "already_contacted" if guarded else None


def too_young(world, guest):
    """Under fourteen without a guardian, in Spain; or not known to be as old as is asked for."""
    if guest.born is None:
        return world.minimum_age is not None
    agreed = guest.guardian and guest.consents
    fourteen, old_enough = (
        (guest.born[0] + years, *guest.born[1:]) <= (2026, 6, 15) for years in (14, world.minimum_age or 0)
    )
    return not old_enough or not (fourteen or agreed)


def first_way(world, guest):
    """How far the guest can be reached: (why not, None), or (None, the channel and the address)."""
    ways = [
        (wanted, address, fault)
        for wanted in world.channels
        for channel, address, fault in guest.addresses
        if channel == wanted and fault != "landline"
    ]
    if not ways:
        return "no_address", None
    allowed = [way for way in ways if way[0] in guest.consents]
    if not allowed:
        return "no_consent", None
    unstopped = [
        (channel, address)
        for channel, address, fault in allowed
        if not fault and not any(stop[0] == address and stop[1] in ("", channel) for stop in world.suppressed)
    ]
    if not unstopped:
        return "suppressed", None
    wrote = guest.wrote_hours_ago is not None and guest.wrote_hours_ago < 24
    open_ways = [way for way in unstopped if wrote or not world.windowed or way[0] != "whatsapp"]
    if not open_ways:
        return "no_template", None
    return None, open_ways[0]


def recently(world, guest, address, everybody):
    """A message of the family in the cooldown, to this customer or to this address."""
    return any(
        other.contacted_days_ago is not None
        and other.contacted_days_ago < world.cooldown_days
        and (other is guest or contacted_address(other) == address)
        for other in everybody
    )


def contacted_address(guest):
    return guest.addresses[0][1] if guest.addresses else "nobody@example.com"


def build(world):
    """The world in the database; returns the automation and the customers in order."""
    tact = {
        "caps": [{"messages": most, "days": days} for most, days in world.caps],
        "prices": [
            {"account": "all", "channel": "sms", "amount": 1},
            {"account": "all", "channel": "sms", "country": "FR", "amount": 2},
        ],
        "monthly_limits": {} if world.money is None else {"sms": world.money},
        "quiet_hours": world.quiet and dict(zip(("from", "until"), world.quiet, strict=True)),
    }
    organization = Organization.objects.create(
        slug="world", name="World", timezone="Europe/Madrid", tact=tact
    )
    venue = Venue.objects.create(organization=organization, name="Here", timezone="Europe/Madrid")
    ProviderAccount.objects.create(
        organization=organization, name="all", kind="sandbox", channels=list(world.accounts)
    )
    if world.rival is not None:
        cooldown = 30 if world.rival == "win_back" else 0
        make_automation(organization, world, family=world.rival, days=90, cooldown=cooldown)
    automation = make_automation(organization, world, holdout=world.holdout)
    for address, channel, reason in world.suppressed:
        Suppression.objects.create(
            organization=organization,
            channel=channel,
            fingerprint=fingerprint(organization, address),
            reason=reason,
        )
    customers = [make_guest(organization, venue, automation, guest) for guest in world.guests]
    return automation, customers


def make_automation(organization, world, family="win_back", days=DAYS, cooldown=None, holdout=0):
    automation = Automation.objects.create(
        organization=organization,
        name="we miss you",
        trigger="inactive",
        family=family,
        enabled=True,
        version_number=1,
    )
    version = AutomationVersion.objects.create(
        automation=automation,
        number=1,
        channels=list(world.channels),
        parameters={"days": days, "min_visits": 2, "max_days": 365},
        policy={
            "cooldown_days": world.cooldown_days if cooldown is None else cooldown,
            "holdout_percent": holdout,
            "skip_upcoming_reservation": world.skip_upcoming,
            "minimum_age": world.minimum_age,
        },
    )
    Template.objects.create(version=version, channel="email", language="es", subject="x", body="x")
    return automation


def make_guest(organization, venue, automation, guest):
    customer = Customer.objects.create(
        organization=organization,
        do_not_contact=guest.do_not_contact,
        timezone=guest.zone,
        **dict(zip(("birth_year", "birth_month", "birth_day"), guest.born or (), strict=False)),
    )
    for days in guest.visits:
        moment = NOW - timedelta(days=days)
        Visit.objects.create(
            organization=organization,
            customer=customer,
            venue=venue,
            visited_at=moment,
            service_date=local_date(moment, venue.timezone, 5),
        )
    for position, (channel, address, fault) in enumerate(guest.addresses):
        Address.objects.create(
            organization=organization,
            customer=customer,
            channel=channel,
            address=address,
            fingerprint=fingerprint(organization, address),
            position=position,
            bad_reason=fault,
            last_inbound_at=last_inbound(guest) if channel == "whatsapp" else None,
        )
    for channel in guest.consents:
        basis = "guardian" if guest.guardian else "consent"
        Consent.objects.create(customer=customer, channel=channel, granted=True, at=NOW, basis=basis)
    if guest.booked:
        Reservation.objects.create(
            organization=organization,
            customer=customer,
            venue=venue,
            starts_at=NOW + timedelta(days=2),
            confirmed_at=NOW,
        )
    remember_contact(organization, automation, customer, guest)
    return customer


def last_inbound(guest):
    return None if guest.wrote_hours_ago is None else NOW - timedelta(hours=guest.wrote_hours_ago)


def remember_contact(organization, automation, customer, guest):
    if guest.guarded and len(guest.visits) >= 2:
        last = local_date(NOW - timedelta(days=min(guest.visits)), "Europe/Madrid", 5)
        Occasion.objects.create(
            automation_id=automation.pk,
            customer_id=customer.pk,
            occasion=f"lapse:{last}",
            message_id=1,
        )
    if guest.contacted_days_ago is not None:
        at = NOW - timedelta(days=guest.contacted_days_ago)
        run = Run.objects.create(
            organization=organization, automation=automation, state="finished", created_at=at
        )
        Message.objects.create(
            organization_id=organization.pk,
            run=run,
            chunk_number=1,
            automation=automation,
            version_id=0,
            customer_id=customer.pk,
            occasion="lapse:earlier",
            purpose="marketing",
            channel="email",
            account_id=0,
            address=contacted_address(guest),
            due_at=at,
            send_after=at,
            state="sent",
            created_at=at,
            accepted_at=at,
            state_at=at,
        )


@pytest.mark.django_db
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(world=worlds)
def test_preview_run_and_reference_agree(world):
    from django.db import transaction

    only_templates = mock.patch.object(
        registry.get("sandbox"), "template_channels", ("whatsapp",) if world.windowed else ()
    )
    with only_templates, transaction.atomic():
        automation, customers = build(world)
        expected = {
            customers[number].pk: verdict
            for number, verdict in judge(world, drawn(world, automation, customers)).items()
        }
        seen = engine.preview(automation, NOW)
        run = engine.start(automation, now=NOW)
        planning.plan(str(run.pk), NOW)
        sent = {
            message.customer_id: (None, message.channel, message.address, message.send_after)
            for message in Message.objects.filter(run=run)
        }
        left_out = {
            row.customer_id: (row.reason, None, None, None)
            for row in RunVerdict.objects.filter(run_id=run.pk).exclude(reason=None)
        }
        assert sent | left_out == expected
        assert {
            row.customer_id: (
                row.reason,
                *((row.channel, row.address, row.send_after) if row.reason is None else (None,) * 3),
            )
            for row in seen.rows
        } == expected
        transaction.set_rollback(True)
