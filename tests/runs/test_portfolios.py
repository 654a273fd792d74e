"""WhatsApp's limit of different guests in 24 hours: spread over days, over all workers, nobody fails."""

import asyncio
from datetime import timedelta

import pytest
from tests.runs.scripted import planned, send_all

from regulars.automations.models import ProviderAccount
from regulars.customers.models import Address, Customer
from regulars.customers.service_window import note_inbound
from regulars.lib import async_database
from regulars.providers.base import Outcome, Verdict
from regulars.runs import engine, portfolios, preparing
from regulars.runs.ledger import ChunkLedger
from regulars.runs.models import Message, PortfolioContact, RunState

pytestmark = pytest.mark.django_db(transaction=True)
DAY = timedelta(hours=24)


@pytest.fixture
def limit():
    def limit(most, **fields):
        ProviderAccount.objects.update(recipients_per_day=most, **fields)

    return limit


@pytest.fixture
def guests(lapsed):
    def make(number, **fields):
        return [lapsed(channels=("whatsapp",), **fields) for _ in range(number)]

    return make


def states():
    rows = Message.objects.values_list("state", flat=True)
    return {state: list(rows).count(state) for state in set(rows)}


def test_a_campaign_larger_than_the_limit_takes_days_and_fails_nobody(
    guests, make_automation, provider, limit, now
):
    guests(25)
    limit(10)
    run = planned(make_automation(channels=("whatsapp",)), now)
    sent = []
    for day in range(3):
        send_all(run, now + day * DAY)
        sent.append(len(provider.calls))
    assert sent == [10, 20, 25]
    assert (run.state, states()) == (RunState.FINISHED, {"sent": 25})
    assert len({call.address for call in provider.calls}) == 25


def test_the_rest_waits_until_the_first_guest_is_a_day_old(guests, make_automation, provider, limit, now):
    guests(3)
    limit(2)
    run = planned(make_automation(channels=("whatsapp",)), now)
    send_all(run, now)
    (chunk,) = run.chunks.all()
    assert (chunk.closed, chunk.next_due, engine.counts(run).held) == (False, now + DAY, 1)
    send_all(run, now + DAY - timedelta(seconds=1))
    assert len(provider.calls) == 2
    (hold,) = engine.holds(run, now + timedelta(hours=1))
    assert (hold.why, hold.limit, hold.until) == ("recipients", 2, now + DAY)
    assert "24 hours" in hold.words
    send_all(run, now + DAY)
    assert len(provider.calls) == 3
    assert engine.holds(run, now + DAY) == []


def test_two_automations_share_the_limit_and_a_guest_counts_once(
    guests, make_automation, provider, limit, now
):
    guests(3)
    limit(3)
    policy = {"cooldown_days": 0}
    first = make_automation(channels=("whatsapp",), policy=policy, family="")
    second = make_automation(channels=("whatsapp",), policy=policy, family="", name="again")
    send_all(planned(first, now), now)
    send_all(planned(second, now), now)
    assert len(provider.calls) == 6
    assert PortfolioContact.objects.count() == 3


def test_accounts_of_one_business_share_the_limit(
    guests, make_automation, provider, limit, account, organization, now
):
    guests(4)
    limit(3, portfolio="77")
    policy = {"cooldown_days": 0}
    send_all(planned(make_automation(channels=("whatsapp",), policy=policy, family=""), now), now)
    ProviderAccount.objects.create(
        organization=organization, name="second", kind="sandbox", channels=["whatsapp"], portfolio="77"
    )
    ProviderAccount.objects.filter(pk=account.pk).update(channels=["sms"])
    later = make_automation(channels=("whatsapp",), policy=policy, family="", name="again")
    run = planned(later, now)
    send_all(run, now)
    # Three are known already, the fourth is one too many, whichever account it is.
    assert len(provider.calls) == 6
    assert engine.counts(run).held == 1


def test_accounts_of_different_businesses_do_not(
    guests, make_automation, provider, limit, account, organization, now
):
    guests(2)
    limit(1)
    policy = {"cooldown_days": 0}
    send_all(planned(make_automation(channels=("whatsapp",), policy=policy, family=""), now), now)
    ProviderAccount.objects.create(
        organization=organization,
        name="second",
        kind="sandbox",
        channels=["whatsapp"],
        recipients_per_day=1,
    )
    ProviderAccount.objects.filter(pk=account.pk).update(channels=["sms"])
    later = make_automation(channels=("whatsapp",), policy=policy, family="", name="again")
    send_all(planned(later, now), now)
    assert len(provider.calls) == 2


