"""The next channel after a definite failure of the first: one message an occasion all the same."""

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest
from tests.runs.scripted import planned, send_all

from regulars.automations.models import ProviderAccount
from regulars.customers import consent
from regulars.customers.models import Address, Consent, Suppression
from regulars.lib import async_database
from regulars.providers.base import Outcome, Verdict
from regulars.runs import engine, preparing
from regulars.runs.invariants import violations
from regulars.runs.ledger import ChunkLedger
from regulars.runs.models import DeliveryEvent, Message, Occasion, RunChunk, RunState
from regulars.runs.recording import Attempt, Ended
from regulars.runs.settling import Decision
from regulars.runs.states import after

NOT_THERE = Outcome(
    Verdict.REJECTED, code="131026", error="Not reachable by WhatsApp", bad_address=True, permanent=True
)
WAYS = ("whatsapp", "sms", "email")


pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def automation(make_automation):
    return make_automation(channels=WAYS, policy={"fallback": True})


@pytest.fixture
def guest(lapsed):
    """A guest with three ways and different addresses on each."""
    made = iter(range(1, 100))

    def make(**fields):
        number = next(made)
        customer = lapsed(**({"channels": WAYS} | fields))
        for channel in ("whatsapp", "sms"):
            text = f"+1201555{number:02d}{'01' if channel == 'sms' else '02'}"
            Address.objects.filter(customer=customer, channel=channel).update(address=text)
        return customer

    return make


def address_of(customer, channel):
    return Address.objects.filter(customer=customer, channel=channel).order_by("position").first().address


def refuse(provider, customer, channel="whatsapp", outcome=NOT_THERE):
    provider.answers[address_of(customer, channel)] = outcome


def rest(run, now):
    """Send what went into other chunks meanwhile, until nothing does."""
    for _ in range(4):
        send_all(run, now)


def test_a_guest_who_is_not_on_whatsapp_gets_an_sms(automation, guest, provider, now):
    marta, jon = guest(), guest()
    refuse(provider, marta)
    run = planned(automation, now)
    send_all(run, now)
    (other,) = run.chunks.filter(source_number__isnull=False)
    assert (other.total, other.closed, run.state) == (1, False, RunState.SENDING)
    rest(run, now)
    assert [(call.channel, call.address) for call in provider.calls] == [
        ("whatsapp", address_of(marta, "whatsapp")),
        ("whatsapp", address_of(jon, "whatsapp")),
        ("sms", address_of(marta, "sms")),
    ]
    counts = engine.counts(run)
    assert (run.state, counts.processed, counts.sent, counts.failed) == (RunState.FINISHED, 2, 2, 0)
    assert Message.objects.count() == Occasion.objects.count() == 2
    assert violations() == {}


def test_the_first_refusal_is_kept_without_the_address(automation, guest, provider, now):
    marta = guest()
    number = address_of(marta, "whatsapp")
    refuse(
        provider,
        marta,
        outcome=Outcome(Verdict.REJECTED, "", "131026", f"{number} is not there", permanent=True),
    )
    rest(planned(automation, now), now)
    (event,) = DeliveryEvent.objects.filter(kind="fell_back")
    assert (event.message_id, event.attempt) == (Message.objects.get().pk, 1)
    assert (event.raw["channel"], event.raw["next"], event.raw["code"]) == ("whatsapp", "sms", "131026")
    assert number not in str(event.raw)


def test_channel_after_channel_until_none_is_left(automation, guest, provider, now):
    marta = guest()
    for channel in WAYS:
        refuse(provider, marta, channel)
    run = planned(automation, now)
    rest(run, now)
    assert [call.channel for call in provider.calls] == list(WAYS)
    message = Message.objects.get()
    assert (message.state, message.reason, message.attempt) == ("failed", "permanent", 3)
    assert (run.state, engine.counts(run).failed) == (RunState.FINISHED, 1)
    assert Occasion.objects.count() == 1
    assert violations() == {}


def test_without_the_setting_a_refusal_is_the_end(make_automation, guest, provider, now):
    refuse(provider, guest())
    run = planned(make_automation(channels=WAYS), now)
    rest(run, now)
    assert (len(provider.calls), Message.objects.get().state) == (1, "failed")


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(Verdict.UNKNOWN, code="no_answer"),
        Outcome(Verdict.REJECTED, code="131009", error="A value is not valid"),
        Outcome(Verdict.REJECTED, code="131050", opt_out=True),
        Outcome(Verdict.THROTTLED, retry_after=timedelta(hours=1), this_address_only=True),
    ],
    ids=["unknown", "our own fault", "stop", "later"],
)
def test_nothing_else_leads_to_another_channel(automation, guest, provider, now, outcome):
    refuse(provider, guest(), outcome=outcome)
    rest(planned(automation, now), now)
    assert len(provider.calls) == 1
    assert not RunChunk.objects.filter(source_number__isnull=False).exists()


