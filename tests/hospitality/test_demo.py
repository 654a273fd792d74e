"""The demo restaurant: the ordered document's example, fiction only, made once."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from regulars.automations.models import ProviderAccount
from regulars.automations.quiet_hours import QuietHours, held_until
from regulars.customers.models import Address, Customer
from regulars.hospitality.demo import DemoNameTakenError, seed
from regulars.hospitality.demo.people import TRAVELLERS
from regulars.hospitality.models import Reservation, Visit
from regulars.lib import append_only, async_database
from regulars.organizations.models import Organization, User
from regulars.runs import (
    engine,
    invariants,
    outbox,
    partitions,
    planning,
    preparing,
    sending,
    statements,
)
from regulars.runs.models import Message, Occasion, Run, SandboxMessage, Skip

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


def the_past_is_as_the_engine_would_have_left_it(made, now):
    assert invariants.violations() == {}
    guards = set(Occasion.objects.values_list("message_id", flat=True))
    withheld = set(Message.objects.filter(state="withheld").values_list("pk", flat=True))
    assert guards == set(Message.objects.values_list("pk", flat=True)) - withheld
    left = Message.objects.filter(accepted_at__isnull=False)
    assert SandboxMessage.objects.count() == left.count()
    for run in Run.objects.all():
        counts = engine.counts(run)
        assert counts.held == Message.objects.filter(run_id=run.pk, state="queued").count()
        assert counts.sent == left.filter(run_id=run.pk).count()
        for chunk in run.chunks.all():
            within = Message.objects.filter(pk__range=(chunk.first_id, chunk.last_id), run_id=run.pk)
            assert within.count() == chunk.total
            assert partitions.floor_id(run.created_at) < chunk.first_id
            assert chunk.last_id < partitions.bounds(partitions.month_of(run.created_at))[1]


def the_example_holds_for_a_week(made, now):
    organization = made.organization
    later = now + timedelta(days=7)
    found = engine.preview(automation_of(organization, "inactive"), later)
    assert (found.due, found.skipped_by_reason) == (45, {"cooldown": 2})


def every_other_automation_has_somebody_to_write_to(made, now):
    organization = made.organization
    for trigger in ("birthday", "vip_reward", "post_visit", "reservation_confirmation"):
        assert engine.preview(automation_of(organization, trigger), now).send > 0, trigger


def it_can_reach_nobody(made, now):
    organization = made.organization
    assert organization.is_demo
    assert set(ProviderAccount.objects.values_list("kind", flat=True)) == {"sandbox"}
    for address in Address.objects.values_list("address", flat=True):
        assert re.fullmatch(r"\+1\d{3}55501\d\d|.+@example\.(com|org|net)", address), address


def the_owner_can_sign_in(made, now):
    user = User.objects.get(email=made.email)
    assert user.check_password(made.password)
    assert user.memberships.get().organization == made.organization


def it_has_schedules_and_shows_what_was_missed(made, now):
    organization = made.organization
    birthday = automation_of(organization, "birthday")
    # Eleven o'clock in Madrid; it is two in the afternoon there.
    assert birthday.next_slot == datetime(2026, 6, 16, 9, tzinfo=UTC)
    assert automation_of(organization, "reservation_confirmation").schedule == {"as_it_happens": True}
    missed = organization.runs.get(state="missed", automation=birthday)
    assert missed.scheduled_for == datetime(2026, 6, 12, 9, tzinfo=UTC)
    assert missed.scheduled_until == datetime(2026, 6, 14, 9, tzinfo=UTC)
    assert missed.reason


def it_shows_whom_silence_the_cap_and_a_change_left_out(made, now):
    organization = made.organization
    waiting = organization.runs.get(state="waiting")
    (hold,) = engine.holds(waiting, now)
    assert hold.why == "quiet_hours"
    assert hold.until > now
    withheld = Message.objects.get(state="withheld")
    assert withheld.reason == "cancelled_before_send"
    assert Skip.objects.filter(reason="frequency_cap").exists()
    capped = engine.preview(automation_of(organization, "vip_reward"), now).skipped_by_reason
    assert capped["frequency_cap"] > 0


def seeding_again_changes_nothing(made, now):
    def state():
        models = (Customer, Address, Visit, Reservation, Message, Run, SandboxMessage, User)
        return [(model.objects.count(), model.objects.latest("pk").pk) for model in models]

    before = state()
    assert seed(now + timedelta(days=1)) == made
    assert state() == before


def test_a_fresh_demo(now, subtests):
    """Made once, for that takes seconds; each look is a test of its own."""
    made = seed(now)
    for look in (
        the_past_is_as_the_engine_would_have_left_it,
        the_example_holds_for_a_week,
        every_other_automation_has_somebody_to_write_to,
        it_can_reach_nobody,
        the_owner_can_sign_in,
        it_has_schedules_and_shows_what_was_missed,
        it_shows_whom_silence_the_cap_and_a_change_left_out,
        seeding_again_changes_nothing,
    ):
        with subtests.test(look.__name__):
            look(made, now)


@pytest.mark.parametrize("now", CLOCKS)
def test_at_any_time_the_win_back_answers_with_the_ordered_documents_example(now):
    made = seed(now)
    the_past_is_as_the_engine_would_have_left_it(made, now)
    organization = made.organization
    run = run_to_the_end(automation_of(organization, "inactive"), now)
    answer = engine.answer(run, show_addresses=True, now=now)
    numbers = [answer[name] for name in ("processed", "sent", "skipped", "failed", "held")]
    assert numbers == [45, 42, 2, 1, 0]
    (error,) = answer["errors"]
    assert re.fullmatch(r"Failed to send to \+1\d{10}: Invalid phone number", error)
    assert engine.counts(run).skipped_by_reason == {"cooldown": 2}


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


def test_a_real_organization_called_demo_is_left_alone(now):
    Organization.objects.create(slug="demo", name="Demo Bar")
    with pytest.raises(DemoNameTakenError):
        seed(now)
    assert not Customer.objects.exists()


@pytest.mark.parametrize("hour", range(0, 24, 3))
def test_at_any_hour_it_is_night_for_one_of_the_travellers(hour):
    at = datetime(2026, 6, 15, hour, tzinfo=UTC)
    zones = [ZoneInfo(zone) for zone in TRAVELLERS.values()]
    held = [held_until(at, zone, QuietHours(), "") for zone in zones]
    assert any(held)
    assert not all(held)