def test_who_has_just_written_does_not_count(guests, make_automation, provider, limit, organization, now):
    people = guests(4)
    limit(1)
    for guest in people[:2]:
        address = Address.objects.get(customer=guest).address
        note_inbound(organization, "whatsapp", address, now - timedelta(hours=1))
    run = planned(make_automation(channels=("whatsapp",)), now)
    send_all(run, now)
    assert len(provider.calls) == 3
    assert PortfolioContact.objects.count() == 1


def test_other_channels_of_the_account_have_no_such_limit(lapsed, make_automation, provider, limit, now):
    for _ in range(3):
        lapsed(channels=("sms",))
    limit(1)
    send_all(planned(make_automation(channels=("sms",)), now), now)
    assert len(provider.calls) == 3
    assert not PortfolioContact.objects.exists()


def test_who_must_not_be_written_to_any_more_takes_no_place(guests, make_automation, provider, limit, now):
    first, *_ = guests(3)
    limit(2)
    run = planned(make_automation(channels=("whatsapp",)), now)
    first.do_not_contact = True
    first.save()
    send_all(run, now)
    assert (len(provider.calls), states()) == (2, {"withheld": 1, "sent": 2})


def test_a_guest_held_back_by_meta_waits_longer_each_time(guests, make_automation, provider, now):
    (guest,) = guests(1)
    address = Address.objects.get(customer=guest).address
    held = Outcome(Verdict.THROTTLED, code="131049", retry_after=DAY, this_address_only=True, growing=True)
    provider.answers = {address: held}
    run = planned(make_automation(channels=("whatsapp",)), now)
    moment, waits = now, []
    for _ in range(4):
        send_all(run, moment)
        message = Message.objects.get()
        assert (message.state, message.reason) == ("queued", "held_back")
        waits.append((message.send_after - moment) // DAY)
        moment = message.send_after
    assert waits == [1, 2, 4, 8]
    send_all(run, moment)
    message = Message.objects.get()
    assert (message.state, message.reason, len(provider.calls)) == ("failed", "temporary", 5)


def test_two_workers_at_once_do_not_exceed_it_together(lapsed, make_automation, provider, limit, now):
    """Both have taken their chunk and claim in the same moment: the second waits for the first's count."""
    for _ in range(4):
        lapsed(channels=("whatsapp",))
    limit(3)
    policy = {"cooldown_days": 0}
    automations = [
        make_automation(channels=("whatsapp",), policy=policy, family="", name=name) for name in "ab"
    ]
    works = []
    people = list(Customer.objects.order_by("pk").values_list("pk", flat=True))
    for automation, mine in zip(automations, (people[:2], people[2:]), strict=True):
        run = planned(automation, now)
        Message.objects.filter(run=run).exclude(customer_id__in=mine).delete()
        works += [preparing.prepare(pk, now) for pk in run.chunks.values_list("pk", flat=True)]

    async def both():
        databases = [await async_database.connect() for _ in works]
        try:
            one, other = [await ready(*pair) for pair in zip(databases, works, strict=True)]
            async with databases[0].transaction():
                first = await one.exchange([], 64, now)
                # The first has claimed and not committed: the second cannot see it yet, and waits for it.
                second = asyncio.create_task(other.exchange([], 64, now))
                await waits_for_a_lock(databases[0])
            return first, await second
        finally:
            for database in databases:
                await database.close()

    async def ready(database, work):
        taken = await ChunkLedger.take(database, work, now)
        ledger = ChunkLedger(database, work, taken.epoch)
        await ledger.prepare()
        return ledger

    async def waits_for_a_lock(database):
        text = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        async with asyncio.timeout(5):
            while not await (await database.execute(text)).fetchall():  # noqa: ASYNC110 - the server knows
                await asyncio.sleep(0.01)

    found = asyncio.run(both())
    assert [len(each.rows) for each in found] == [2, 1]
    assert [each.resume_at for each in found] == [None, now + DAY]


def test_the_preview_says_how_many_days_it_takes(guests, make_automation, provider, limit, now):
    guests(5)
    automation = make_automation(channels=("whatsapp",))
    assert engine.preview(automation, now).days == 1
    limit(2)
    assert engine.preview(automation, now).days == 3
    limit(5)
    assert engine.preview(automation, now).days == 1
    send_all(planned(automation, now), now)
    guests(1)
    assert engine.preview(automation, now).days == 2


def test_contacts_are_forgotten_after_two_days(guests, make_automation, provider, limit, now):
    guests(2)
    limit(2)
    send_all(planned(make_automation(channels=("whatsapp",)), now), now)
    assert portfolios.forget(now + timedelta(days=1)) == 0
    assert portfolios.forget(now + timedelta(days=3)) == 2
