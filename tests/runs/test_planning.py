"""Who gets a message row, who is left out with which reason, and what the guard refuses."""

import threading
from datetime import timedelta

import pytest
from django.db import connection

from regulars.automations.models import ProviderAccount
from regulars.customers.models import Address, Suppression
from regulars.hospitality.models import Reservation
from regulars.runs import engine, planning
from regulars.runs.models import Message, Occasion, Run, RunState, RunVerdict, Skip

pytestmark = pytest.mark.django_db


def planned(automation, now, **options):
    run = engine.start(automation, now=now, **options)
    planning.plan(str(run.pk), now)
    run.refresh_from_db()
    return run


def reasons(run):
    return {row.customer_id: row.reason for row in RunVerdict.objects.filter(run_id=run.pk)}


def test_a_lapsed_customer_is_planned_with_the_first_usable_channel(lapsed, make_automation, now):
    customer = lapsed(channels=("sms", "email"))
    run = planned(make_automation(channels=("whatsapp", "email", "sms")), now)
    message = Message.objects.get()
    assert (message.customer_id, message.channel, message.state) == (customer.pk, "email", "queued")
    assert run.state == RunState.SENDING
    assert Occasion.objects.get().message_id == message.pk


def test_a_second_run_contacts_nobody_and_says_why(lapsed, make_automation, now):
    customer = lapsed()
    automation = make_automation(policy={"cooldown_days": 0})
    planned(automation, now)
    Run.objects.update(state=RunState.FINISHED)
    second = planned(automation, now)
    assert Message.objects.count() == 1
    assert reasons(second) == {customer.pk: "already_contacted"}
    assert engine.counts(second).skipped == 1


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"do_not_contact": True}, "do_not_contact"),
        ({"channels": ()}, "no_address"),
        ({"channels": ("sms",)}, "no_address"),
        ({"consents": ()}, "no_consent"),
        ({"consents": ("sms",)}, "no_consent"),
        ({"do_not_contact": True, "channels": ()}, "do_not_contact"),
    ],
)
def test_the_first_objection_is_the_reason(lapsed, make_automation, now, fields, reason):
    customer = lapsed(**fields)
    run = planned(make_automation(), now)
    assert reasons(run) == {customer.pk: reason}
    assert Skip.objects.get().reason == reason
    assert not Message.objects.exists()


def test_a_suppressed_address_is_not_written_to_on_that_channel_only(lapsed, make_automation, now):
    customer = lapsed(channels=("sms", "email"))
    for address in Address.objects.filter(channel="sms"):
        Suppression.objects.create(
            organization=customer.organization,
            channel="sms",
            fingerprint=address.fingerprint,
            reason="opt_out",
        )
    assert reasons(planned(make_automation(channels=("sms",), family="a"), now)) == {
        customer.pk: "suppressed"
    }
    planned(make_automation(channels=("sms", "email"), family="b"), now)
    assert Message.objects.get().channel == "email"


def test_two_suppressions_of_one_address_are_one_reason(lapsed, make_automation, now):
    customer = lapsed(channels=("sms",))
    for channel in ("", "sms"):
        Suppression.objects.create(
            organization=customer.organization,
            channel=channel,
            fingerprint=Address.objects.get().fingerprint,
            reason="opt_out",
        )
    run = planned(make_automation(channels=("sms",)), now)
    assert (run.due, reasons(run)) == (1, {customer.pk: "suppressed"})


def test_a_landline_is_no_address_for_a_text_message(lapsed, make_automation, now):
    customer = lapsed(channels=("sms",))
    Address.objects.update(bad_reason="landline")
    assert reasons(planned(make_automation(channels=("sms",)), now)) == {customer.pk: "no_address"}


def test_a_guest_who_has_booked_is_not_missed(lapsed, make_automation, venue, now):
    customer = lapsed()
    Reservation.objects.create(
        organization=customer.organization,
        customer=customer,
        venue=venue,
        starts_at=now + timedelta(days=3),
        confirmed_at=now,
    )
    run = planned(make_automation(policy={"skip_upcoming_reservation": True}), now)
    assert reasons(run) == {customer.pk: "upcoming_reservation"}


def test_a_family_shares_its_cooldown(lapsed, make_automation, now):
    customer = lapsed()
    planned(make_automation(name="first"), now)
    run = planned(make_automation(name="second", parameters={"days": 30}), now)
    assert reasons(run) == {customer.pk: "cooldown"}


def test_the_cooldown_follows_the_address_not_only_the_customer(lapsed, make_automation, now):
    lapsed(address="shared@example.com")
    planned(make_automation(name="first"), now)
    twin = lapsed(address="shared@example.com")
    run = planned(make_automation(name="second", parameters={"days": 30}), now)
    assert reasons(run)[twin.pk] == "cooldown"


