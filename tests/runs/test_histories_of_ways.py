"""Random histories of guests with several channels: whatever providers answer and senders suffer, a guest
is tried another way only after a definite refusal, in the automation's order, by agreement.
"""

import asyncio
from collections import Counter, defaultdict
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from hypothesis.stateful import run_state_machine_as_test as play
from tests.conftest import NOW
from tests.runs.scripted import planned, send_all
from tests.runs.test_histories import _claimed

from regulars.customers import consent
from regulars.customers.models import Address, Consent
from regulars.lib import clock
from regulars.organizations.models import Organization
from regulars.providers.base import Outcome, Verdict
from regulars.runs import engine, invariants, preparing
from regulars.runs.models import Message, Run, RunChunk

pytestmark = pytest.mark.django_db(transaction=True)

WAYS = ("whatsapp", "sms", "email")
ANSWERS = {
    "taken": None,
    "nobody there": Outcome(Verdict.REJECTED, code="131026", bad_address=True, permanent=True),
    "not for you": Outcome(Verdict.REJECTED, code="130472", permanent=True),
    "our fault": Outcome(Verdict.REJECTED, code="131009"),
    "stop": Outcome(Verdict.REJECTED, code="131050", opt_out=True),
    "no answer": Outcome(Verdict.UNKNOWN, code="no_answer"),
    "later": Outcome(Verdict.THROTTLED, retry_after=timedelta(hours=1), this_address_only=True),
}
LEADS_ON = ("nobody there", "not for you")
# The first channel fails more often than not.
moods = st.fixed_dictionaries(
    {"whatsapp": st.sampled_from([*ANSWERS, *LEADS_ON * 4])}
    | {channel: st.sampled_from([*ANSWERS, *LEADS_ON]) for channel in ("sms", "email")}
)
guests, channels = st.integers(0, 2), st.sampled_from(WAYS)


class Moods(dict):
    """What each channel answers now; every answer is remembered by message."""

    def __init__(self):
        super().__init__()
        self.mood = dict.fromkeys(WAYS, "taken")
        self.heard = defaultdict(list)

    def get(self, address):
        return self.answer

    def answer(self, message):
        mood = self.mood[message.channel]
        self.heard[message.message_id].append((message.channel, mood))
        return ANSWERS[mood]


@pytest.fixture
def histories(make_customer, make_automation, make_visit, venue, account, provider):
    class House(Ways):
        makers = (make_customer, make_automation, make_visit, venue, account, provider)

    return House