def test_only_a_channel_with_its_own_agreement_is_taken(automation, guest, provider, now):
    marta = guest(consents=("whatsapp", "email"))
    refuse(provider, marta)
    rest(planned(automation, now), now)
    assert [call.channel for call in provider.calls] == ["whatsapp", "email"]


def test_a_minor_is_followed_only_where_the_guardian_agreed(automation, guest, provider, now):
    marta = guest(birth_year=2015, birth_month=1, birth_day=1, consents=())
    for channel, basis in (("whatsapp", "guardian"), ("sms", "consent"), ("email", "guardian")):
        Consent.objects.create(customer=marta, channel=channel, granted=True, basis=basis, at=now)
    refuse(provider, marta)
    rest(planned(automation, now), now)
    assert [call.channel for call in provider.calls] == ["whatsapp", "email"]


def test_no_stop_and_no_bad_address_is_passed_over(automation, guest, provider, organization, now):
    marta = guest()
    refuse(provider, marta)
    Address.objects.filter(customer=marta, channel="sms").update(fingerprint=b"s" * 32)
    Suppression.objects.create(organization=organization, channel="", fingerprint=b"s" * 32, reason="opt_out")
    Address.objects.filter(customer=marta, channel="email").update(bad_reason="bounced")
    rest(planned(automation, now), now)
    assert (len(provider.calls), Message.objects.get().state) == (1, "failed")


def test_an_agreement_withdrawn_while_it_waits_withholds_it(automation, guest, provider, now):
    marta = guest()
    refuse(provider, marta)
    run = planned(automation, now)
    send_all(run, now)
    consent.record(marta, "sms", "marketing", granted=False, source="form", at=now)
    rest(run, now)
    message = Message.objects.get()
    assert (len(provider.calls), message.state, message.reason) == (1, "withheld", "no_consent")
    assert run.state == RunState.FINISHED
    assert violations() == {}


def test_a_second_number_comes_before_the_next_channel(automation, guest, provider, organization, now):
    marta = guest()
    first = Address.objects.get(customer=marta, channel="whatsapp")
    Address.objects.create(
        organization=organization,
        customer=marta,
        channel="whatsapp",
        address="+12015550199",
        fingerprint=b"x" * 32,
        position=first.position + 1,
    )
    refuse(provider, marta)
    rest(planned(automation, now), now)
    assert [call.address for call in provider.calls] == [first.address, "+12015550199"]


def test_two_who_share_the_other_address_get_one_message_there(automation, guest, provider, now):
    marta, jon = guest(consents=("whatsapp", "sms")), guest(consents=("whatsapp", "sms"))
    Address.objects.filter(customer=jon, channel="sms").update(address=address_of(marta, "sms"))
    for each in (marta, jon):
        refuse(provider, each)
    run = planned(automation, now)
    rest(run, now)
    assert [call.channel for call in provider.calls].count("sms") == 1
    assert sorted(Message.objects.values_list("state", flat=True)) == ["failed", "sent"]
    assert violations() == {}


def test_what_came_too_late_goes_no_other_way(automation, guest, provider, now):
    refuse(provider, guest())
    run = planned(automation, now)
    Message.objects.update(expires_at=now + timedelta(seconds=1))
    provider.answers = {Message.objects.get().address: NOT_THERE}
    send_all(run, now)
    assert Message.objects.get().channel == "sms"
    send_all(run, now + timedelta(seconds=2))
    assert (Message.objects.get().state, Message.objects.get().reason) == ("withheld", "expired")


def test_a_cancelled_run_sends_nothing_another_way(automation, guest, provider, now):
    refuse(provider, guest())
    run = planned(automation, now)

    def cancel_meanwhile(message):
        return asyncio.to_thread(_cancel, run, now)

    provider.answers = {Message.objects.get().address: cancel_meanwhile}
    send_all(run, now)
    message = Message.objects.get()
    assert (message.state, message.channel, len(provider.calls)) == ("failed", "whatsapp", 1)
    assert not RunChunk.objects.filter(source_number__isnull=False).exists()


def _cancel(run, now):
    from django.db import connection

    engine.cancel(run, now)
    connection.close()
    return NOT_THERE


def test_a_run_cancelled_afterwards_takes_the_other_way_back(automation, guest, provider, now):
    refuse(provider, guest())
    run = planned(automation, now)
    send_all(run, now)
    engine.cancel(run, now)
    rest(run, now)
    message = Message.objects.get()
    assert (message.state, message.reason, len(provider.calls)) == ("withheld", "run_cancelled", 1)
    assert violations() == {}


def test_what_a_person_sent_again_out_of_doubt_goes_no_other_way(automation, guest, provider, now):
    marta = guest()
    refuse(provider, marta, outcome=Outcome(Verdict.UNKNOWN, code="no_answer"))
    run = planned(automation, now)
    send_all(run, now)
    engine.settle(Message.objects.get().pk, Decision.SEND_AGAIN, "owner@example.com", now)
    refuse(provider, marta)
    rest(run, now)
    assert [call.channel for call in provider.calls] == ["whatsapp", "whatsapp"]
    assert Message.objects.get().state == "failed"