def test_two_guests_with_one_address_get_one_message(lapsed, make_automation, now):
    first, second = lapsed(address="couple@example.com"), lapsed(address="couple@example.com")
    run = planned(make_automation(), now)
    assert Message.objects.get().customer_id == first.pk
    assert reasons(run)[second.pk] == "duplicate_address"


def test_two_bookings_of_one_guest_are_two_confirmations(make_customer, make_automation, venue, now):
    customer = make_customer(consents=())
    for hours in (30, 50):
        Reservation.objects.create(
            organization=customer.organization,
            customer=customer,
            venue=venue,
            starts_at=now + timedelta(hours=hours),
            confirmed_at=now - timedelta(minutes=5),
        )
    planned(make_automation("reservation_confirmation"), now)
    assert Message.objects.count() == 2


def test_another_organizations_guests_are_not_touched(lapsed, make_automation, make_customer, now):
    from regulars.organizations.models import Organization

    other = Organization.objects.create(slug="other", name="Other")
    stranger = lapsed(organization=other)
    run = planned(make_automation(), now)
    assert stranger.pk not in reasons(run)
    assert run.due == 0


def test_the_preview_is_the_run(lapsed, make_automation, now):
    for fields in ({}, {}, {"consents": ()}, {"channels": ()}, {"address": "x@example.com"}):
        lapsed(**fields)
    lapsed(address="x@example.com")
    automation = make_automation()
    seen = engine.preview(automation, now)
    run = planned(automation, now)
    number = engine.counts(run)
    assert (seen.due, seen.skipped_by_reason) == (number.processed, number.skipped_by_reason)
    assert {row.customer_id for row in seen.rows if row.reason is None} == set(
        Message.objects.values_list("customer_id", flat=True)
    )


def test_a_large_audience_is_written_in_slices_and_chunks(lapsed, make_automation, now, monkeypatch):
    monkeypatch.setattr(planning, "SLICE", 4)
    monkeypatch.setattr(planning, "CHUNK", 3)
    customers = {lapsed().pk for _ in range(10)}
    run = planned(make_automation(), now)
    assert set(Message.objects.values_list("customer_id", flat=True)) == customers
    assert [chunk.total for chunk in run.chunks.order_by("number")] == [3, 1, 3, 1, 2]
    assert sorted(set(Message.objects.values_list("chunk_number", flat=True))) == [1, 2, 3, 4, 5]


def test_an_interrupted_planning_goes_on_from_the_guard(lapsed, make_automation, now, monkeypatch):
    monkeypatch.setattr(planning, "SLICE", 4)
    customers = {lapsed().pk for _ in range(10)}
    lapsed(consents=())
    run = engine.start(make_automation(), now=now)
    write = planning._write_slice

    def dies_at_the_second(run, start, now):
        if start:
            raise SystemExit
        write(run, start, now)

    monkeypatch.setattr(planning, "_write_slice", dies_at_the_second)
    with pytest.raises(SystemExit):
        planning.plan(str(run.pk), now)
    monkeypatch.setattr(planning, "_write_slice", write)
    # A crash of the server empties the unlogged table as well.
    RunVerdict.objects.all().delete()
    assert planning.plan(str(run.pk), now)
    run.refresh_from_db()
    assert sorted(Message.objects.values_list("customer_id", flat=True)) == sorted(customers)
    number = engine.counts(run)
    assert (number.processed, number.skipped, number.held) == (11, 1, 10)


def test_a_run_that_cannot_be_planned_ends_and_says_why(lapsed, make_automation, now, monkeypatch):
    monkeypatch.setattr(planning, "SLICE", 1)
    lapsed()
    lapsed()
    run = engine.start(make_automation(), now=now)
    write = planning._write_slice

    def breaks_at_the_second(run, start, now):
        if start:
            raise ValueError("a condition names a venue that is gone")
        write(run, start, now)

    monkeypatch.setattr(planning, "_write_slice", breaks_at_the_second)
    planning.plan(str(run.pk), now)
    run.refresh_from_db()
    assert (run.state, run.reason) == (RunState.FAILED, "a condition names a venue that is gone")
    assert Message.objects.get().state == "withheld"
    assert not Occasion.objects.exists()


def test_planning_twice_changes_nothing(lapsed, make_automation, now):
    lapsed()
    run = planned(make_automation(), now)
    assert not planning.plan(str(run.pk), now)
    assert Message.objects.count() == 1


def test_a_daily_skip_keeps_one_row_until_its_reason_changes(lapsed, make_automation, now):
    customer = lapsed(consents=())
    automation = make_automation()
    first = planned(automation, now)
    row = Skip.objects.get()
    planned(automation, now + timedelta(days=1))
    assert Skip.objects.get().run_id == row.run_id == first.pk
    customer.do_not_contact = True
    customer.save(update_fields=["do_not_contact"])
    third = planned(automation, now + timedelta(days=2))
    assert (Skip.objects.get().run_id, Skip.objects.get().reason) == (third.pk, "do_not_contact")


