"""Quiet hours, caps and the list of automations, in runs on the real database."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from tests.runs.scripted import planned, send_all

from regulars.automations import order
from regulars.organizations.models import Organization
from regulars.runs import engine, planning, preparing
from regulars.runs.models import Message, MessageState, Run, RunState, RunVerdict, Skip

pytestmark = pytest.mark.django_db

EVENING = datetime(2026, 6, 15, 20, 0, tzinfo=UTC)  # 22:00 in Madrid
MORNING = datetime(2026, 6, 16, 8, 0, tzinfo=UTC)  # 10:00 in Madrid
NIGHT = {"from": "21:00", "until": "10:00"}


def give(organization, **tact):
    Organization.objects.filter(pk=organization.pk).update(tact=organization.tact | tact)
    organization.refresh_from_db()


def told(customer, automation, now, *, days_ago=1, **fields):
    """The customer had a message of the automation some days ago."""
    at = now - timedelta(days=days_ago)
    run = Run.objects.create(
        organization=customer.organization, automation=automation, state="finished", created_at=at
    )
    address = customer.addresses.get()
    return Message.objects.create(**{
        "organization_id": customer.organization_id, "run": run, "chunk_number": 1,
        "automation": automation, "version_id": 0, "customer_id": customer.pk,
        "occasion": f"earlier:{days_ago}", "purpose": "marketing", "channel": address.channel,
        "account_id": 0, "address": address.address, "due_at": at, "send_after": at, "state": "sent",
        "created_at": at, "accepted_at": at, "state_at": at,
    } | fields)  # fmt: skip


def reasons(run):
    return {row.customer_id: row.reason for row in RunVerdict.objects.filter(run_id=run.pk)}


class TestQuietHours:
    def test_an_organization_nobody_has_looked_at_is_silent_by_night(
        self, considerate, lapsed, make_automation
    ):
        lapsed()
        planned(make_automation(), EVENING)
        assert Message.objects.get().send_after == MORNING

    def test_a_guests_own_clock_comes_first_then_the_venues(
        self, organization, venue, lapsed, make_automation
    ):
        give(organization, quiet_hours=NIGHT)
        early, late = lapsed(timezone="America/New_York"), lapsed(timezone="Mars/Base")
        planned(make_automation(), EVENING)
        leaves = dict(Message.objects.values_list("customer_id", "send_after"))
        # It is four in the afternoon in New York; a zone that does not exist tells nothing.
        assert leaves == {early.pk: EVENING, late.pk: MORNING}

    def test_a_venue_may_have_hours_of_its_own(self, organization, venue, lapsed, make_automation):
        give(organization, quiet_hours=NIGHT)
        venue.quiet_hours = {"from": "23:00", "until": "09:00"}
        venue.save()
        lapsed()
        planned(make_automation(), EVENING)
        assert Message.objects.get().send_after == EVENING

    def test_the_preview_says_when_they_leave(self, organization, venue, lapsed, make_automation):
        give(organization, quiet_hours=NIGHT)
        lapsed()
        found = engine.preview(make_automation(), EVENING)
        assert (found.send, found.held, found.first_leaves, found.rows[0].send_after) == (
            1, 1, MORNING, MORNING
        )  # fmt: skip

    def test_a_confirmation_is_not_held(self, organization, venue, make_customer, make_automation):
        from regulars.hospitality.models import Reservation

        give(organization, quiet_hours=NIGHT)
        customer = make_customer()
        Reservation.objects.create(
            organization=organization,
            customer=customer,
            venue=venue,
            starts_at=EVENING + timedelta(days=2),
            confirmed_at=EVENING,
        )
        planned(make_automation("reservation_confirmation"), EVENING)
        assert Message.objects.get().send_after == EVENING

    def test_what_is_too_late_by_the_morning_is_left_out_at_once(
        self, organization, venue, make_customer, make_visit, make_automation
    ):
        give(organization, quiet_hours=NIGHT)
        customer = make_customer()
        for days in (400, 365):
            make_visit(customer, days_ago=days, now=EVENING)
        run = planned(make_automation(), EVENING)
        assert reasons(run) == {customer.pk: "expired"}


@pytest.mark.django_db(transaction=True)
class TestTheLastLook:
    def test_a_message_that_comes_to_its_turn_by_night_waits_for_the_morning(
        self, organization, venue, lapsed, make_automation, provider, now
    ):
        give(organization, quiet_hours=NIGHT)
        for _ in range(130):
            lapsed()
        run = planned(make_automation(), now)
        send_all(run, EVENING)
        assert not provider.calls
        assert set(Message.objects.values_list("state", "send_after", "attempt")) == {("queued", MORNING, 0)}
        assert run.state == RunState.SENDING
        (hold,) = engine.holds(run, EVENING)
        assert (hold.why, hold.until) == ("quiet_hours", MORNING)
        send_all(run, MORNING)
        assert len(provider.calls) == 130
        assert run.state == RunState.FINISHED

    def test_hours_set_meanwhile_hold_what_is_queued(
        self, organization, venue, lapsed, make_automation, provider
    ):
        lapsed()
        run = planned(make_automation(), EVENING)
        give(organization, quiet_hours=NIGHT)
        send_all(run, EVENING)
        assert not provider.calls

    def test_a_sender_that_slept_before_it_took_the_chunk_looks_again(
        self, organization, venue, lapsed, make_automation, provider, now, monkeypatch
    ):
        lapsed()
        run = planned(make_automation(), now)
        monkeypatch.setattr(preparing, "MOST_SECONDS", -1.0)
        send_all(run, now)
        assert not provider.calls
        assert Message.objects.get().state == MessageState.QUEUED

    def test_what_expired_while_it_was_held_is_dropped(
        self, organization, venue, lapsed, make_automation, provider
    ):
        give(organization, quiet_hours=NIGHT)
        lapsed()
        run = planned(make_automation(), EVENING)
        Message.objects.update(expires_at=MORNING - timedelta(minutes=1))
        send_all(run, MORNING)
        message = Message.objects.get()
        assert (message.state, message.reason, provider.calls) == ("withheld", "expired", [])


class TestCaps:
    @pytest.fixture
    def other(self, make_automation):
        return make_automation("vip_reward", name="other", enabled=False)

    @pytest.mark.parametrize(
        ("days_ago", "reason"),
        [
            ((1, 2), "frequency_cap"),
            ((1, 8), None),
            ((1, 8, 9, 10), "frequency_cap"),
            ((1, 31, 31, 31), None),
        ],
    )
    def test_two_in_seven_days_and_four_in_thirty(
        self, considerate, other, lapsed, make_automation, now, days_ago, reason
    ):
        customer = lapsed()
        for each in days_ago:
            told(customer, other, now, days_ago=each)
        run = planned(make_automation(), now)
        assert reasons(run) == {customer.pk: reason}
        if reason:
            # It says who used the allowance.
            assert Skip.objects.get().winner_id == other.pk

    def test_the_address_counts_whoever_has_it(self, organization, other, lapsed, make_automation, now):
        give(organization, caps=[{"messages": 2, "days": 7}])
        first, second = lapsed(address="couple@example.com"), lapsed(address="couple@example.com")
        told(first, other, now)
        told(second, other, now)
        run = planned(make_automation(), now)
        assert set(reasons(run).values()) == {"frequency_cap"}

    @pytest.mark.parametrize(
        ("fields", "counts"),
        [
            ({"state": "queued", "accepted_at": None}, True),
            ({"state": "unknown", "accepted_at": None}, True),
            ({"state": "failed", "accepted_at": None}, False),
            ({"state": "withheld", "accepted_at": None}, False),
            ({"purpose": "transactional"}, False),
        ],
    )
    def test_what_may_have_been_read_counts(
        self, organization, other, lapsed, make_automation, now, fields, counts
    ):
        give(organization, caps=[{"messages": 1, "days": 7}])
        customer = lapsed()
        told(customer, other, now, **fields)
        run = planned(make_automation(), now)
        assert reasons(run) == {customer.pk: "frequency_cap" if counts else None}

    @pytest.mark.django_db(transaction=True)
    def test_two_runs_that_plan_at_once_do_not_both_take_the_last_one(
        self, organization, lapsed, make_automation, now
    ):
        give(organization, caps=[{"messages": 1, "days": 7}])
        for _ in range(20):
            lapsed()
        runs = [
            engine.start(make_automation(name=name, family=name, position=9), now=now) for name in ("a", "b")
        ]
        barrier = threading.Barrier(2)

        def plan(run):
            barrier.wait()
            try:
                planning.plan(str(run.pk), now)
            finally:
                connection.close()

        threads = [threading.Thread(target=plan, args=(run,)) for run in runs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        addresses = list(Message.objects.values_list("address", flat=True))
        assert len(addresses) == len(set(addresses)) == 20

    @pytest.mark.django_db(transaction=True)
    def test_a_run_in_slices_keeps_others_out_until_the_last(
        self, organization, lapsed, make_automation, now, monkeypatch
    ):
        """Between two slices the lock of the organization is still held."""
        monkeypatch.setattr(planning, "SLICE", 2)
        for _ in range(5):
            lapsed()
        free = []

        def look(name):
            if name == "planning.committed":
                thread = threading.Thread(target=lambda: free.append(could_lock(organization)))
                thread.start()
                thread.join()

        monkeypatch.setattr("regulars.lib.crash_points.reach", look)
        run = planned(make_automation(), now)
        assert free == [False, False, False]
        assert could_lock(organization)
        assert run.chunks.count() >= 3


def could_lock(organization):
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [f"organization {organization.pk}"]
            )
            got = cursor.fetchone()[0]
            if got:
                cursor.execute("SELECT pg_advisory_unlock_all()")
            return got
    finally:
        if threading.current_thread() is not threading.main_thread():
            connection.close()


class TestTheList:
    @pytest.fixture
    def one(self, organization):
        """One message a week."""
        give(organization, caps=[{"messages": 1, "days": 7}])

    def test_a_lower_automation_leaves_the_allowance_to_one_that_is_due(
        self, one, lapsed, make_automation, now
    ):
        customer = lapsed()
        higher = make_automation(name="higher", family="", position=1)
        lower = make_automation(name="lower", family="", position=2)
        run = planned(lower, now)
        assert reasons(run) == {customer.pk: "frequency_cap"}
        assert Skip.objects.get().winner_id == higher.pk
        planned(higher, now)
        assert Message.objects.get().automation_id == higher.pk

    def test_and_has_it_where_the_higher_one_would_not_write(self, one, lapsed, make_automation, now):
        lapsed()
        make_automation(name="off", family="", position=1, enabled=False)
        make_automation(name="by SMS", family="", position=1, channels=("sms",))
        make_automation(name="not due", family="", position=1, parameters={"days": 300})
        lower = make_automation(name="lower", family="", position=2)
        planned(lower, now)
        assert Message.objects.get().automation_id == lower.pk

    def test_two_may_write_where_there_is_room_for_two(self, organization, lapsed, make_automation, now):
        give(organization, caps=[{"messages": 2, "days": 7}])
        lapsed()
        make_automation(name="first", family="", position=1)
        second = make_automation(name="second", family="", position=2)
        third = make_automation(name="third", family="", position=3)
        planned(third, now)
        assert Skip.objects.get().reason == "frequency_cap"
        planned(second, now)
        assert Message.objects.get().automation_id == second.pk

    def test_a_family_speaks_once_through_its_highest(self, organization, lapsed, make_automation, now):
        customer = lapsed()
        higher = make_automation(name="at risk", position=1)
        run = planned(make_automation(name="hibernating", position=2), now)
        assert reasons(run) == {customer.pk: "cooldown"}
        assert Skip.objects.get().winner_id == higher.pk

    def test_a_transactional_automation_asks_nobody(self, one, make_customer, make_automation, venue, now):
        from regulars.hospitality.models import Reservation

        customer = make_customer()
        for hours in (24, 48):
            Reservation.objects.create(
                organization=customer.organization,
                customer=customer,
                venue=venue,
                starts_at=now + timedelta(hours=hours),
                confirmed_at=now,
            )
        planned(make_automation("reservation_confirmation"), now)
        assert Message.objects.filter(state=MessageState.QUEUED).count() == 2


def test_the_owner_puts_the_list_in_order(organization, make_automation):
    a, b, c = (make_automation(name=name) for name in "abc")
    assert order.reorder(organization, [c.pk, a.pk]) == [c, a, b]
    assert order.ordered(organization) == [c, a, b]
    with pytest.raises(order.OrderError):
        order.reorder(organization, [a.pk, a.pk])
    with pytest.raises(order.OrderError):
        order.reorder(organization, [organization_stranger().pk])


def organization_stranger():
    from regulars.automations.models import Automation

    other = Organization.objects.create(slug="other", name="Other")
    return Automation.objects.create(organization=other, name="x", trigger="inactive")
