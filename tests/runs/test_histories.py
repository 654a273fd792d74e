"""Random histories of a restaurant: whatever happens, in whatever order, nobody is written to wrongly.

Guests eat, book, move, cancel, agree and object, by the calls of a till or a booking system; nights come
and go; runs are planned and sent, asked for by people and by events; senders die in the middle and people
decide what became of it. A provider in the test knows who got what, and when.
"""

import asyncio
import os
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule
from hypothesis.stateful import run_state_machine_as_test as play
from tests.conftest import NOW
from tests.runs.scripted import planned, send_all

from regulars.customers import consent
from regulars.customers.importing import rows
from regulars.customers.models import Consent
from regulars.hospitality.models import Reservation
from regulars.lib import async_database, clock
from regulars.organizations.models import Organization
from regulars.runs import engine, invariants, planning, preparing
from regulars.runs.ledger import ChunkLedger
from regulars.runs.models import Message, Run, RunChunk

pytestmark = pytest.mark.django_db(transaction=True)

COOLDOWN = timedelta(days=30)
MADRID = ZoneInfo("Europe/Madrid")
# Quiet hours are the default's: from 21:00 until 10:00.
CAPS = ({"messages": 1, "days": 7}, {"messages": 3, "days": 60})
# What a message about a booking says of it.
SAYS = {
    "reservation_confirmation": "confirmed",
    "reservation_change": "confirmed",
    "reservation_cancellation": "cancelled",
}
guests = st.integers(0, 2)


@pytest.fixture
def histories(make_customer, make_automation, make_visit, venue, account, provider):
    """A machine for histories in a restaurant of its own, with what makes its guests and automations."""

    class Restaurant(History):
        makers = (make_customer, make_automation, make_visit, venue, account, provider)

    return Restaurant