def test_an_automation_without_an_account_says_what_to_do(lapsed, make_automation, account, now):
    lapsed()
    account.delete()
    with pytest.raises(engine.AutomationNotReadyError, match="provider add"):
        engine.start(make_automation(), now=now)


def test_a_second_account_steps_in_for_a_broken_one(lapsed, make_automation, account, now):
    lapsed()
    spare = ProviderAccount.objects.create(
        organization=account.organization, name="spare", kind="sandbox", channels=["email"], position=9
    )
    ProviderAccount.objects.filter(pk=account.pk).update(broken_reason="The credentials were refused")
    planned(make_automation(), now)
    assert Message.objects.get().account_id == spare.pk


def test_cancelling_gives_the_occasions_back(lapsed, make_automation, now):
    lapsed()
    automation = make_automation()
    run = planned(automation, now)
    engine.cancel(run, now)
    run.refresh_from_db()
    assert (Message.objects.get().state, Message.objects.get().reason) == ("withheld", "run_cancelled")
    assert not Occasion.objects.exists()
    number = engine.counts(run)
    assert (number.processed, number.skipped, number.held) == (1, 1, 0)
    planned(automation, now)
    assert Message.objects.filter(state="queued").count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_automations_of_a_family_planning_at_once_choose_a_guest_once(lapsed, make_automation, now):
    lapsed()
    runs = [
        engine.start(make_automation(name=name, parameters={"days": days}), now=now)
        for name, days in (("a", 30), ("b", 60))
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
    assert Message.objects.count() == 1
    assert Skip.objects.get().reason == "cooldown"


class TestJoining:
    def test_a_second_request_joins_a_run_that_has_not_looked_yet(self, lapsed, make_automation, now):
        automation = make_automation()
        assert engine.start(automation, now=now).pk == engine.start(automation, now=now).pk

    def test_a_person_joins_a_run_that_is_still_sending(self, lapsed, make_automation, now):
        lapsed()
        automation = make_automation()
        run = planned(automation, now)
        assert engine.start(automation, now=now).pk == run.pk

    def test_the_schedule_does_not_join_a_sending_run(self, lapsed, make_automation, now):
        lapsed()
        automation = make_automation()
        run = planned(automation, now)
        assert engine.start(automation, now=now, origin="schedule").pk != run.pk

    def test_a_wish_during_planning_becomes_a_further_run(self, lapsed, make_automation, now):
        from regulars.runs.requesting import follow_up

        automation = make_automation()
        run = engine.start(automation, now=now)
        Run.objects.update(as_of=now)
        engine.start(automation, now=now, origin="event")
        run.refresh_from_db()
        assert run.again
        planning.plan(str(run.pk), now)
        follow_up(str(run.pk), now)
        assert Run.objects.exclude(pk=run.pk).get().state == RunState.PLANNING

    def test_events_are_planned_together_until_the_snapshot(self, lapsed, make_automation, now):
        automation = make_automation()
        run = engine.start(automation, now=now, origin="event", subjects=[2])
        assert engine.start(automation, now=now, origin="event", subjects=[1, 2]).pk == run.pk
        run.refresh_from_db()
        assert run.subjects == [1, 2]
        assert engine.start(automation, now=now).pk == run.pk
        run.refresh_from_db()
        assert run.subjects is None

    def test_an_event_after_the_snapshot_asks_again_for_its_guests(self, lapsed, make_automation, now):
        from procrastinate.contrib.django.models import ProcrastinateJob

        automation = make_automation()
        engine.start(automation, now=now)
        Run.objects.update(as_of=now)
        engine.start(automation, now=now, origin="event", subjects=[7])
        job = ProcrastinateJob.objects.get(task_name="regulars.ask")
        assert job.args == {"automation_id": str(automation.pk), "subjects": [7]}

    def test_a_person_does_not_join_the_run_of_an_event(self, lapsed, make_automation, now):
        lapsed()
        automation = make_automation()
        event = engine.start(automation, now=now, origin="event", subjects=[lapsed().pk])
        planning.plan(str(event.pk), now)
        assert Run.objects.get().state == RunState.SENDING
        assert engine.start(automation, now=now).pk != event.pk

    def test_who_joined_is_in_the_snapshot(self, lapsed, make_automation, now):
        """The planner reads whom the run is about after nobody can join any more."""
        automation = make_automation()
        first, second = lapsed(), lapsed()
        run = engine.start(automation, now=now, origin="event", subjects=[first.pk])
        stale = Run.objects.get()
        engine.start(automation, now=now, origin="event", subjects=[second.pk])
        planning._plan(stale, now)
        assert set(Message.objects.values_list("customer_id", flat=True)) == {first.pk, second.pk}
        assert run.pk == stale.pk

    def test_an_inactive_automation_does_not_start(self, make_automation, now):
        with pytest.raises(engine.AutomationNotActiveError):
            engine.start(make_automation(enabled=False), now=now)
