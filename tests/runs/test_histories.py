"""Random histories of a restaurant: whatever happens, in whatever order, nobody is written to wrongly.

Guests eat, book, cancel, agree and object; time passes; runs are planned and sent; senders die in the
middle and people decide what became of it. A provider in the test knows who got what.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule
from hypothesis.stateful import run_state_machine_as_test as play
from tests.conftest import NOW
from tests.runs.scripted import planned, send_all

from regulars.customers import consent
from regulars.customers.models import Consent
from regulars.hospitality.models import Reservation
from regulars.lib import async_database, clock
from regulars.organizations.models import Organization
from regulars.runs import engine, invariants, preparing
from regulars.runs.ledger import ChunkLedger
from regulars.runs.models import Message, Run, RunChunk

pytestmark = pytest.mark.django_db(transaction=True)

COOLDOWN = timedelta(days=30)
guests = st.integers(0, 2)


@pytest.fixture
def histories(make_customer, make_automation, make_visit, venue, account, provider):
    """A machine for histories in a restaurant of its own, with what makes its guests and automations."""

    class Restaurant(History):
        makers = (make_customer, make_automation, make_visit, venue, account, provider)

    return Restaurant


class History(RuleBasedStateMachine):
    """One restaurant, three guests, a win-back, its like, and confirmations of bookings."""

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
        )
        account.pk, account.organization = None, owner
        account.save()
        self.venue.pk, self.venue.organization = None, owner
        self.venue.save()
        self.organization = owner
        self.guests = [self.make_customer(organization=owner) for _ in range(3)]
        for guest, days_ago in zip((0, 0, 1, 2), (90, 61, 71, 10), strict=True):
            self.eats(guest, days_ago)
        self.automations = [
            make_automation(organization=owner, parameters={"days": 60, "min_visits": 1}),
            make_automation(organization=owner, name="again", parameters={"days": 70, "min_visits": 1}),
            make_automation("reservation_confirmation", organization=owner),
        ]

    # What guests do.

    @rule(guest=guests, days_ago=st.sampled_from([0, 1, 59, 61, 90]))
    def eats(self, guest, days_ago):
        self.make_visit(self.guests[guest], days_ago=days_ago, now=self.now, venue=self.venue)

    @rule(target=bookings, guest=guests, hours=st.sampled_from([1, 20, 100, 100, 1000]))
    def books(self, guest, hours):
        made = Reservation.objects.create(
            organization=self.organization,
            customer=self.guests[guest],
            venue=self.venue,
            starts_at=self.now + timedelta(hours=hours),
            confirmed_at=self.now,
        )
        return made.pk

    @rule(booking=consumes(bookings), became=st.sampled_from(["cancelled", "confirmed", "no_show", "seated"]))
    def comes_or_not(self, booking, became):
        Reservation.objects.filter(pk=booking).update(status=became)

    @rule(guest=guests, says=st.sampled_from(["agreed", "agreed", "withdrawn", "no contact", "contact"]))
    def says(self, guest, says):
        customer = self.guests[guest]
        if says in ("agreed", "withdrawn"):
            consent.record(customer, "email", "marketing", says == "agreed", source="form", at=self.now)
        else:
            customer.do_not_contact = says == "no contact"
            customer.save(update_fields=["do_not_contact"])

    # What the owner does.

    @rule(which=st.integers(0, 2), enabled=st.sampled_from([True, True, False]))
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
            Reservation.objects.filter(customer=self.guests[guest]).update(status="cancelled")
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
        else:
            booking = Reservation.objects.get(pk=message.reference)
            assert booking.status == "confirmed"
            assert booking.starts_at > self.now

    @invariant()
    def nobody_got_it_twice(self):
        times = Counter(call.message_id for call in self.provider.calls)
        assert all(number <= 1 + self.again[message] for message, number in times.items())
        rows = Message.objects.filter(pk__in=times).values_list("automation_id", "customer_id", "occasion")
        assert len(rows) == len(set(rows))

    @invariant()
    def win_backs_keep_their_distance(self):
        sent = Message.objects.filter(
            organization_id=self.organization.pk, purpose="marketing", accepted_at__isnull=False
        )
        rows = sorted(sent.values_list("customer_id", "accepted_at"))
        for (guest, earlier), (other, later) in pairwise(rows):
            assert guest != other or later - earlier >= COOLDOWN

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
            max_examples=30,
            stateful_step_count=30,
            deadline=None,
            # A shorter history is not worth the minutes that finding it takes on a database.
            phases=(Phase.explicit, Phase.reuse, Phase.generate),
            suppress_health_check=list(HealthCheck),
        ),
    )
