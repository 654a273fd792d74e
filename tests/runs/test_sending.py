"""Claim, hand over, record: with the real database and a provider that is told what to answer."""

import asyncio
from datetime import timedelta

import pytest
from tests.runs.scripted import planned, send_all

from regulars.automations.models import ProviderAccount
from regulars.customers import consent, opting
from regulars.customers.models import Address, Suppression
from regulars.hospitality.models import Reservation
from regulars.lib import async_database, clock
from regulars.providers.base import Outcome, Verdict
from regulars.runs import engine, preparing
from regulars.runs.ledger import ChunkLedger
from regulars.runs.models import Message, Occasion, Run, RunChunk, RunState
from regulars.runs.recording import Attempt, Ended
from regulars.runs.states import after

pytestmark = pytest.mark.django_db(transaction=True)


def test_every_planned_message_is_sent_once_and_recorded(lapsed, make_automation, provider, now):
    for _ in range(150):
        lapsed()
    run = planned(make_automation(), now)
    send_all(run, now)
    assert len(provider.calls) == len({call.address for call in provider.calls}) == 150
    assert set(Message.objects.values_list("state", flat=True)) == {"sent"}
    assert all(
        message.provider_id == f"id-{message.pk}" and message.accepted_at == now
        for message in Message.objects.all()
    )
    assert (run.state, engine.counts(run).sent, run.totals["sent"]) == (RunState.FINISHED, 150, 150)


def test_the_message_carries_the_guests_name(lapsed, make_automation, provider, now):
    lapsed(first_name="Marta")
    send_all(planned(make_automation(), now), now)
    assert provider.calls[0].body.splitlines()[0] == "Hola Marta"


def test_one_bad_recipient_does_not_touch_the_others(lapsed, make_automation, provider, now):
    lapsed(address="bad@example.com")
    lapsed(address="broken@example.com")
    lapsed()

    def raises(message):
        raise RuntimeError("adapter bug")

    provider.answers = {
        "bad@example.com": Outcome(Verdict.REJECTED, error="Invalid address", bad_address=True),
        "broken@example.com": raises,
    }
    run = planned(make_automation(), now)
    send_all(run, now)
    states = dict(Message.objects.values_list("address", "state"))
    assert states.pop("bad@example.com") == "failed"
    assert states.pop("broken@example.com") == "unknown"
    assert list(states.values()) == ["sent"]
    number = engine.counts(run)
    assert (number.processed, number.sent, number.failed, number.unknown) == (3, 1, 2, 1)
    assert Address.objects.get(address="bad@example.com").bad_reason
    answer = engine.answer(run, show_addresses=True, now=now)
    assert "Failed to send to bad@example.com: Invalid address" in answer["errors"]
    masked = engine.answer(run, show_addresses=False, now=now)
    assert "Failed to send to b•••@example.com: Invalid address" in masked["errors"]


def test_a_provider_that_does_not_answer_leaves_the_outcome_unknown(lapsed, make_automation, provider, now):
    lapsed(address="slow@example.com")
    provider.answers = {"slow@example.com": lambda message: asyncio.sleep(30)}
    run = planned(make_automation(), now)
    send_all(run, now)
    assert Message.objects.get().state == "unknown"
    assert run.state == RunState.FINISHED
    send_all(run, now)
    assert len(provider.calls) == 1


def test_a_throttled_message_goes_back_and_leaves_later(lapsed, make_automation, provider, now):
    lapsed(address="later@example.com")
    later = Outcome(Verdict.THROTTLED, retry_after=timedelta(minutes=5), this_address_only=True)
    provider.answers = {"later@example.com": later}
    run = planned(make_automation(), now)
    send_all(run, now)
    message = Message.objects.get()
    assert (message.state, message.send_after) == ("queued", now + timedelta(minutes=5))
    assert engine.counts(run).held == 1
    send_all(run, now + timedelta(minutes=4))
    assert len(provider.calls) == 1
    provider.answers = {}
    send_all(run, now + timedelta(minutes=6))
    assert (Message.objects.get().state, run.state) == ("sent", RunState.FINISHED)


def test_a_service_that_stays_away_ends_as_failed_after_five_tries(lapsed, make_automation, provider, now):
    lapsed(address="down@example.com")
    provider.answers = {"down@example.com": Outcome(Verdict.UNAVAILABLE, error="Connection refused")}
    run = planned(make_automation(), now)
    for hour in range(7):
        send_all(run, now + timedelta(hours=hour))
    message = Message.objects.get()
    assert (message.state, message.reason, len(provider.calls)) == ("failed", "temporary", 5)