class Ways(RuleBasedStateMachine):
    makers = ()

    @initialize()
    def open(self):
        make_customer, make_automation, self.make_visit, self.venue, account, provider = self.makers
        self.now, self.again = NOW, Counter()
        self.answers = provider.answers = Moods()
        name = f"house-{Organization.objects.count()}"
        owner = Organization.objects.create(slug=name, name=name, timezone="Europe/Madrid", language="es")
        for row in (account, self.venue):
            row.pk, row.organization = None, owner
            row.save()
        self.organization = owner
        self.guests = [make_customer(organization=owner, channels=WAYS) for _ in range(3)]
        for number, guest in enumerate(self.guests):
            Address.objects.filter(customer=guest, channel="sms").update(address=f"+12015550{number:03d}")
        policy = {"fallback": True, "cooldown_days": 0}
        parameters = {"days": 60, "min_visits": 1}
        self.automation = make_automation(
            organization=owner, channels=WAYS, policy=policy, parameters=parameters
        )

    @rule(answers=moods)
    def providers_answer(self, answers):
        self.answers.mood = answers

    @rule(days_ago=st.sampled_from([60, 61, 70, 90]), answers=moods, sent=st.booleans())
    def works(self, days_ago, answers, sent):
        """Guests have not come for a while; a run is planned, and perhaps sent at once."""
        self.answers.mood = answers
        for guest in self.guests:
            self.make_visit(guest, days_ago=days_ago, now=self.now, venue=self.venue)
        planned(self.automation, self.now)
        if sent:
            self.sends()

    @rule()
    def sends(self):
        for run in self._open_runs():
            send_all(run, self.now)

    @rule(hours=st.sampled_from([1, 2, 24]))
    def time_passes(self, hours):
        self.now += timedelta(hours=hours)

    @rule(guest=guests, channel=channels, granted=st.booleans())
    def says(self, guest, channel, granted):
        consent.record(self.guests[guest], channel, "marketing", granted, source="form", at=self.now)

    @rule(arrived=st.integers(0, 3))
    def a_sender_dies(self, arrived):
        for chunk in RunChunk.objects.filter(run__in=self._open_runs(), closed=False)[:1]:
            work = preparing.prepare(chunk.pk, self.now)
            for message in asyncio.run(_claimed(work, 3, self.now))[:arrived]:
                channel = Message.objects.get(pk=message).channel
                self.answers.heard[message].append((channel, "no answer"))
        RunChunk.objects.update(lease_until=clock.now() - timedelta(seconds=20))

    @rule()
    def the_owner_cancels(self):
        for run in self._open_runs()[:1]:
            engine.cancel(run, self.now)

    @rule(decision=st.sampled_from(engine.Decision))
    def a_person_decides(self, decision):
        doubted = Message.objects.filter(organization_id=self.organization.pk, state="unknown")
        for message in doubted.exclude(run__state="cancelled").order_by("pk")[:1]:
            engine.settle(message.pk, decision, "person@example.com", self.now)
            self.again[message.pk] += decision == engine.Decision.SEND_AGAIN

    def _open_runs(self):
        mine = Run.objects.filter(organization=self.organization, state__in=("sending", "waiting"))
        return list(mine.order_by("created_at"))

    @invariant()
    def another_way_is_taken_only_after_a_definite_refusal(self):
        for message, heard in self.answers.heard.items():
            ends = sum(mood not in (*LEADS_ON, "later") for _, mood in heard)
            assert ends <= 1 + self.again[message], heard
            for (channel, mood), (following, _) in pairwise(heard):
                if following != channel:
                    assert mood in LEADS_ON, heard
                    assert WAYS.index(following) > WAYS.index(channel), heard
                    assert not self.again[message], heard

    @invariant()
    def one_message_an_occasion(self):
        """Whatever row it was: one that went another way and was withheld there leaves its occasion free."""
        arrived = Counter()
        for message in Message.objects.filter(pk__in=self.answers.heard):
            moods = [mood for _, mood in self.answers.heard[message.pk]]
            number = sum(mood in ("taken", "no answer") for mood in moods) - self.again[message.pk]
            arrived[message.customer_id, message.occasion] += number
        assert all(number <= 1 for number in arrived.values()), self.answers.heard

    @invariant()
    def nobody_is_sent_to_without_agreement(self):
        sent = Message.objects.filter(
            organization_id=self.organization.pk, state="sent", state_at=self.now, reason=""
        )
        for message in sent:
            current = Consent.objects.filter(
                customer_id=message.customer_id, channel=message.channel, is_current=True
            )
            assert current.filter(granted=True).exists() or current.filter(at=self.now).exists()

    @invariant()
    def the_ledger_agrees_with_itself(self):
        assert invariants.violations() == {}

    def teardown(self):
        if not hasattr(self, "organization"):
            return
        RunChunk.objects.update(lease_until=None)
        for _ in WAYS:
            self.sends()
        self.another_way_is_taken_only_after_a_definite_refusal()
        self.the_ledger_agrees_with_itself()
        due = Message.objects.filter(
            organization_id=self.organization.pk, state="queued", send_after__lte=self.now
        )
        assert not due.exclude(run__state="cancelled").exists()


def test_whatever_happens_a_guest_is_followed_only_after_a_refusal(histories):
    play(
        histories,
        settings=settings(
            max_examples=10,
            stateful_step_count=12,
            deadline=None,
            phases=(Phase.explicit, Phase.reuse, Phase.generate),
            suppress_health_check=list(HealthCheck),
        ),
    )
