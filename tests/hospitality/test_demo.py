"""The demo restaurant: the ordered document's example, fiction only, made once."""

import asyncio
import re
from datetime import UTC, datetime, timedelta

import pytest

from regulars.automations.models import ProviderAccount
from regulars.customers.models import Address, Customer
from regulars.hospitality.demo import DemoNameTakenError, seed
from regulars.hospitality.models import Reservation, Visit
from regulars.lib import append_only, async_database
from regulars.organizations.models import Organization, User
from regulars.runs import engine, outbox, partitions, planning, preparing, sending, statements
from regulars.runs.models import Message, Occasion, Run, SandboxMessage

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
# A plain noon, the small hours (still yesterday's service day), a clock change, a leap day.
CLOCKS = (
    datetime(2026, 6, 15, 12, tzinfo=UTC),
    datetime(2026, 11, 23, 2, 30, tzinfo=UTC),
    datetime(2026, 10, 25, 1, 30, tzinfo=UTC),
    datetime(2028, 2, 29, 12, tzinfo=UTC),
)


def run_to_the_end(automation, now):
    run = engine.start(automation, now=now)
    planning.plan(str(run.pk), now)
    works = [preparing.prepare(pk, now) for pk in run.chunks.values_list("pk", flat=True)]

    async def send():
        database = await async_database.connect()
        try:
            for work in works:
                await sending.send_chunk(database, work, stopping=lambda: False, now=lambda: now)
            await database.execute(statements.FINISH, {"run": run.pk, "now": now})
        finally:
            await outbox.close()
            await database.close()

    asyncio.run(send())
    return Run.objects.get(pk=run.pk)


def automation_of(organization, trigger):
    return organization.automations.get(trigger=trigger, enabled=True)


@pytest.mark.parametrize("now", CLOCKS)
def test_the_win_back_answers_with_the_ordered_documents_example(now):
    organization = seed(now).organization
    run = run_to_the_end(automation_of(organization, "inactive"), now)
    answer = engine.answer(run, show_addresses=True, now=now)
    numbers = [answer[name] for name in ("processed", "sent", "skipped", "failed", "held")]
    assert numbers == [45, 42, 2, 1, 0]
    (error,) = answer["errors"]
    assert re.fullmatch(r"Failed to send to \+1\d{10}: Invalid phone number", error)
    assert engine.counts(run).skipped_by_reason == {"cooldown": 2}


def test_the_example_holds_for_a_week(now):
    organization = seed(now).organization
    later = now + timedelta(days=7)
    found = engine.preview(automation_of(organization, "inactive"), later)
    assert (found.due, found.skipped_by_reason) == (45, {"cooldown": 2})


def test_every_other_automation_has_somebody_to_write_to(now):
    organization = seed(now).organization
    for trigger in ("birthday", "vip_reward", "post_visit", "reservation_confirmation"):
        assert engine.preview(automation_of(organization, trigger), now).send > 0, trigger


def test_a_second_seed_changes_nothing(now):
    def state():
        models = (Customer, Address, Visit, Reservation, Message, Run, SandboxMessage, User)
        return [(model.objects.count(), model.objects.latest("pk").pk) for model in models]

    first = seed(now)
    before = state()
    assert seed(now + timedelta(days=1)) == first
    assert state() == before


def test_two_demos_on_one_day_are_the_same(now):
    def picture():
        return (
            list(Customer.objects.order_by("external_id").values_list("first_name", "birth_day")),
            list(Visit.objects.order_by("external_id").values_list("visited_at", "amount")),
        )

    organization = seed(now).organization
    before = picture()
    for model in (SandboxMessage, Message, Occasion):
        model.objects.all().delete()
    Reservation.objects.all().delete()
    Visit.objects.all().delete()
    organization.runs.all().delete()
    organization.automations.all().delete()
    organization.venues.all().delete()
    with append_only.lifted():
        organization.delete()
    seed(now)
    assert picture() == before


def test_the_demo_can_reach_nobody(now):
    organization = seed(now).organization
    assert organization.is_demo
    assert set(ProviderAccount.objects.values_list("kind", flat=True)) == {"sandbox"}
    for address in Address.objects.values_list("address", flat=True):
        assert re.fullmatch(r"\+1\d{3}55501\d\d|.+@example\.(com|org|net)", address), address


@pytest.mark.parametrize("now", CLOCKS)
def test_the_past_is_as_the_engine_would_have_left_it(now):
    seed(now)
    guards = set(Occasion.objects.values_list("message_id", flat=True))
    assert guards == set(Message.objects.values_list("pk", flat=True))
    assert SandboxMessage.objects.count() == len(guards)
    for run in Run.objects.all():
        counts = engine.counts(run)
        assert counts.held == 0
        assert counts.sent == Message.objects.filter(run_id=run.pk).count()
        for chunk in run.chunks.all():
            within = Message.objects.filter(pk__range=(chunk.first_id, chunk.last_id), run_id=run.pk)
            assert within.count() == chunk.total
            assert partitions.floor_id(run.created_at) < chunk.first_id
            assert chunk.last_id < partitions.bounds(partitions.month_of(run.created_at))[1]


def test_the_owner_can_sign_in(now):
    made = seed(now)
    user = User.objects.get(email=made.email)
    assert user.check_password(made.password)
    assert user.memberships.get().organization == made.organization


def test_a_real_organization_called_demo_is_left_alone(now):
    Organization.objects.create(slug="demo", name="Demo Bar")
    with pytest.raises(DemoNameTakenError):
        seed(now)
    assert not Customer.objects.exists()


def test_the_demo_has_schedules_and_shows_what_was_missed(now):
    organization = seed(now).organization
    birthday = automation_of(organization, "birthday")
    # Eleven o'clock in Madrid; it is two in the afternoon there.
    assert birthday.next_slot == datetime(2026, 6, 16, 9, tzinfo=UTC)
    assert automation_of(organization, "reservation_confirmation").schedule == {"as_it_happens": True}
    missed = organization.runs.get(state="missed", automation=birthday)
    assert missed.scheduled_for == datetime(2026, 6, 12, 9, tzinfo=UTC)
    assert missed.scheduled_until == datetime(2026, 6, 14, 9, tzinfo=UTC)
    assert missed.reason