def test_a_broken_account_pauses_the_run_and_loses_nobody(lapsed, make_automation, provider, now):
    for _ in range(40):
        lapsed()
    stop = Outcome(Verdict.STOP_ACCOUNT, error="The credentials were refused")
    provider.answers = {row.address: stop for row in Address.objects.all()}
    run = planned(make_automation(), now)
    send_all(run, now)
    assert (run.state, run.reason) == (RunState.PAUSED, "The credentials were refused")
    assert set(Message.objects.values_list("state", flat=True)) == {"queued"}
    assert ProviderAccount.objects.get().broken_reason
    provider.answers = {}
    engine.resume(run, now)
    assert not ProviderAccount.objects.get().broken_reason
    send_all(run, now)
    assert engine.counts(run).sent == 40


def test_an_account_that_cannot_be_used_pauses_the_run(lapsed, make_automation, now):
    from regulars.runs.tasks import _prepare

    lapsed()
    run = planned(make_automation(), now)
    ProviderAccount.objects.update(sealed_secrets="not ours")
    assert _prepare(run.chunks.get().pk) is None
    run.refresh_from_db()
    assert run.state == RunState.PAUSED
    assert run.reason
    assert Message.objects.get().state == "queued"


def test_a_template_that_fails_for_one_guest_sends_nothing_to_that_guest(
    lapsed, make_automation, provider, now
):
    lapsed()
    run = planned(make_automation(body="Hola {{ nobody.knows.this }}"), now)
    send_all(run, now)
    assert provider.calls == []
    assert Message.objects.get().state == "failed"


class TestTheLastLook:
    def withheld(self, run, now, reason, *, guard_is_free=True):
        send_all(run, now)
        message = Message.objects.get()
        assert (message.state, message.reason) == ("withheld", reason)
        assert Occasion.objects.exists() is not guard_is_free
        number = engine.counts(run)
        assert (number.processed, number.skipped, number.held) == (1, 1, 0)
        assert run.state == RunState.FINISHED

    def test_withdrawn_consent_stops_the_message(self, lapsed, make_automation, provider, now):
        customer = lapsed()
        run = planned(make_automation(), now)
        consent.record(customer, "email", "marketing", False, source="telephone", at=now)
        self.withheld(run, now, "no_consent")

    def test_a_new_suppression_stops_the_message(self, lapsed, make_automation, provider, now):
        customer = lapsed()
        run = planned(make_automation(), now)
        Suppression.objects.create(
            organization=customer.organization,
            fingerprint=Address.objects.get().fingerprint,
            reason="complaint",
        )
        self.withheld(run, now, "suppressed")

    def test_an_address_that_is_somebody_else_s_now_stops_the_message(
        self, lapsed, make_automation, provider, now
    ):
        customer = lapsed()
        run = planned(make_automation(), now)
        opting.wrong_person(customer.organization, Address.objects.get().address, "email", now)
        self.withheld(run, now, "suppressed")

    def test_an_automation_switched_off_stops_the_message(self, lapsed, make_automation, provider, now):
        lapsed()
        automation = make_automation()
        run = planned(automation, now)
        type(automation).objects.update(enabled=False)
        self.withheld(run, now, "automation_inactive")

    def test_a_cancelled_reservation_is_not_confirmed(
        self, make_customer, make_automation, venue, provider, now
    ):
        customer = make_customer()
        Reservation.objects.create(
            organization=customer.organization,
            customer=customer,
            venue=venue,
            starts_at=now + timedelta(days=1),
            confirmed_at=now,
        )
        run = planned(make_automation("reservation_confirmation"), now)
        Reservation.objects.update(status="cancelled")
        self.withheld(run, now, "cancelled_before_send")

    def test_an_expired_message_does_not_leave_and_keeps_its_occasion(
        self, lapsed, make_automation, provider, now
    ):
        lapsed()
        run = planned(make_automation(), now)
        Message.objects.update(expires_at=now)
        self.withheld(run, now, "expired", guard_is_free=False)