def test_a_late_refusal_reopens_the_run_for_the_other_way(automation, guest, provider, now):
    """The sender lost the database, its message was called unknown, its run ended; then the answer is told."""
    guest()
    run = planned(automation, now)
    (chunk,) = run.chunks.all()

    async def scenario():
        database = await async_database.connect()
        try:
            return await _late(database, await asyncio.to_thread(_prepared, chunk.pk, now), now)
        finally:
            await database.close()

    asyncio.run(scenario())
    run.refresh_from_db()
    assert (run.state, run.totals) == (RunState.SENDING, {})
    rest(run, now)
    assert [call.channel for call in provider.calls] == ["sms"]
    assert (run.state, engine.counts(run).sent) == (RunState.FINISHED, 1)
    assert violations() == {}


def _prepared(chunk_id, now):
    from django.db import connection

    work = preparing.prepare(chunk_id, now)
    connection.close()
    return work


async def _late(database, work, now):
    taken = await ChunkLedger.take(database, work, now)
    ledger = ChunkLedger(database, work, taken.epoch)
    await ledger.prepare()
    (row,) = (await ledger.exchange([], 64, now)).rows
    values = {"run": work.run.pk, "chunk": work.chunk.pk}
    for text in (
        "UPDATE messages SET state = 'unknown', reason = 'interrupted' WHERE run_id = %(run)s",
        "UPDATE run_chunks SET unknown = 1, closed = TRUE, lease_until = NULL WHERE id = %(chunk)s",
        """UPDATE automation_logs SET state = 'finished',
             totals = '{"sent": 0, "failed": 0, "unknown": 1, "withheld": 0}' WHERE id = %(run)s""",
    ):
        await database.execute(text, values)
    attempt = Attempt.of(row)
    await ledger.record_late([Ended(attempt, NOT_THERE, after(NOT_THERE, 1, now))], [row["id"]], now)


def test_a_sender_that_dies_before_the_record_leaves_an_unknown_and_no_other_way(
    automation, guest, provider, now
):
    """The refusal and the other way are one transaction: without its commit there is neither."""
    guest()
    run = planned(automation, now)
    (chunk,) = run.chunks.all()

    async def scenario():
        database = await async_database.connect()
        try:
            work = await asyncio.to_thread(_prepared, chunk.pk, now)
            taken = await ChunkLedger.take(database, work, now)
            ledger = ChunkLedger(database, work, taken.epoch)
            await ledger.prepare()
            (row,) = (await ledger.exchange([], 64, now)).rows
            ended = [Ended(Attempt.of(row), NOT_THERE, after(NOT_THERE, 1, now))]
            async with database.transaction(force_rollback=True):
                await ledger.exchange(ended, 0, now)
        finally:
            await database.close()

    asyncio.run(scenario())
    assert Message.objects.get().state == "sending"
    assert RunChunk.objects.count() == 1
    RunChunk.objects.update(lease_until=now - timedelta(days=400))
    rest(run, now)
    assert (Message.objects.get().state, provider.calls) == ("unknown", [])


def test_the_price_is_that_of_the_other_channel_and_its_money_is_kept_to(
    automation, guest, provider, organization, now
):
    organization.tact = organization.tact | {
        "prices": [{"account": "sandbox", "channel": "sms", "amount": "0.08"}],
        "monthly_limits": {"sms": "0.10"},
    }
    organization.save()
    marta, jon = guest(consents=("whatsapp", "sms")), guest(consents=("whatsapp", "sms"))
    refuse(provider, marta)
    run = planned(automation, now)
    rest(run, now)
    paid = Message.objects.get(customer_id=marta.pk)
    assert (paid.channel, paid.cost, paid.state) == ("sms", Decimal("0.08"), "sent")
    # The month's money for SMS is as good as gone.
    refuse(provider, jon)
    Message.objects.filter(customer_id=jon.pk).delete()
    Occasion.objects.filter(customer_id=jon.pk).delete()
    rest(planned(automation, now), now)
    assert Message.objects.get(customer_id=jon.pk).state == "failed"


def test_many_refusals_of_one_chunk_share_one_further_chunk(automation, guest, provider, now):
    people = [guest(consents=("whatsapp", "sms")) for _ in range(70)]
    for each in people[::2]:
        refuse(provider, each)
    run = planned(automation, now)
    rest(run, now)
    assert run.chunks.count() == 2
    assert (engine.counts(run).sent, run.state) == (70, RunState.FINISHED)
    assert len({(call.channel, call.address) for call in provider.calls}) == 105
    assert violations() == {}


def test_an_account_of_the_other_channel_may_be_another_providers(
    automation, guest, provider, account, organization, now
):
    other = ProviderAccount.objects.create(
        organization=organization, name="texts", kind="sandbox", channels=["sms"], position=1
    )
    ProviderAccount.objects.filter(pk=account.pk).update(channels=["whatsapp", "email"])
    marta = guest()
    refuse(provider, marta)
    rest(planned(automation, now), now)
    assert (Message.objects.get().account_id, Message.objects.get().channel) == (other.pk, "sms")