class History(RuleBasedStateMachine):
    """One restaurant, three guests, a win-back, its like, thanks, and messages about bookings."""

    makers = ()
    bookings = Bundle("bookings")

    @initialize()
    def open(self):
        self.make_customer, make_automation, self.make_visit, self.venue, account, self.provider = self.makers
        self.provider.calls.clear()
        self.now, self.seen, self.again = NOW, 0, Counter()
        owner = Organization.objects.create(
            slug=f"house-{Organization.objects.count()}",
            name="House",
            timezone="Europe/Madrid",
            language="es",
            tact={"caps": CAPS},
        )
        account.pk, account.organization = None, owner
        account.save()
        self.venue.pk, self.venue.organization = None, owner
        self.venue.save()
        self.organization = owner
        self.guests = [self.make_customer(organization=owner, external_id=f"g{n}") for n in range(3)]
        for guest, days_ago in zip((0, 0, 1, 2), (90, 61, 71, 10), strict=True):
            self.eats(guest, days_ago)
        self.automations = [
            make_automation(organization=owner, parameters={"days": 60, "min_visits": 1}),
            make_automation(organization=owner, name="again", parameters={"days": 70, "min_visits": 1}),
            make_automation("post_visit", organization=owner, family="thanks"),
            *(make_automation(kind, organization=owner, position=9) for kind in SAYS),
        ]

    # What guests do.

    @rule(guest=guests, days_ago=st.sampled_from([0, 1, 59, 61, 90]))
    def eats(self, guest, days_ago):
        self.make_visit(self.guests[guest], days_ago=days_ago, now=self.now, venue=self.venue)

    @rule(target=bookings, guest=guests, hours=st.sampled_from([1, 20, 100, 100, 1000]))
    def books(self, guest, hours):
        booking = (f"b{Reservation.objects.filter(organization=self.organization).count()}", guest)
        self._tell(booking, status="confirmed", starts_at=self.now + timedelta(hours=hours))
        return booking

    @rule(booking=bookings, hours=st.sampled_from([30, 100, 1000]), party=st.sampled_from([None, 4]))
    def moves(self, booking, hours, party):
        self._tell(booking, starts_at=self.now + timedelta(hours=hours), party_size=party)

    @rule(booking=bookings, became=st.sampled_from(["cancelled", "cancelled", "confirmed"]))
    def changes_their_mind(self, booking, became):
        self._tell(booking, status=became)

    @rule(booking=consumes(bookings), became=st.sampled_from(["no_show", "seated", "completed"]))
    def comes_or_not(self, booking, became):
        self._tell(booking, status=became)

    def _tell(self, booking, **said):
        """As a booking system does over the API."""
        number, guest = booking
        mine = Reservation.objects.filter(organization=self.organization, external_id=number)
        said = {"starts_at": mine.values_list("starts_at", flat=True).first()} | said
        named = {"external_id": number, "customer_external_id": f"g{guest}", "venue": self.venue.name}
        written = {
            name: value.astimezone(UTC).isoformat() if name == "starts_at" else value
            for name, value in said.items()
            if value is not None
        }
        (answer,) = rows.upsert("reservations", [named | written], self.organization, now=self.now, live=True)
        assert answer.result != "rejected", answer
        engine.happened(self.organization, "reservations", [answer.customer_id], self.now)

    @rule(guest=guests, says=st.sampled_from(["agreed", "agreed", "withdrawn", "no contact", "contact"]))
    def says(self, guest, says):
        customer = self.guests[guest]
        if says in ("agreed", "withdrawn"):
            consent.record(customer, "email", "marketing", says == "agreed", source="form", at=self.now)
        else:
            customer.do_not_contact = says == "no contact"
            customer.save(update_fields=["do_not_contact"])

    # What the owner does.

    @rule(which=st.integers(0, 5), enabled=st.sampled_from([True, True, False]))
    def switches(self, which, enabled):
        automation = self.automations[which]
        automation.enabled = enabled
        automation.save(update_fields=["enabled"])

    @rule(decision=st.sampled_from(engine.Decision))
    def decides(self, decision):
        doubted = Message.objects.filter(organization_id=self.organization.pk, state="unknown").order_by("pk")
        if (message := doubted.first()) is not None:
            engine.settle(message.pk, decision, "person@example.com", self.now)
            self.again[message.pk] += decision == engine.Decision.SEND_AGAIN

    # What time and the engine do.

    @rule(hours=st.sampled_from([1, 1, 5, 24, 24 * 7, 24 * 31]))
    def time_passes(self, hours):
        self.now += timedelta(hours=hours)

    @rule()
    def plans(self):
        for run in Run.objects.filter(organization=self.organization, state="planning"):
            planning.plan(str(run.pk), self.now)
        for automation in self.automations:
            if automation.enabled:
                planned(automation, self.now)

    @rule()
    def sends(self):
        for run in self._open_runs():
            send_all(run, self.now)

    @rule(
        guest=guests,
        booked=st.booleans(),
        meanwhile=st.sampled_from(["", "cancelled", "cancelled", "eaten", "withdrawn", "no contact"]),
    )
    def works(self, guest, booked, meanwhile):
        """Plan and send, while a guest does something in between."""
        if booked:
            self.books(guest, 100)
        self.plans()
        if meanwhile == "cancelled":
            mine = Reservation.objects.filter(customer=self.guests[guest])
            for number in list(mine.values_list("external_id", flat=True)):
                self._tell((number, guest), status="cancelled")
        elif meanwhile == "eaten":
            self.eats(guest, 0)
        elif meanwhile:
            self.says(guest, meanwhile)
        self.sends()

    @rule(room=st.integers(1, 3), arrived=st.integers(0, 3))
    def a_sender_dies(self, room, arrived):
        """After its claim; of what it had claimed some had been handed over."""
        self.plans()
        for run in self._open_runs()[:1]:
            work = preparing.prepare(run.chunks.first().pk, self.now)
            claimed = asyncio.run(_claimed(work, room, self.now))
            self.provider.calls += [_Arrived(message) for message in claimed[:arrived]]
        RunChunk.objects.update(lease_until=clock.now() - timedelta(seconds=20))

    def _open_runs(self):
        states = ("sending", "waiting")
        return list(
            Run.objects.filter(organization=self.organization, state__in=states).order_by("created_at")
        )

    # What must hold after each step.

    @invariant()
    def every_call_was_right(self):
        calls, self.seen = self.provider.calls[self.seen :], len(self.provider.calls)
        for call in calls:
            self._judge(Message.objects.get(pk=call.message_id))

    def _judge(self, message):
        guest = next(guest for guest in self.guests if guest.pk == message.customer_id)
        assert not guest.do_not_contact
        assert message.expires_at is None or self.now < message.expires_at
        if message.purpose == "marketing":
            current = Consent.objects.get(customer=guest, channel="email", is_current=True)
            assert current.granted
            assert 10 <= self.now.astimezone(MADRID).hour < 21
        else:
            booking = Reservation.objects.get(pk=message.reference)
            assert booking.status == SAYS[message.automation.trigger]
            assert booking.starts_at > self.now
            assert message.occasion.endswith((":confirmed", f":{booking.revision}"))

    @invariant()
    def nobody_got_it_twice(self):
        times = Counter(call.message_id for call in self.provider.calls)
        assert all(number <= 1 + self.again[message] for message, number in times.items())
        rows = Message.objects.filter(pk__in=times).values_list("automation_id", "customer_id", "occasion")
        assert len(rows) == len(set(rows))

    @invariant()
    def win_backs_keep_their_distance(self):
        for (guest, earlier), (other, later) in pairwise(self._accepted(automation__family="win_back")):
            assert guest != other or later - earlier >= COOLDOWN

    @invariant()
    def nobody_hears_more_than_the_caps_allow(self):
        sent = self._accepted()
        for guest, at in sent:
            for cap in CAPS:
                since = at - timedelta(days=cap["days"])
                heard = [moment for other, moment in sent if other == guest and since < moment <= at]
                assert len(heard) <= cap["messages"]

    def _accepted(self, **among):
        """(guest, moment) of the marketing that left, in order; but for what a person let go again."""
        again = [message for message, times in self.again.items() if times]
        sent = Message.objects.filter(
            organization_id=self.organization.pk, purpose="marketing", accepted_at__isnull=False, **among
        )
        return sorted(sent.exclude(pk__in=again).values_list("customer_id", "accepted_at"))

    @invariant()
    def the_ledger_agrees_with_itself(self):
        assert invariants.violations() == {}

    def teardown(self):
        """Left alone, everything comes to an end."""
        if not hasattr(self, "organization"):
            return
        RunChunk.objects.update(lease_until=None)
        self.sends()
        self.every_call_was_right()
        waiting = Message.objects.filter(
            organization_id=self.organization.pk, state__in=["queued", "sending"], send_after__lte=self.now
        )
        assert not waiting.exists()


@dataclass
class _Arrived:
    """A message that reached the provider and of which its sender never heard."""

    message_id: int


async def _claimed(work, room, now):
    """Claim as a sender does, then die: nothing is handed back. The ids of what it had claimed."""
    database = await async_database.connect()
    try:
        taken = await ChunkLedger.take(database, work, now)
        if taken is None:
            return []
        ledger = ChunkLedger(database, work, taken.epoch)
        await ledger.prepare()
        found = await ledger.exchange([], room, now)
        return [row["id"] for row in found.rows if not row["objection"]]
    finally:
        await database.close()


def test_whatever_happens_nobody_is_written_to_wrongly(histories):
    play(
        histories,
        settings=settings(
            # More, for an hour when nobody waits: REGULARS_HISTORIES=500
            max_examples=int(os.environ.get("REGULARS_HISTORIES", "8")),
            stateful_step_count=25,
            deadline=None,
            # A shorter history is not worth the minutes that finding it takes on a database.
            phases=(Phase.explicit, Phase.reuse, Phase.generate),
            suppress_health_check=list(HealthCheck),
        ),
    )