class TestTakingOver:
    """A sender that was killed, cut off or frozen: what its successor and itself may do."""

    def interrupted(self, lapsed, make_automation, now, number=3):
        """A run whose sender claimed everything and vanished without a word."""
        for _ in range(number):
            lapsed()
        run = planned(make_automation(), now)
        Message.objects.update(state="sending", epoch=1, attempt=1)
        RunChunk.objects.update(epoch=1, lease_until=clock.now() - timedelta(minutes=1))
        return run

    def test_what_a_dead_sender_left_becomes_unknown_and_is_not_sent(
        self, lapsed, make_automation, provider, now
    ):
        run = self.interrupted(lapsed, make_automation, now)
        send_all(run, now)
        assert provider.calls == []
        assert set(Message.objects.values_list("state", flat=True)) == {"unknown"}
        number = engine.counts(run)
        assert (run.state, number.failed, number.unknown) == (RunState.FINISHED, 3, 3)

    def test_a_living_senders_chunk_is_not_taken(self, lapsed, make_automation, provider, now):
        run = self.interrupted(lapsed, make_automation, now)
        RunChunk.objects.update(lease_until=clock.now() + timedelta(seconds=5))
        send_all(run, now)
        assert set(Message.objects.values_list("state", flat=True)) == {"sending"}
        assert RunChunk.objects.get().epoch == 1

    def test_a_late_result_settles_its_own_unknown(self, lapsed, make_automation, provider, now):
        run = self.interrupted(lapsed, make_automation, now, number=1)
        send_all(run, now)
        message = Message.objects.get()
        work = preparing.prepare(run.chunks.get().pk, now)

        async def late(epoch, attempt):
            database = await async_database.connect()
            outcome = Outcome(Verdict.ACCEPTED, provider_id="late")
            ended = Ended(
                Attempt(message.pk, attempt, "email", message.address), outcome, after(outcome, attempt, now)
            )
            try:
                await ChunkLedger(database, work, epoch).record_late([ended], [message.pk], now)
            finally:
                await database.close()

        for epoch, attempt in ((1, 2), (2, 1)):
            asyncio.run(late(epoch, attempt))
            assert Message.objects.get().state == "unknown"
        asyncio.run(late(1, 1))
        assert (Message.objects.get().state, Message.objects.get().provider_id) == ("sent", "late")
        number = engine.counts(run)
        assert (number.sent, number.unknown) == (1, 0)

    def test_a_sender_that_slept_past_its_lease_does_not_send(
        self, lapsed, make_automation, provider, now, monkeypatch
    ):
        lapsed()
        run = planned(make_automation(), now)
        ticks = iter([0.0] * 5)
        monkeypatch.setattr(clock, "boot_seconds", lambda: next(ticks, 1_000.0))
        send_all(run, now, once=True)
        assert provider.calls == []
        assert Message.objects.get().state == "queued"

    def test_draining_hands_back_what_never_left(self, lapsed, make_automation, provider, now):
        for _ in range(100):
            lapsed()
        run = planned(make_automation(), now)
        send_all(run, now, stopping=lambda: len(provider.calls) > 0)
        states = set(Message.objects.values_list("state", flat=True))
        assert states == {"sent", "queued"}
        assert len(provider.calls) == Message.objects.filter(state="sent").count()
        send_all(run, now)
        assert engine.counts(run).sent == len(provider.calls) == 100


class TestSettling:
    @pytest.fixture
    def unknown(self, lapsed, make_automation, provider, now):
        lapsed(address="slow@example.com")
        provider.answers = {"slow@example.com": Outcome(Verdict.UNKNOWN, error="No answer")}
        run = planned(make_automation(), now)
        send_all(run, now)
        provider.answers = {}
        return run

    @pytest.mark.parametrize(
        ("decision", "state", "sent", "failed"),
        [("arrived", "sent", 1, 0), ("leave", "failed", 0, 1)],
    )
    def test_a_person_decides(self, unknown, now, decision, state, sent, failed):
        message = engine.settle(Message.objects.get().pk, engine.Decision(decision), "demo@example.com", now)
        number = engine.counts(Run.objects.get())
        assert (message.state, number.sent, number.failed) == (state, sent, failed)
        with pytest.raises(engine.NotUnknownError):
            engine.settle(message.pk, engine.Decision.ARRIVED, "demo@example.com", now)

    def test_send_again_hands_over_once_more(self, unknown, provider, now):
        engine.settle(Message.objects.get().pk, engine.Decision.SEND_AGAIN, "x", now)
        send_all(unknown, now)
        assert (Message.objects.get().state, Message.objects.get().attempt) == ("sent", 2)
        assert (unknown.state, len(provider.calls)) == (RunState.FINISHED, 2)
